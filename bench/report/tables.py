"""The tables of estimates: the ranking, one metric at a time, class by class."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.estimates import Estimate, Leaderboard, LeaderboardRow, Rank
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.charts import Scale, Tick, scale_of_estimates
from bench.report.names import Name, name, plain
from bench.report.numbers import count, counted, decimals, fixed, percent
from bench.report.palette import swatches
from bench.report.rows import REFERENCE, RowHead, row_head


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
