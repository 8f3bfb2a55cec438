"""The ranked table: every row with all metrics, its ties, what it was tested on, what it cost.

Ties are a compact letter display (Piepho 2004): two rows that share a letter are not told apart.
"""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as counter
from string import ascii_lowercase

from bench.estimates import Leaderboard, LeaderboardRow
from bench.report.costs import cost_cell, cost_head
from bench.report.names import plain
from bench.report.numbers import count, percent
from bench.report.rows import RowHead, row_head
from bench.report.tables import Head, Line, metric_order, metric_table

SHADES = 9
RANKED = ("train_seconds", "peak_memory_bytes", "parameters", "images_per_second")
"""Costs beside the ranking; the section on cost has all."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A line of the ranked table: a line of estimates, and what else is known of the row."""

    line: Line
    ties: str
    tested: tuple[str, str]
    costs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The ranked table. references: where the best reference lies in each column's drawing."""

    heads: tuple[Head, ...]
    references: tuple[str, ...]
    lines: tuple[Standing, ...]
    costs: tuple[Head, ...]
    ties: bool
    unit: str


def ranking(board: Leaderboard) -> Ranking:
    """The ranked table of a leaderboard."""
    table = metric_table(board, metric_order(board))
    letters = tie_letters(board)
    known = [key for key in RANKED if any(key in row.facts.cost for row in board.rows)]
    lines = tuple(
        Standing(
            line,
            letters.get(row.name, ""),
            _tested(row),
            tuple(cost_cell(row, key) for key in known),
        )
        for line, row in zip(table.lines, board.rows, strict=True)
    )
    return Ranking(
        heads=table.heads,
        references=table.references,
        lines=lines,
        costs=tuple(cost_head(key) for key in known),
        ties=bool(letters),
        unit=plain(board.dataset.unit),
    )


def _tested(row: LeaderboardRow) -> tuple[str, str]:
    images, groups = row.tested or (row.table.metrics["accuracy"].n, math.nan)
    return count(images), "" if math.isnan(groups) else count(groups)


def tie_letters(board: Leaderboard) -> dict[str, str]:
    """The letters of every ranked row, best first; none where there is nothing to compare."""
    ranked = [row.name for row in board.rows if row.rank.best is not None]
    if len(ranked) < 2 or not board.comparisons:  # noqa: PLR2004 - a row alone ties with nobody
        return {}
    sets = [tuple(name for name in group if name in ranked) for group in board.tie_groups]
    tied = {name for group in sets for name in group}
    groups = [*filter(None, sets), *((name,) for name in ranked if name not in tied)]
    groups.sort(key=lambda group: [ranked.index(name) for name in group])
    found = dict.fromkeys(ranked, "")
    for letters, group in zip(_letters(), groups, strict=False):
        for name in group:
            found[name] += f" {letters}" if found[name] else letters
    return found


def _letters() -> Iterator[str]:
    """Letters a to z, then a2 to z2, and so on."""
    for turn in counter(1):
        yield from (letter if turn == 1 else f"{letter}{turn}" for letter in ascii_lowercase)


@dataclass(frozen=True, slots=True)
class RankShare:
    """How often a row had a rank: its share in words, a shade 0 to 9, the same as a sentence."""

    text: str
    shade: int
    title: str


@dataclass(frozen=True, slots=True)
class RankLine:
    """A row's ranks over the resamples."""

    head: RowHead
    shares: tuple[RankShare, ...]
    interval: str


@dataclass(frozen=True, slots=True)
class RankShares:
    """The ranked rows by the ranks they had in the resamples."""

    ranks: tuple[str, ...]
    lines: tuple[RankLine, ...]


def rank_shares(board: Leaderboard) -> RankShares | None:
    """How often each row had each rank; None where fewer than two are ranked by resamples."""
    ranked = [row for row in board.rows if row.rank.shares]
    if len(ranked) < 2:  # noqa: PLR2004
        return None
    return RankShares(
        ranks=tuple(str(place + 1) for place in range(len(ranked[0].rank.shares))),
        lines=tuple(
            RankLine(
                row_head(board, row),
                tuple(_share(place + 1, share) for place, share in enumerate(row.rank.shares)),
                str(row.rank.low)
                if row.rank.low == row.rank.high
                else f"{row.rank.low}–{row.rank.high}",
            )
            for row in ranked
        ),
    )


def _share(rank: int, share: float) -> RankShare:
    if share == 0:
        return RankShare("", 0, "")
    told = percent(share)
    return RankShare(told, math.ceil(share * SHADES), f"rank {rank} in {told} of resamples")
