"""Tables of estimates and the introduction of each row."""

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

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


METHODS = {
    "bca": "BCa",
    "percentile": "percentile",
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
    marks  words that stand beside it
    title  its n and the interval's method
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
    """How an interval's method is written."""
    return METHODS.get(method, method)


def beside(estimate: Estimate) -> tuple[str, ...]:
    """The marks that stand beside a number; what a row lacks is said in full at its name."""
    short = ("incomplete" if mark.startswith("incomplete") else mark for mark in estimate.marks)
    return tuple(plain(mark) for mark in short if not mark.startswith(REASONS))


def cell(
    estimate: Estimate | None, metric: Metric, facts: IntervalFacts, scale: Scale | None = None
) -> Cell:
    """The cell of an estimate; of none at all, a cell that says so."""
    if estimate is None:
        return Cell("", UNDEFINED, "", "not worked out", (), f"{metric.label}: not worked out")
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


# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


MOST_GONE = 6
"""Passes over the folds of which is told what they lack."""
BADGES = {
    "synthetic": "The images were drawn by a program; no row says anything about skin.",
    "lesion-level": "The data has no patient ids: images of one lesion id stay together, but two "
    "lesions of one patient may stand on two sides of a fold.",
    "image-level": "The data has neither patient nor lesion ids: nothing keeps images of one "
    "patient together.",
    "from scratch": "Trained without pretrained weights, where the recipe would use them or not.",
    "submitted": "Predictions made elsewhere and handed in; the bench did not see the training.",
    "committed": "The row’s records and predictions come with the project; nothing was trained "
    "here to show it.",
    "incomplete": "Not every fold and seed that the protocol asks for is there; never ranked.",
    "reference": "Answers without looking at the image; what a method must at least surpass.",
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A short word on a row, and the sentence that explains it."""

    text: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class RowHead:
    """A row's first cell.

    anchor   id of the place that tells how to reproduce the row
    variant  what differs from the method's own recipe and data, spelled out
    fault    the red mark: why the row must not be believed to work, "" if nothing is wrong
    aside    further words: seeds, folds, why it is unranked
    page     address of the row's own page, "" where it has none or this is it
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
    """The id of a row's place on the page: by position, since names may hold anything."""
    return f"row-{board.rows.index(row) + 1}"


def spelled(value: Any) -> str:
    """A setting's value as one would type it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {spelled(inner)}" for key, inner in value.items())
    return plain(str(value))


def kind(row: LeaderboardRow) -> str:
    """How a row came about: trained, submitted, reference, or an ensemble of trained ones."""
    return "ensemble" if row.facts.members else row.kind


def _variant(row: LeaderboardRow) -> str:
    """What differs from the method's own recipe, in words; of an ensemble, whom it joins how."""
    if not row.facts.members:
        return spelled(row.facts.variant)
    pool = spelled(row.facts.variant.get("pool", ""))
    return f"{pool} pool of {listed([said(one) for one in row.facts.members])}".strip()


def badge(text: str) -> Badge:
    """A badge with its explanation, if the bench knows it."""
    return Badge(name(text).short, BADGES.get(text, ""))


def badges(row: LeaderboardRow) -> tuple[Badge, ...]:
    """A row's badges: what its kind and state call for, then its own, each once."""
    words = [row.kind] if row.kind in (REFERENCE, "submitted") else []
    words += [] if row.complete else ["incomplete"]
    shown = [badge(word) for word in dict.fromkeys([*words, *row.facts.badges])]
    return (*shown, *_guard_badge(row.facts.guards or {}))


def _guard_badge(said: Mapping[str, str]) -> tuple[Badge, ...]:
    """How many guards spoke while the row was trained, and what they said; nothing for none."""
    if not said:
        return ()
    sentences = ". ".join(plain(sentence) for sentence in said.values())
    return (Badge(f"{counted(len(said), 'guard')} spoke", f"{sentences}."),)


def folds_there(board: Leaderboard, row: LeaderboardRow) -> tuple[str, str]:
    """`4 of 5`, and what is not there, `without 2`, told by seed and repeat where it has several;
    "" where nothing is missing.
    """
    seeds = {*row.seeds, *(seed for seed, _, _ in row.missing)}
    whole = len(seeds) * board.repeats * board.folds
    amount = f"{count(whole - len(row.missing))} of {count(whole)}"
    gone: dict[str, list[str]] = {}
    for seed, repeat, fold in row.missing:
        of_seed = f"seed {seed}" if len(seeds) > 1 else ""
        of_repeat = f"repeat {repeat}" if board.repeats > 1 else ""
        gone.setdefault(f"{of_seed} {of_repeat}".strip(), []).append(str(fold))
    told = [_gone(of, folds, board.folds) for of, folds in gone.items()]
    rest = [f"{len(told) - MOST_GONE} more"] if len(told) > MOST_GONE else []
    return amount, f"without {'; '.join([*told[:MOST_GONE], *rest])}" if told else ""


def _gone(of: str, folds: list[str], whole: int) -> str:
    """`2 and 3 of seed 1`, or `seed 1` where all of its folds are missing."""
    if not of:
        return listed(folds)
    return of if len(folds) == whole else f"{listed(folds)} of {of}"


def lacking(board: Leaderboard, row: LeaderboardRow) -> str:
    """`4 of 5 folds (without 2)`; "" where nothing is missing."""
    amount, without = folds_there(board, row)
    return f"{amount} folds ({without})" if without else ""


def aside(board: Leaderboard, row: LeaderboardRow) -> tuple[str, ...]:
    """Seeds, missing folds, and why a row is unranked."""
    words = []
    if len(row.seeds) > 1:
        words.append(counted(len(row.seeds), "seed"))
    if row.missing:
        words.append(lacking(board, row))
    if row.facts.unranked and row.kind != REFERENCE:
        words.append(f"unranked: {plain(row.facts.unranked)}")
    return tuple(words)


def row_head(board: Leaderboard, row: LeaderboardRow) -> RowHead:
    """How a row introduces itself in every table."""
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


# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


@dataclass(frozen=True, slots=True)
class Head:
    """A column's heading; `first` is the order that a first click sorts by."""

    label: str
    note: str = ""
    first: str = "descending"
    meaning: str = ""
    swatch: str = ""


@dataclass(frozen=True, slots=True)
class RankCell:
    """`1`, its interval `1–2`, and how often the row was first."""

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
    """A table of estimates: columns, rows, and for each column where the best reference lies."""

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
    """What a metric is and which way it is better, as a sentence."""
    about = metric(metric_name)
    text = "; ".join(part for part in (about.meaning, about.direction) if part)
    return f"{text[:1].upper()}{text[1:]}."


def rank_cell(rank: Rank) -> RankCell:
    """A row's rank with its interval, or a dash for a row that takes no part."""
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
    """The rows that a metric's scale is made for: all of them, but where it has no upper bound
    (guessing labels can cost any log loss) no reference beyond twice the worst method.
    """
    rows = [row for row in board.rows if metric_name in row.table.metrics]
    if math.isfinite(metric(metric_name).bounds[1]) or metric_name == board.primary:
        return rows
    sizes = {row.name: abs(row.table.metrics[metric_name].value) for row in rows}
    methods = [sizes[row.name] for row in rows if row.kind != REFERENCE]
    limit = max((2 * one for one in methods if math.isfinite(one)), default=math.inf)
    return [row for row in rows if not sizes[row.name] > limit]


def _scale(board: Leaderboard, metric_name: str) -> Scale:
    estimates = [row.table.metrics[metric_name] for row in rows_in_view(board, metric_name)]
    return scale_of_estimates(estimates, metric(metric_name).bounds)


def primary_scale(board: Leaderboard, rows: Iterable[LeaderboardRow]) -> Scale:
    """A scale of the primary metric that holds these rows."""
    estimates = [row.table.metrics[board.primary] for row in rows]
    return scale_of_estimates(estimates, metric(board.primary).bounds)


def metric_table(board: Leaderboard, names: tuple[str, ...]) -> Table:
    """Every row with the metrics named, each column drawn on a scale of its own."""
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
    """One interval plot a metric; prefix: of their ids."""
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
    """The plot at the head of the page, and which methods it leaves out, "" where it has all."""

    table: Table
    left_out: str


def glance(board: Leaderboard, most: int = 8) -> Glance:
    """The primary metric of the first rows and of the best reference, for the head of the page."""
    whole = metric_table(board, (board.primary,))
    methods = [one for one in whole.lines if one.head.kind != REFERENCE]
    first = ([one for one in methods if one.rank.order] or methods)[:most]
    best = [one for one in whole.lines if one.head.name.full == plain(board.best_reference)]
    table = replace(whole, lines=tuple(dict.fromkeys([*first, *best])))
    return Glance(table, _left_out(methods, [one for one in methods if one not in first]))


def _left_out(methods: Sequence[Line], rest: Sequence[Line]) -> str:
    """How many rows are not shown, and how many of those bear the red mark or no rank."""
    if not rest:
        return ""
    failing = sum(bool(one.head.fault) for one in rest)
    unranked = sum(not one.rank.order for one in rest)
    told = [f"{count(unranked)} unranked"] if 0 < unranked < len(methods) else []
    told += [f"{count(failing)} not clearing the best reference row"] if failing else []
    which = f" ({', '.join(told)})" if told else ""
    return (
        f"{count(len(methods) - len(rest))} of {counted(len(methods), 'row')}; "
        f"the ranking below has the other {count(len(rest))} too{which}."
    )


def class_heads(board: Leaderboard) -> tuple[Head, ...]:
    """The classes as columns, each with how much of it there is."""
    facts = board.dataset
    heads = []
    for label, swatch in zip(board.classes, swatches(board.classes), strict=True):
        note = counted(facts.images_by_class.get(label, 0), "image")
        if facts.unit != "image":
            note += f"\n{counted(facts.groups_by_class.get(label, 0), facts.unit)}"
        heads.append(Head(name(label, 24).short, note, swatch=swatch, meaning=name(label).full))
    return tuple(heads)


def class_panel(board: Leaderboard, index: int, metric_name: str) -> Panel:
    """One metric of every row, class by class, all on one scale."""
    about = metric(metric_name)
    found = [
        row.table.per_class.get(label, {}).get(metric_name)
        for row in board.rows
        for label in board.classes
    ]
    scale = scale_of_estimates([one for one in found if one], about.bounds)
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
    """One table a class metric; sizes stand in the headings."""
    rates = [key for key in board.class_metrics if not metric(key).counts]
    return tuple(class_panel(board, i, key) for i, key in enumerate(rates))


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How much of a class there is: images, groups, and its share of the largest class."""

    name: Name
    swatch: str
    images: str
    groups: str
    share: str
    width: str


def class_counts(board: Leaderboard) -> tuple[ClassCount, ...]:
    """The classes of the data, for the table beside the title."""
    facts = board.dataset
    images = [facts.images_by_class.get(label, 0) for label in board.classes]
    most, total = max([1, *images]), max(1, sum(images))
    return tuple(
        ClassCount(
            name(label, 24),
            swatch,
            fixed(number, 0),
            fixed(facts.groups_by_class.get(label, 0), 0),
            percent(number / total),
            f"{number / most * 100:.2f}%",
        )
        for label, swatch, number in zip(
            board.classes, swatches(board.classes), images, strict=True
        )
    )


def fold_places(estimate: Estimate | None) -> int:
    """Decimals of a single fold's value: those of the row's own interval."""
    return decimals(estimate.low, estimate.high, estimate.n) if estimate else 3
