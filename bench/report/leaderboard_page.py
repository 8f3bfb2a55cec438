"""The leaderboard page."""

# ruff: noqa: RUF001 - these strings are shown to people: they use typographic signs

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as counter
from string import ascii_lowercase
from typing import Any

from bench.leaderboard import (
    Comparison,
    Estimate,
    IntervalFacts,
    Leaderboard,
    RowReport,
    Subgroup,
    based_on,
)
from bench.leaderboard.text import metric
from bench.report import text
from bench.report.arms import Leak, arm_section
from bench.report.charts import Bar, Drawing, Scale, Tick, critical_difference, scale_of
from bench.report.format import (
    Name,
    counted,
    decimals,
    interval,
    name,
    p_value,
    plain,
    said,
    signed,
)
from bench.report.leaderboard_details import (
    confusions,
    cost_keys,
    fold_names,
    fold_panels,
    recipes,
    trade_off,
)
from bench.report.tables import (
    Badge,
    Cell,
    Head,
    Line,
    Panel,
    RankCell,
    Table,
    about_metric,
    badges,
    cell,
    class_panels,
    glance,
    method_name,
    metric_order,
    metric_panels,
    metric_table,
    row_head,
)
from bench.report.text import of_the_data, page_badges, plural, ties

RANKING_COSTS = ("train_seconds", "peak_memory_bytes", "parameters", "images_per_second")
"""Costs in the ranking; the section on cost has all."""


def tie_letters(board: Leaderboard) -> dict[str, str]:
    """Tie letters of every ranked row, best first; none without comparisons.

    A compact letter display (Piepho 2004): no difference is shown between the models of rows with
    a common letter.
    """
    ranked = [row.name for row in board.rows if row.rank.best is not None]
    if len(ranked) < 2 or not board.comparisons:  # noqa: PLR2004
        return {}
    sets = [tuple(name for name in group if name in ranked) for group in board.tie_groups]
    tied = {name for group in sets for name in group}
    groups = [*filter(None, sets), *((name,) for name in ranked if name not in tied)]
    groups.sort(key=lambda group: [ranked.index(name) for name in group])
    letters: dict[str, list[str]] = {row: [] for row in ranked}
    for letter, group in zip(_letters(), groups, strict=False):
        for row in group:
            letters[row].append(letter)
    return {row: " ".join(own) for row, own in letters.items()}


def _letters() -> Iterator[str]:
    """Letters a to z, then a2 to z2, and so on."""
    for turn in counter(1):
        yield from (letter if turn == 1 else f"{letter}{turn}" for letter in ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows compared: the difference with its interval, and both verdicts."""

    a: Name
    b: Name
    difference: str
    interval: str
    bar: Bar | None
    models: str
    methods: str
    p: str
    basis: str
    shown: bool


@dataclass(frozen=True, slots=True)
class PairPanel:
    """All pairs in one metric."""

    id: str
    label: str
    note: str
    pairs: tuple[Pair, ...]
    zero: str
    ticks: tuple[Tick, ...]


MOST = 120
"""Largest number of pairs in a table."""


def shown_pairs(board: Leaderboard, most: int = MOST) -> tuple[Leaderboard, str]:
    """The leaderboard with the pairs that a page shows, and a note on the omitted pairs.

    Of more than `most` pairs: the first row against every other, and each row against the next.
    """
    every = len({frozenset((pair.a, pair.b)) for pair in board.comparisons})
    if every <= most:
        return board, ""
    ranked = [row.name for row in board.rows if row.rank.best is not None]
    place = {row: at for at, row in enumerate(ranked)}

    def shown(pair: Comparison) -> bool:
        first, second = sorted((place.get(pair.a, -1), place.get(pair.b, -1)))
        return first == 0 or second - first == 1

    kept = tuple(pair for pair in board.comparisons if shown(pair))
    note = (
        f"Of {counted(every, 'pair')} these are the first row against every other and each row "
        "against the next; leaderboard.json holds all."
    )
    return replace(board, comparisons=kept), note


def pair_panels(board: Leaderboard) -> tuple[PairPanel, ...]:
    """One panel per compared metric, the primary first."""
    keys = list(dict.fromkeys(comparison.metric for comparison in board.comparisons))
    keys.sort(key=lambda key: key != board.primary)
    return tuple(pair_panel(board.comparisons, f"pair-{i}", key) for i, key in enumerate(keys))


def pair_panel(comparisons: Sequence[Comparison], panel_id: str, key: str) -> PairPanel:
    """All pairs in one metric, on one scale."""
    of_metric = [pair for pair in comparisons if pair.metric == key]
    ends = [end for pair in of_metric for end in (pair.difference, pair.low, pair.high)]
    scale = scale_of([*ends, 0.0], (-math.inf, math.inf))
    return PairPanel(
        id=panel_id,
        label=metric(key).title,
        note=metric(key).direction,
        pairs=tuple(_pair(pair, scale) for pair in of_metric),
        zero=scale.at(0.0),
        ticks=scale.ticks,
    )


def _pair(one: Comparison, scale: Scale) -> Pair:
    places = decimals(one.low, one.high)
    drawn = Estimate(one.difference, one.low, one.high)
    return Pair(
        a=name(one.a),
        b=name(one.b),
        difference=signed(one.difference, places),
        interval=interval(one.low, one.high, places),
        bar=scale.bar(drawn),
        models=_in_words(one.models),
        methods=_in_words(one.methods),
        p=p_value(one.p_adjusted),
        basis=based_on(one) if one.methods != "not tested" else plain(one.basis),
        shown=one.models in ("better", "worse"),
    )


def _in_words(verdict: str) -> str:
    winner = {"better": "first", "worse": "second"}.get(verdict)
    return f"{winner} is better" if winner else plain(verdict)


ATTRIBUTES = {
    "age": "Age in years",
    "sex": "Sex",
    "localization": "Body site",
    "dx_type": "How the diagnosis was made",
    "source": "Source",
    "image_size": "Image size",
}
SUBSET_METRICS = ("balanced_accuracy", "macro_auc", "malignant_auc")
"""Metrics by subgroup beside the primary metric; the row pages have all metrics."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One unit of analysis or attribute, with one panel per metric."""

    id: str
    label: str
    about: str
    panels: tuple[Panel, ...]


def unit_slices(board: Leaderboard, reports: Mapping[str, RowReport]) -> tuple[Slice, ...]:
    """All metrics with images as units, then with lesions and patients if the data have ids.

    Reference rows have images only; they have no row report.
    """
    slices = [Slice("unit-images", "Images", "", metric_panels(board))]
    names = dict.fromkeys(unit.unit for report in reports.values() for unit in report.units)
    for unit in names:
        tables = {
            row: one.table
            for row, report in reports.items()
            for one in report.units
            if one.unit == unit
        }
        rows = tuple(
            replace(row, table=tables[row.name]) for row in board.rows if row.name in tables
        )
        resamples = min(report.resamples for report in reports.values())
        seen = replace(
            board,
            rows=rows,
            interval=replace(board.interval, resamples=resamples),
            best_reference="",
        )
        about = (
            f"The predictions of a {plain(unit)}’s images in a fold are averaged into one item. "
            "Reference rows are scored by image only."
        )
        slices.append(
            Slice(
                f"unit-{plain(unit)}",
                plural(unit).capitalize(),
                about,
                metric_panels(seen, prefix=plain(unit)),
            )
        )
    return tuple(slices)


def subset_slices(board: Leaderboard, reports: Mapping[str, RowReport]) -> tuple[Slice, ...]:
    """Every row by subgroup: the images with one value of an attribute."""
    groups = [group for report in reports.values() for group in report.subgroups]
    close = replace(board.interval, method="percentile")
    slices = []
    for at, attribute in enumerate(dict.fromkeys(group.attribute for group in groups)):
        keys = [
            key
            for key in dict.fromkeys((board.primary, *SUBSET_METRICS))
            if any(key in group.metrics for group in groups if group.attribute == attribute)
        ]
        panels = tuple(
            _subset_panel(board, reports, attribute, key, f"subset-{at}-{index}", close)
            for index, key in enumerate(keys)
        )
        if panels:
            slices.append(Slice(f"subset-{at}", ATTRIBUTES[attribute], "", panels))
    return tuple(slices)


def _subset_panel(
    board: Leaderboard,
    reports: Mapping[str, RowReport],
    attribute: str,
    key: str,
    panel_id: str,
    close: IntervalFacts,
) -> Panel:
    shown = [row for row in board.rows if row.name in reports]
    found = {
        row.name: {
            one.value: one for one in reports[row.name].subgroups if one.attribute == attribute
        }
        for row in shown
    }
    sizes = {value: one for groups in found.values() for value, one in groups.items()}
    heads = tuple(
        Head(
            name(value, 24).short,
            f"{counted(one.images, 'image')}\n{counted(one.groups, plain(board.dataset.unit))}",
            "ascending" if metric(key).lower else "descending",
            name(value).full,
        )
        for value, one in sizes.items()
    )
    lines = tuple(
        Line(
            row_head(board, row),
            RankCell("", ""),
            tuple(_subset_cell(found[row.name].get(value), key, close) for value in sizes),
        )
        for row in shown
    )
    return Panel(panel_id, metric(key).title, about_metric(key), Table(heads, lines))


def _subset_cell(group: Subgroup | None, key: str, close: IntervalFacts) -> Cell:
    if group is not None and group.too_few:
        return TOO_FEW
    known = group.metrics.get(key) if group is not None else None
    return cell(known or Estimate(math.nan), metric(key), close)


TOO_FEW = Cell("", "–", "", "too few groups", (), "below 50 groups")


FILES = (
    ("leaderboard.json", "everything on this page"),
    ("leaderboard.csv", "one line per method"),
    ("per_class.csv", "one line per method, class and metric"),
)
MOST_TIES = 6
"""Of more sets of tied rows, only the letters of the ranking are shown."""
FEWEST_IN_A_DIAGRAM = 3
"""Two rows need no diagram of their mean ranks."""


def _mean_ranks(board: Leaderboard) -> Drawing | None:
    if len(board.mean_ranks) < FEWEST_IN_A_DIAGRAM or not board.comparisons:
        return None
    return critical_difference(board.mean_ranks, board.tie_groups)


def badge_key(board: Leaderboard) -> tuple[Badge, ...]:
    """Every badge of the page that has an explanation, once."""
    shown = [*page_badges(board), *(one for row in board.rows for one in badges(row))]
    return tuple(dict.fromkeys(one for one in shown if one.meaning))


def page(
    board: Leaderboard,
    compared: Sequence[tuple[str, str]] = (),
    reports: Mapping[str, RowReport] | None = None,
    meter: Leak | None = None,
) -> dict[str, Any]:
    """What leaderboard.html.j2 needs beside the board: text, scales and tables, by name.

    compared  pages of comparisons: address and title
    reports     row reports by row, for other units of analysis and subgroups
    meter     result of the leakage meter on the same data
    """
    reports = reports or {}
    pairs, left_out = shown_pairs(board)
    costs = cost_keys(board)
    ranked = [row for row in board.rows if row.rank.shares]
    return {
        "board": board,
        "heads": {row.name: row_head(board, row) for row in board.rows},
        "title": text.title(board),
        "kicker": " · ".join(("Leaderboard", said(board.dataset.title), plain(board.protocol))),
        "heading": text.protocol_title(board.protocol_title, board.dataset.unit),
        "headline": board.headline,
        "standfirst": text.standfirst(board),
        "data": of_the_data(board),
        "primary": metric(board.primary).label,
        "primary_title": metric(board.primary).title,
        "level": f"{board.interval.level * 100:g}%",
        "reference": board.reference_text,
        "glance": glance(board),
        "table": metric_table(board, metric_order(board)),
        "letters": tie_letters(board),
        "costs": costs,
        "ranking_costs": [key for key in costs if key in RANKING_COSTS],
        "ranked": ranked if len(ranked) > 1 else [],
        "mean_ranks": _mean_ranks(board),
        "units": unit_slices(board, reports),
        "class_panels": class_panels(board),
        "subsets": subset_slices(board, reports),
        "confusions": confusions(board),
        "folds": fold_names(board),
        "fold_panels": fold_panels(board),
        "pair_panels": pair_panels(pairs),
        "pairs_left_out": left_out,
        "ties": ties(board.tie_groups) if len(board.tie_groups) <= MOST_TIES else [],
        "absent": [(name(row).short, plain(why)) for row, why in board.absent.items()],
        "compared": [(href, plain(label)) for href, label in compared],
        "arms": arm_section(board),
        "recipes": recipes(board),
        "trade_off": trade_off(board),
        "leak": meter,
        "method": method_name(board.interval.method),
        "unseen": text.unseen("image" if text.divides(board) else "group"),
        "unverified": text.unverified(board),
        "unit_text": text.unit(board),
        "marks": text.marks(board),
        "badge_key": badge_key(board),
        "files": FILES,
    }
