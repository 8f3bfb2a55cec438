"""Compare rows on the same images, and refresh stored comparisons whose rows changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, isnan
from pathlib import Path

from bench.errors import PredictionError
from bench.leaderboard import ComparisonReport, Leaderboard
from bench.score.comparison import ComparisonRequest, compare_rows_in_full, find_row
from bench.workflows.collect import CollectedRows, collect
from bench.workflows.open import OpenBench

FEWEST_ROWS = 2
WIDEST_MARGIN = 100.0
"""Upper bound of --margin for log loss, which is unbounded."""


@dataclass(frozen=True)
class ComparisonPage:
    """Files of a comparison by name, its title, and their folder below the leaderboard's."""

    folder: str
    title: str
    files: dict[str, str]


@dataclass(frozen=True)
class WrittenComparison:
    """A comparison and the folder that its page, JSON and table of discordant images are in."""

    report: ComparisonReport
    folder: Path

    @property
    def page(self) -> Path:
        """The page."""
        return self.folder / "index.html"


def compare(
    bench: OpenBench,
    rows: Sequence[str],
    results: Path,
    *,
    metric: str | None = None,
    margin: float | None = None,
    rope: float = 0.01,
    baseline: str = "",
    all_pairs: bool = False,
) -> WrittenComparison:
    """Compare two rows or more on the same images; write the page beside the leaderboard's.

    rows    names of rows, or of methods that have one row
    metric  metric of the verdict; default: the protocol's primary metric
    margin  also test whether the first row of a pair is non-inferior by this much
    rope    differences up to this count as alike in the Bayesian test
    baseline   row of `rows` that the others are compared with; default: the best of them
    all_pairs  compare all pairs instead

    Raises PredictionError for fewer than two different rows, unknown rows, or a margin as wide as
    the metric's range.
    """
    from bench.report.comparison_page import render_comparison
    from bench.report.render import write
    from bench.run.results import refuse_unwritable
    from bench.workflows.report import write_pages

    refuse_unwritable(results)
    collected = collect(bench, results)
    primary = bench.protocol.metrics.primary
    request = ComparisonRequest(metric or primary, rope, margin, baseline, all_pairs)
    report = compare_collected(bench, collected, rows, request)
    folder = _folder_of(bench, results, report.rows, request.metric)
    write(render_comparison(report), folder)
    write_pages(bench, results, collected)  # the leaderboard links the new page
    return WrittenComparison(report, folder)


def compare_rows(
    bench: OpenBench,
    rows: Sequence[str],
    results: Path,
    *,
    metric: str | None = None,
    margin: float | None = None,
    rope: float = 0.01,
    baseline: str = "",
    all_pairs: bool = False,
) -> ComparisonReport:
    """Compare rows of a results folder and the committed rows. Writes nothing."""
    primary = bench.protocol.metrics.primary
    request = ComparisonRequest(metric or primary, rope, margin, baseline, all_pairs)
    return compare_collected(bench, collect(bench, results), rows, request)


def compare_collected(
    bench: OpenBench, collected: CollectedRows, rows: Sequence[str], request: ComparisonRequest
) -> ComparisonReport:
    """Compare rows that are collected already. Writes nothing; raises PredictionError."""
    names = [find_row(name, collected.rows) for name in rows]
    if len(names) < FEWEST_ROWS or len(set(names)) < len(names):
        raise PredictionError(f"compare takes two different rows or more, not {' '.join(names)}")
    refuse_wide(request)
    if request.baseline:
        request = replace(request, baseline=find_row(request.baseline, collected.rows))
    return compare_rows_in_full(
        bench.protocol,
        bench.dataset,
        bench.roles,
        collected.rows,
        collected.facts,
        names,
        request,
    )


def refuse_wide(request: ComparisonRequest) -> None:
    """Raise PredictionError for a margin or a rope that is not between 0 and the metric's range."""
    from bench.leaderboard.text import metric

    low, high = metric(request.metric).bounds
    for option, width in (("margin", request.margin), ("rope", request.rope)):
        if width is None:
            continue
        if not isinstance(width, int | float) or not 0 < width < inf:
            raise PredictionError(f"{option} {width!r}: give a number above 0; 2 points are 0.02")
        if width >= min(high - low, WIDEST_MARGIN):
            bounds = (
                f"{low:g} and {high:g}"
                if isfinite(high - low)
                else f"0 and about {WIDEST_MARGIN:g}"
            )
            raise PredictionError(
                f"{option} {width:g}: {metric(request.metric).label} is between {bounds}; "
                "2 points are 0.02"
            )


def outdated(stored: ComparisonReport, board: Leaderboard) -> bool:
    """Whether a compared row is gone, or its value of the compared metric differs."""
    now = {
        row.name: row.table.metrics[stored.metric].value
        for row in board.rows
        if row.name in stored.rows
        if stored.metric in row.table.metrics
    }
    return _defined(now) != _defined(stored.family)


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    """Values that compare equal where both are undefined."""
    return {name: None if isnan(value) else value for name, value in values.items()}


def refreshed(
    bench: OpenBench, collected: CollectedRows, stored: Iterable[ComparisonReport], home: str = ""
) -> Iterator[ComparisonPage]:
    """Make stored comparisons again whose rows still exist and share a training.

    home  address of the site's index from their pages, in a site
    """
    from bench.report.comparison_page import render_comparison
    from bench.run.results import compare_folder
    from bench.score.metrics import IMAGE_METRICS

    known = {row.name for row in collected.rows}
    for one in stored:
        names = list(one.rows)
        if one.metric not in IMAGE_METRICS or not known.issuperset(names):
            continue
        request = ComparisonRequest(
            one.metric, margin=one.margin, baseline=one.baseline, all_pairs=not one.baseline
        )
        if one.rope is not None:
            request = replace(request, rope=one.rope)
        try:
            report = compare_collected(bench, collected, names, request)
        except PredictionError:
            continue  # the rows no longer share a training
        suffix = _suffix(one.metric, bench.protocol.metrics.primary)
        folder = compare_folder(Path(), names, suffix)
        yield ComparisonPage(folder.as_posix(), one.title, render_comparison(report, home))


def _folder_of(bench: OpenBench, results: Path, names: Sequence[str], metric: str) -> Path:
    from bench.run.results import compare_folder, leaderboard_folder

    board = leaderboard_folder(results, bench.protocol.name, bench.dataset.name)
    return compare_folder(board, list(names), _suffix(metric, bench.protocol.metrics.primary))


def _suffix(metric: str, primary: str) -> str:
    """The metric in the name of a comparison's folder; "" for the primary metric."""
    return "" if metric == primary else metric
