"""Tables of estimates, and the first cell of each row."""

# ruff: noqa: RUF001 - these strings are shown to people: they use typographic signs

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.leaderboard import (
    REFERENCE,
    Estimate,
    IntervalFacts,
    Leaderboard,
    LeaderboardRow,
    Rank,
)
from bench.leaderboard.estimate import REASONS
from bench.leaderboard.text import Metric, metric
from bench.report.charts import Bar, Scale, Tick, scale_of_estimates, swatches
from bench.report.format import (
    UNDEFINED,
    Name,
    count,
    counted,
    decimals,
    fixed,
    interval,
    isolated,
    listed,
    name,
    percent,
    plain,
    said,
)

METHODS = {
    "bca": "BCa",
    "percentile": "percentile",
    "bias-corrected": "bias-corrected",
    "clopper-pearson": "Clopper–Pearson",
    "max-t": "simultaneous",
    "": "no interval",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as templates draw it.

    order  the number to sort by, "" where there is none (sorts last)
    value, interval  `0.742` and `[0.725, 0.754]`, or `n/a` and ""
    note   why it is undefined: `0 positives`
    marks  remarks shown beside the value
    title  its n and the method of the interval
    """

    order: str
    value: str
    interval: str
    note: str
    marks: tuple[str, ...]
    title: str
    bar: Bar | None = None

    @property
    def text(self) -> str:
        """`0.742 [0.725, 0.754]` or `n/a (0 positives)`."""
        if self.note:
            return f"{self.value} ({self.note})"
        return f"{self.value} {self.interval}".strip()


def method_name(method: str) -> str:
    """The name of an interval's method."""
    return METHODS.get(method, method)


def beside(estimate: Estimate) -> tuple[str, ...]:
    """The marks beside a number; the missing folds of a row are listed beside its name."""
    short = ("incomplete" if mark.startswith("incomplete") else mark for mark in estimate.marks)
    return tuple(plain(mark) for mark in short if not mark.startswith(REASONS))


def cell(
    estimate: Estimate | None, metric: Metric, facts: IntervalFacts, scale: Scale | None = None
) -> Cell:
    """The cell of an estimate; `n/a` with the reason if it is missing or undefined."""
    if estimate is None:
        return Cell("", UNDEFINED, "", "not computed", (), f"{metric.label}: not computed")
    if math.isnan(estimate.value):
        why = estimate.reason(metric.name)
        title = f"{metric.label}: undefined ({why})"
        return Cell("", UNDEFINED, "", why, beside(estimate), title)
    order = f"{estimate.value:.7g}"
    if metric.counts:
        written = count(estimate.value)
        return Cell(order, written, "", "", beside(estimate), f"{written} {metric.label}")
    places = decimals(estimate.low, estimate.high, estimate.n)
    value = fixed(estimate.value, places)
    ends = interval(estimate.low, estimate.high, places)
    how = method_name(estimate.method if ends else "")
    level = f"{facts.level * 100:g}% {how} interval" if ends else how
    title = f"{level}, n = {count(estimate.n)}"
    marks = _marks(estimate, facts, has_interval=bool(ends))
    return Cell(order, value, ends, "", marks, title, scale.bar(estimate) if scale else None)


def _marks(estimate: Estimate, facts: IntervalFacts, *, has_interval: bool) -> tuple[str, ...]:
    if not has_interval:
        return ("no interval", *beside(estimate))
    usual = estimate.method in ("", facts.method)
    return beside(estimate) if usual else (method_name(estimate.method), *beside(estimate))


MOST_MISSING = 6
"""Largest number of seeds and repeats whose missing folds are listed."""
BADGES = {
    "synthetic": "A program drew the images; no row says anything about skin.",
    "lesion-level": "The data has no patient ids: images of one lesion id are in one part of a "
    "fold, but two lesions of one patient may be in two parts.",
    "image-level": "The data has neither patient nor lesion ids: images of one patient may be in "
    "two parts of a fold.",
    "from scratch": "Trained without pretrained weights.",
    "submitted": "Predictions made elsewhere; their training is not verified.",
    "committed": "The records and predictions of the row come with the project; it was not trained "
    "here.",
    "incomplete": "Folds or seeds that the protocol requires are missing; never ranked.",
    "reference": "Predicts without the image; a method has to be better.",
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A short label of a row, and its explanation."""

    text: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class RowHead:
    """The first cell of a row.

    anchor   id of the section on how to reproduce the row
    variant  differences from the default recipe and data of the method
    fault    why the row is not better than the reference rows, "" if it is better
    aside    further text: seeds, folds, why it is not ranked
    page     address of the row's page, "" without one or on that page
    """

    anchor: str
    name: Name
    kind: str
    method: str
    variant: str
    badges: tuple[Badge, ...]
    fault: str
    aside: tuple[str, ...]
    page: str = ""


def anchor(board: Leaderboard, row: LeaderboardRow) -> str:
    """The id of a row on the page: its position, because names may contain any character."""
    return f"row-{board.rows.index(row) + 1}"


def spelled(value: Any) -> str:
    """The value of a setting as a user types it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {spelled(inner)}" for key, inner in value.items())
    return plain(str(value))


def kind(row: LeaderboardRow) -> str:
    """The kind of a row: trained, submitted, reference or ensemble."""
    return "ensemble" if row.facts.members else row.kind


def _variant(row: LeaderboardRow) -> str:
    """Differences from the default recipe; for an ensemble, its members and pooling."""
    if not row.facts.members:
        return spelled(row.facts.variant)
    pool = spelled(row.facts.variant.get("pool", ""))
    return f"{pool} pool of {listed(list(map(said, row.facts.members)))}".strip()


def badge(text: str) -> Badge:
    """A badge with its explanation, if it has one."""
    return Badge(name(text).short, BADGES.get(text, ""))


def badges(row: LeaderboardRow) -> tuple[Badge, ...]:
    """The badges of a row: of its kind and state, then of its facts, each once."""
    labels = [row.kind] if row.kind in (REFERENCE, "submitted") else []
    labels += [] if row.complete else ["incomplete"]
    shown = [badge(label) for label in dict.fromkeys([*labels, *row.facts.badges])]
    return (*shown, *_warning_badge(row.facts.guards or {}))


def _warning_badge(warnings: Mapping[str, str]) -> tuple[Badge, ...]:
    """The number of training warnings, with their text; nothing without a warning."""
    if not warnings:
        return ()
    sentences = ". ".join(plain(sentence) for sentence in warnings.values())
    return (Badge(counted(len(warnings), "training warning"), f"{sentences}."),)


def folds_there(board: Leaderboard, row: LeaderboardRow) -> tuple[str, str]:
    """`4 of 5` folds, and the missing ones: `without 2`, by seed and repeat if there are several;
    "" if none is missing.
    """
    seeds = {*row.seeds, *(seed for seed, _, _ in row.missing)}
    whole = len(seeds) * board.repeats * board.folds
    amount = f"{count(whole - len(row.missing))} of {count(whole)}"
    missing: dict[str, list[str]] = {}
    for seed, repeat, fold in row.missing:
        of_seed = f"seed {seed}" if len(seeds) > 1 else ""
        of_repeat = f"repeat {repeat}" if board.repeats > 1 else ""
        missing.setdefault(f"{of_seed} {of_repeat}".strip(), []).append(str(fold))
    texts = [_missing_text(of, folds, board.folds) for of, folds in missing.items()]
    rest = [f"{len(texts) - MOST_MISSING} more"] if len(texts) > MOST_MISSING else []
    return amount, f"without {'; '.join([*texts[:MOST_MISSING], *rest])}" if texts else ""


def _missing_text(of: str, folds: list[str], whole: int) -> str:
    """`2 and 3 of seed 1`, or `seed 1` if all its folds are missing."""
    if not of:
        return listed(folds)
    return of if len(folds) == whole else f"{listed(folds)} of {of}"


def lacking(board: Leaderboard, row: LeaderboardRow) -> str:
    """`4 of 5 folds (without 2)`; "" if none is missing."""
    amount, without = folds_there(board, row)
    return f"{amount} folds ({without})" if without else ""


def aside(board: Leaderboard, row: LeaderboardRow) -> tuple[str, ...]:
    """Seeds, missing folds, and why a row is not ranked."""
    texts = []
    if len(row.seeds) > 1:
        texts.append(counted(len(row.seeds), "seed"))
    if row.missing:
        texts.append(lacking(board, row))
    if row.facts.unranked and row.kind != REFERENCE:
        texts.append(f"unranked: {plain(row.facts.unranked)}")
    return tuple(texts)


def row_head(board: Leaderboard, row: LeaderboardRow) -> RowHead:
    """The first cell of a row, the same in every table."""
    return RowHead(
        anchor=anchor(board, row),
        name=name(row.name),
        kind=row.kind,
        method="" if row.method == row.name else isolated(name(row.method).short),
        variant=_variant(row),
        badges=badges(row),
        fault=board.fault(row),
        aside=aside(board, row),
        page=board.pages.get(row.name, ""),
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a column; `first` is the sort order of the first click."""

    label: str
    note: str = ""
    first: str = "descending"
    meaning: str = ""
    swatch: str = ""


@dataclass(frozen=True, slots=True)
class RankCell:
    """`1`, its interval `1–2`, and the share of resamples in which the row is first."""

    order: str
    text: str
    interval: str = ""
    first: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table of estimates."""

    head: RowHead
    rank: RankCell
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of estimates: columns, rows, and the position of the best reference per column."""

    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    references: tuple[str, ...] = ()
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One of several tables to choose from."""

    id: str
    label: str
    about: str
    table: Table


def metric_order(board: Leaderboard) -> tuple[str, ...]:
    """The metrics of the page, the primary first."""
    return tuple(dict.fromkeys([board.primary, *board.metrics]))


def head(metric_name: str) -> Head:
    """The heading of a metric's column."""
    about = metric(metric_name)
    first = "ascending" if about.lower else "descending"
    return Head(about.title, about.direction, first, about.meaning)


def about_metric(metric_name: str) -> str:
    """Meaning and direction of a metric, as a sentence."""
    about = metric(metric_name)
    text = "; ".join(part for part in (about.meaning, about.direction) if part)
    return f"{text[:1].upper()}{text[1:]}."


def rank_cell(rank: Rank) -> RankCell:
    """The rank of a row with its interval, or a dash if it is not ranked."""
    if rank.best is None:
        return RankCell("", "–")
    known = rank.low is not None and rank.high is not None
    ends = f"{rank.low}–{rank.high}" if known and rank.low != rank.high else ""
    if known and not ends:
        ends = f"always {rank.low}"
    first = "" if math.isnan(rank.p_best) else percent(rank.p_best)
    return RankCell(str(rank.best), str(rank.best), ends, first)


def _reference(board: Leaderboard, metric_name: str) -> Estimate | None:
    rows = [row for row in board.rows if row.name == board.best_reference]
    return rows[0].table.metrics.get(metric_name) if rows else None


def rows_in_view(board: Leaderboard, metric_name: str) -> list[LeaderboardRow]:
    """The rows that fit the scale of a metric: all rows if the metric has an upper bound.

    Without one (log loss), reference rows beyond twice the worst method are left out.
    """
    rows = [row for row in board.rows if metric_name in row.table.metrics]
    if math.isfinite(metric(metric_name).bounds[1]) or metric_name == board.primary:
        return rows
    sizes = {row.name: abs(row.table.metrics[metric_name].value) for row in rows}
    methods = [sizes[row.name] for row in rows if row.kind != REFERENCE]
    limit = max((2 * size for size in methods if math.isfinite(size)), default=math.inf)
    return [row for row in rows if not sizes[row.name] > limit]


def _scale(board: Leaderboard, metric_name: str) -> Scale:
    estimates = [row.table.metrics[metric_name] for row in rows_in_view(board, metric_name)]
    return scale_of_estimates(estimates, metric(metric_name).bounds)


def primary_scale(board: Leaderboard, rows: Iterable[LeaderboardRow]) -> Scale:
    """A scale of the primary metric that holds these rows."""
    estimates = [row.table.metrics[board.primary] for row in rows]
    return scale_of_estimates(estimates, metric(board.primary).bounds)


def metric_table(board: Leaderboard, names: tuple[str, ...]) -> Table:
    """Every row with these metrics; each column has a separate scale."""
    scales = {key: _scale(board, key) for key in names}
    best = [_reference(board, key) for key in names]
    lines = [
        Line(
            row_head(board, row),
            rank_cell(row.rank),
            tuple(
                cell(row.table.metrics.get(key), metric(key), board.interval, scales[key])
                for key in names
            ),
        )
        for row in board.rows
    ]
    return Table(
        heads=tuple(head(key) for key in names),
        lines=tuple(lines),
        references=tuple(
            scales[key].at(value.value) if value else ""
            for key, value in zip(names, best, strict=True)
        ),
        ticks=scales[names[0]].ticks,
    )


def metric_panels(board: Leaderboard, prefix: str = "metric") -> tuple[Panel, ...]:
    """One interval plot per metric; prefix: of their ids."""
    return tuple(
        Panel(
            id=f"{prefix}-{index}",
            label=metric(key).title,
            about=about_metric(key),
            table=metric_table(board, (key,)),
        )
        for index, key in enumerate(metric_order(board))
    )


@dataclass(frozen=True, slots=True)
class Glance:
    """The plot at the top of the page, and a note on omitted methods, "" if none is omitted."""

    table: Table
    left_out: str


def glance(board: Leaderboard, most: int = 8) -> Glance:
    """The primary metric of the first rows and of the best reference, for the top of the page."""
    whole = metric_table(board, (board.primary,))
    methods = [line for line in whole.lines if line.head.kind != REFERENCE]
    first = ([line for line in methods if line.rank.order] or methods)[:most]
    best = [line for line in whole.lines if line.head.name.full == plain(board.best_reference)]
    table = replace(whole, lines=tuple(dict.fromkeys([*first, *best])))
    return Glance(table, _left_out(methods, [line for line in methods if line not in first]))


def _left_out(methods: Sequence[Line], rest: Sequence[Line]) -> str:
    """The number of omitted rows, and of those without a rank or not better than a reference."""
    if not rest:
        return ""
    failing = sum(bool(line.head.fault) for line in rest)
    unranked = sum(not line.rank.order for line in rest)
    notes = [f"{count(unranked)} unranked"] if 0 < unranked < len(methods) else []
    notes += [f"{count(failing)} not clearing the best reference row"] if failing else []
    which = f" ({', '.join(notes)})" if notes else ""
    return (
        f"{count(len(methods) - len(rest))} of {counted(len(methods), 'row')}; "
        f"the ranking below also has the other {count(len(rest))}{which}."
    )


def class_heads(board: Leaderboard) -> tuple[Head, ...]:
    """The classes as columns, each with its number of images and groups."""
    facts = board.dataset
    heads = []
    for label, swatch in zip(board.classes, swatches(board.classes), strict=True):
        note = counted(facts.images_by_class.get(label, 0), "image")
        if facts.unit != "image":
            note += f"\n{counted(facts.of_class(label), facts.unit)}"
        heads.append(Head(name(label, 24).short, note, swatch=swatch, meaning=name(label).full))
    return tuple(heads)


def class_panel(board: Leaderboard, index: int, metric_name: str) -> Panel:
    """One metric of every row, class by class, all on one scale."""
    about = metric(metric_name)
    estimates = [
        row.table.per_class.get(label, {}).get(metric_name)
        for row in board.rows
        for label in board.classes
    ]
    scale = scale_of_estimates(filter(None, estimates), about.bounds)
    lines = tuple(
        Line(
            row_head(board, row),
            rank_cell(row.rank),
            _class_cells(board, row, metric_name, scale),
        )
        for row in board.rows
    )
    return Panel(
        id=f"class-{index}",
        label=about.title,
        about=about_metric(metric_name),
        table=Table(class_heads(board), lines, ticks=scale.ticks),
    )


def _class_cells(
    board: Leaderboard, row: LeaderboardRow, metric_name: str, scale: Scale
) -> tuple[Cell, ...]:
    per_class = row.table.per_class
    return tuple(
        cell(per_class.get(label, {}).get(metric_name), metric(metric_name), board.interval, scale)
        for label in board.classes
    )


def class_panels(board: Leaderboard) -> tuple[Panel, ...]:
    """One table per class metric; the headings give the class sizes."""
    rates = [key for key in board.class_metrics if not metric(key).counts]
    return tuple(class_panel(board, i, key) for i, key in enumerate(rates))


@dataclass(frozen=True, slots=True)
class ClassCount:
    """The size of a class: images, groups, and the width of its bar."""

    name: Name
    swatch: str
    images: str
    groups: str
    share: str
    width: str


def class_counts(board: Leaderboard) -> tuple[ClassCount, ...]:
    """The sizes of the classes, for the table beside the title."""
    facts = board.dataset
    images = [facts.images_by_class.get(label, 0) for label in board.classes]
    most, total = max([1, *images]), max(1, sum(images))
    return tuple(
        ClassCount(
            name(label, 24),
            swatch,
            fixed(number, 0),
            fixed(facts.of_class(label), 0),
            percent(number / total),
            f"{number / most * 100:.2f}%",
        )
        for label, swatch, number in zip(
            board.classes, swatches(board.classes), images, strict=True
        )
    )
