"""What stands behind the tables: confusion, folds, pairs of rows, and how to make a row again."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np

from bench.estimates import Estimate, Leaderboard, LeaderboardRow
from bench.report.catalogue import metric
from bench.report.cells import cell
from bench.report.charts import Scale, Tick, scale_of
from bench.report.names import plain
from bench.report.numbers import (
    count,
    counted,
    fixed,
    percent,
)
from bench.report.rows import REFERENCE, RowHead, kind, lacking, row_head, spelled
from bench.report.tables import (
    Head,
    about_metric,
    class_heads,
    fold_places,
    head,
    metric_order,
    rows_in_view,
)

SHADES = 9
Calls = Sequence[Sequence[Estimate]]


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """Images of one class that were given another: count, share of the row, shade 0 to 9."""

    count: str
    share: str
    shade: int
    hit: bool
    title: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """A row's confusion matrix, truth in rows."""

    head: RowHead
    classes: tuple[Head, ...]
    lines: tuple[tuple[ConfusionCell, ...], ...]
    totals: tuple[str, ...]
    note: str
    open: bool


def confusion(
    board: Leaderboard, row: LeaderboardRow, *, is_open: bool, calls: Calls = ()
) -> Confusion:
    """A row's confusion matrix as counts and row shares. calls: the shares with their intervals."""
    counts = np.asarray(row.confusion, dtype=np.float64)
    totals = counts.sum(axis=1)
    classes = class_heads(board)
    lines = tuple(
        tuple(
            _confusion_cell(
                counts[truth, said_],
                totals[truth],
                classes,
                (truth, said_),
                _interval(board, calls[truth][said_]) if calls else "",
            )
            for said_ in range(len(classes))
        )
        for truth in range(len(classes))
    )
    seeds = ", of the seeds that the metrics are of" if len(row.seeds) > 1 else ""
    return Confusion(
        head=row_head(board, row),
        classes=classes,
        lines=lines,
        totals=tuple(count(total) for total in totals),
        note=f"{counted(float(counts.sum()), 'test prediction')}{seeds}",
        open=is_open,
    )


def _confusion_cell(
    number: float, total: float, classes: tuple[Head, ...], at: tuple[int, int], ends: str
) -> ConfusionCell:
    truth, called = at
    share = number / total if total > 0 else math.nan
    what = f"{classes[truth].label} called {classes[called].label}"
    return ConfusionCell(
        count=count(number),
        share=percent(share),
        shade=0 if math.isnan(share) else math.ceil(share * SHADES),
        hit=truth == called,
        title=f"{what}: {count(number)} of {count(total)} ({percent(share)}){ends}",
    )


def _interval(board: Leaderboard, share: Estimate) -> str:
    """`; share 0.208 [0.181, 0.236], 95% BCa interval, n = 1,113`."""
    shown = cell(share, metric("recall"), board.interval)
    return f"; share {shown.text}, {shown.title}"


def confusions(board: Leaderboard, shown: int = 4) -> tuple[Confusion, ...]:
    """A matrix a row; those of the first few methods are open, references closed."""
    methods = [row for row in board.rows if row.kind != REFERENCE][:shown]
    return tuple(
        confusion(board, row, is_open=any(row is one for one in methods)) for row in board.rows
    )


@dataclass(frozen=True, slots=True)
class FoldLine:
    """A row's values fold by fold, drawn and written, with their spread and that over seeds."""

    head: RowHead
    dots: tuple[str, ...]
    mean: str
    values: tuple[str, ...]
    fold_sd: str
    seed_sd: str


@dataclass(frozen=True, slots=True)
class FoldPanel:
    """One metric, fold by fold."""

    id: str
    label: str
    about: str
    folds: tuple[str, ...]
    lines: tuple[FoldLine, ...]
    ticks: tuple[Tick, ...]
    first: str
    seeds: bool


def fold_names(board: Leaderboard) -> tuple[str, ...]:
    """`Fold 0`, or `R0 fold 0` where the split is repeated, as the results folder counts them."""
    if board.repeats == 1:
        return tuple(f"Fold {fold}" for fold in range(board.folds))
    return tuple(f"R{r} fold {f}" for r in range(board.repeats) for f in range(board.folds))


def fold_panels(board: Leaderboard) -> tuple[FoldPanel, ...]:
    """One panel for every metric of which there are values by fold."""
    known = {key for row in board.rows for key in row.by_fold}
    return tuple(
        _fold_panel(board, f"fold-{index}", key)
        for index, key in enumerate(key for key in metric_order(board) if key in known)
    )


def _fold_panel(board: Leaderboard, panel_id: str, key: str) -> FoldPanel:
    folds = fold_names(board)
    values = [v for row in rows_in_view(board, key) for v in row.by_fold.get(key, ())]
    scale = scale_of(values, metric(key).bounds)
    heading = head(key)
    return FoldPanel(
        id=panel_id,
        label=heading.label,
        about=about_metric(key),
        folds=folds,
        lines=tuple(_fold_line(board, row, key, scale) for row in board.rows if key in row.by_fold),
        ticks=scale.ticks,
        first=heading.first,
        seeds=any(len(row.seeds) > 1 for row in board.rows),
    )


def _fold_line(board: Leaderboard, row: LeaderboardRow, key: str, scale: Scale) -> FoldLine:
    estimate = row.table.metrics.get(key)
    places = fold_places(estimate)
    folds = fold_names(board)
    values = [*row.by_fold[key], *[math.nan] * len(folds)][: len(folds)]
    sd = row.seed_sd.get(key, math.nan)
    known = [value for value in values if not math.isnan(value)]
    return FoldLine(
        head=row_head(board, row),
        dots=tuple(at for at in map(scale.at, known) if at),
        mean=scale.at(float(np.mean(known))) if known else "",
        values=tuple(fixed(value, places) for value in values),
        fold_sd=fixed(float(np.std(known, ddof=1)), max(places, 3)) if len(known) > 1 else "–",
        seed_sd="–" if math.isnan(sd) else fixed(sd, max(places, 3)),
    )


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to make a row again, and to see that it is the same."""

    head: RowHead
    open: bool
    command: str
    check: str
    passport: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    hashes: tuple[tuple[str, str], ...]


def _pairs(mapping: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((plain(str(key)), spelled(value)) for key, value in mapping.items())


def recipes(board: Leaderboard) -> tuple[Recipe, ...]:
    """How to make each row again."""
    return tuple(_recipe(board, row) for row in board.rows)


def _check(board: Leaderboard, row: LeaderboardRow) -> str:
    """The command that prints the hashes of a second making; none where nothing was trained."""
    if not row.facts.command or row.kind != "trained":
        return ""
    folder = "/".join((board.protocol, board.dataset.name, row.name.removesuffix(" (committed)")))
    return f"find results/{quote(folder)} -name predictions.parquet -exec sha256sum {{}} +"


def _recipe(board: Leaderboard, row: LeaderboardRow) -> Recipe:
    head = row_head(board, row)
    facts = [
        ("row", plain(row.name)),
        ("method", plain(row.method)),
        ("kind", plain(kind(row))),
        (
            "variant",
            head.variant or "the method’s own recipe on the data’s own pixels",
        ),
        ("seeds", ", ".join(map(str, row.seeds)) or "none"),
        ("folds", ", ".join(map(str, row.folds)) or "none"),
    ]
    if row.missing:
        facts.append(("missing", lacking(board, row)))
    if row.facts.unranked:
        facts.append(("unranked", plain(row.facts.unranked)))
    return Recipe(
        head=head,
        open=False,
        command=plain(row.facts.command, lines=True),
        check=plain(_check(board, row)),
        passport=plain(row.facts.passport, lines=True).strip("\n"),
        facts=tuple(facts),
        notes=tuple(map(plain, (*row.facts.notes, *(row.facts.guards or {}).values()))),
        environment=_pairs(row.facts.environment),
        hashes=_pairs(row.facts.hashes),
    )
