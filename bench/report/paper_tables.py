"""The tables of a paper: the numbers of the pages, in booktabs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.estimates import Leaderboard, LeaderboardRow
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.names import name
from bench.report.numbers import count, decimals, fixed, interval, p_value, signed
from bench.report.pairs import shown_pairs
from bench.report.rows import REFERENCE
from bench.report.study import Study
from bench.report.tables import metric_order

COLUMNS = ("balanced_accuracy", "accuracy", "macro_auc")
BY_CLASS = ("recall", "f1", "auc")
LONGEST = 36
MOST_PAIRS = 45
"""Pairs that a page holds."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table: its label, caption, column types, headings, and blocks of lines."""

    label: str
    caption: str
    columns: str
    heads: tuple[str, ...]
    blocks: tuple[tuple[tuple[str | Cell, ...], ...], ...]
    stacked: bool = False


def tables(study: Study) -> Iterator[PaperTable]:
    """Ranking, classes, pairs, data."""
    yield ranking(study.board)
    yield from (by_class(study.board, key) for key in BY_CLASS if key in study.board.class_metrics)
    if study.board.comparisons:
        yield pairs(study.board)
    yield data(study)


def _how(board: Leaderboard) -> str:
    made = board.interval
    data = " Synthetic data." if board.dataset.synthetic else ""
    return (
        f"In brackets {made.level:.0%} intervals over {made.unit}s "
        f"({count(made.resamples)} resamples).{data}"
    )


def _parted(board: Leaderboard) -> tuple[list[LeaderboardRow], list[LeaderboardRow]]:
    methods = [row for row in board.rows if row.kind != REFERENCE]
    return methods, [row for row in board.rows if row.kind == REFERENCE]


def ranking(board: Leaderboard) -> PaperTable:
    """Rank, method, the primary metric and the usual others."""
    keys = [key for key in metric_order(board) if key in (board.primary, *COLUMNS)]

    def line(row: LeaderboardRow) -> tuple[str | Cell, ...]:
        values = (cell(row.table.metrics.get(key), metric(key), board.interval) for key in keys)
        return (_rank(row), name(row.name, LONGEST).short, *values)

    return PaperTable(
        "ranking",
        f"{name(board.dataset.title).short}, protocol {board.protocol}. {_how(board)} "
        "Rank with its interval over the same resamples; reference rows have learnt nothing.",
        "ll" + "l" * len(keys),
        ("Rank", "Method", *(metric(key).title for key in keys)),
        tuple(tuple(map(line, rows)) for rows in _parted(board) if rows),
        stacked=True,
    )


def _rank(row: LeaderboardRow) -> str:
    rank = row.rank
    if rank.best is None:
        return "\N{EN DASH}"
    return str(rank.best) if rank.low is None else f"{rank.best} [{rank.low}, {rank.high}]"


def by_class(board: Leaderboard, key: str) -> PaperTable:
    """One metric of every row by class."""
    about = metric(key)

    def line(row: LeaderboardRow) -> tuple[str | Cell, ...]:
        found = (row.table.per_class.get(label, {}).get(key) for label in board.classes)
        return (
            name(row.name, LONGEST).short,
            *(cell(one, about, board.interval) for one in found),
        )

    meaning = f" ({about.meaning})" if about.meaning else ""
    return PaperTable(
        f"class-{key.replace('_', '-')}",
        f"{about.title}{meaning} by class. {_how(board)}",
        "l" * (len(board.classes) + 1),
        ("Method", *(name(label, 16).short for label in board.classes)),
        tuple(tuple(map(line, rows)) for rows in _parted(board) if rows),
        stacked=True,
    )


def pairs(board: Leaderboard) -> PaperTable:
    """Differences in the primary metric, with interval, adjusted p and verdict."""
    board, told = shown_pairs(board, MOST_PAIRS)
    lines = []
    for one in board.comparisons:
        if one.metric == board.primary:
            places = decimals(one.low, one.high)
            ends = interval(one.low, one.high, places)
            lines.append(
                (
                    name(one.a, LONGEST).short,
                    name(one.b, LONGEST).short,
                    f"{signed(one.difference, places)} {ends}".strip(),
                    p_value(one.p_adjusted).removeprefix("p ").removeprefix("= ") or "n/a",
                    one.verdict,
                )
            )
    return PaperTable(
        "pairs",
        f"Differences in {metric(board.primary).label}, first minus second, paired. {_how(board)} "
        f"p: corrected resampled t test over folds, adjusted by Holm.{f' {told}' if told else ''}",
        "llrrl",
        ("First", "Second", "Difference", "p", "Verdict"),
        (tuple(lines),),
    )


def data(study: Study) -> PaperTable:
    """Images, groups and detectable difference of every class."""
    lines = tuple(
        (
            "all (in accuracy)" if row["class"] == "all" else name(str(row["class"]), 24).short,
            count(row["images"]),
            count(row["groups"]),
            fixed(row["detectable"], 3),
        )
        for row in study.detectable.to_dict("records")
    )
    by = study.assumed
    return PaperTable(
        "data",
        f"Tested images and groups by class, and the smallest difference in recall found with "
        f"{by['power']:.0%} power, for methods that differ on {by['disagreement']:.0%} of the "
        f"images, correlated by {by['correlation']:g} within a group.",
        "lrrr",
        ("Class", "Images", "Groups", "Detectable"),
        (lines,),
    )
