"""How a row introduces itself: its name, what it is, and what must be said beside it."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.estimates import Leaderboard, LeaderboardRow
from bench.report.catalogue import metric
from bench.report.cells import cell
from bench.report.names import Name, isolated, listed, name, plain, said
from bench.report.numbers import count, counted

REFERENCE = "reference"
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


def reference_text(board: Leaderboard) -> str:
    """`uniform, 0.131`: the best reference row and its primary value; "" if there is none."""
    for row in board.rows:
        if row.name == board.best_reference and board.primary in row.table.metrics:
            value = cell(row.table.metrics[board.primary], metric(board.primary), board.interval)
            return f"{said(row.name)}, {value.value}"
    return ""


def fault(board: Leaderboard, row: LeaderboardRow) -> str:
    """The red mark of a method whose primary interval does not clear the best reference."""
    if row.kind == REFERENCE or row.clears_reference:
        return ""
    best = reference_text(board)
    return f"does not clear the best reference row ({best})" if best else "clears no reference row"


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
        fault=fault(board, row),
        aside=aside(board, row),
        page=board.pages.get(row.name, ""),
    )
