"""The tables of a paper: the numbers of the pages, in booktabs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.estimates import Leaderboard, LeaderboardRow
from bench.report.catalogue import metric
from bench.report.cells import METHODS, Cell, cell
from bench.report.explained import FOLDS, MARKS, RARE, kind_of
from bench.report.latex import Tex, escape
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
SIGNS = {
    "few lesions": r"\dagger",
    "biased": r"\ddagger",
    "percentile": r"\S",
    METHODS["clopper-pearson"]: r"\P",
    "BCa": r"\parallel",
    RARE: r"\ast",
    FOLDS: r"\circ",
    "incomplete": r"\triangle",
    "no interval": r"\diamond",
}
"""A sign of LaTeX's own mathematics for each kind of mark, in their order, the same everywhere."""
OTHER = r"\bullet"
MOST_SPELLED = 4
"""Marks of a kind with numbers of their own, spelled out below a table."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table: its label, caption, column types, headings, and blocks of lines."""

    label: str
    caption: str
    columns: str
    heads: tuple[str, ...]
    blocks: tuple[tuple[tuple[str | Cell, ...], ...], ...]
    stacked: bool = False

    def signs(self, one: Cell) -> Tex:
        """The signs of a cell's marks, raised; nothing where it bears none."""
        return _raised(dict.fromkeys(map(kind_of, one.marks)))

    @property
    def notes(self) -> tuple[Tex, ...]:
        """What the signs of this table mean, in the order of the signs."""
        used: dict[str, list[str]] = {}
        for mark in (mark for one in self._cells() for mark in one.marks):
            found = used.setdefault(kind_of(mark), [])
            if mark not in found:
                found.append(mark)
        order = dict.fromkeys([*SIGNS, *used])
        return tuple(_note(kind, used[kind]) for kind in order if kind in used)

    def _cells(self) -> Iterator[Cell]:
        yield from (
            one for block in self.blocks for line in block for one in line if isinstance(one, Cell)
        )


def _raised(kinds: Iterable[str]) -> Tex:
    found = "".join(SIGNS.get(kind, OTHER) for kind in kinds)
    return Tex(f"$^{{{found}}}$" if found else "")


def _note(kind: str, marks: Sequence[str]) -> Tex:
    """A sign, the marks that it stands for, and what they mean."""
    more = ["and others"] if len(marks) > MOST_SPELLED else []
    told = "; ".join([*marks[:MOST_SPELLED], *more])
    meaning = f": {MARKS[kind]}" if kind in MARKS else "."
    return Tex(_raised([kind]) + " " + escape(f"{told}{meaning}"))


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
