"""Comparisons that were made before, made again when what they rest on has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import PredictionError

if TYPE_CHECKING:
    from bench.cli.board import Bench, Gathered
    from bench.estimates import Leaderboard
    from bench.run.pages import Asked


@dataclass(frozen=True)
class Made:
    """A comparison's folder below its leaderboard's, its title, and its files by name."""

    folder: str
    title: str
    files: dict[str, str]


def outdated(asked: Asked, board: Leaderboard) -> bool:
    """Whether the rows that a comparison's p values are adjusted over, or their values of its
    metric, are others on this board: a row was trained, handed in or taken away since.
    """
    from bench.score.references import KIND

    now = {
        row.name: row.table.metrics[asked.metric].value
        for row in board.rows
        if row.name in asked.rows or (row.kind != KIND and row.complete and not row.facts.unranked)
        if asked.metric in row.table.metrics
    }
    defined = {name: None if isnan(value) else value for name, value in now.items()}
    return defined != dict(asked.family)


def compared(
    bench: Bench, gathered: Gathered, asked: Iterable[Asked], home: str = ""
) -> Iterator[Made]:
    """Comparisons made again, of rows that are still there and have trainings in common.

    home  address of the site's index from their pages, where they stand in one
    """
    from bench.report.contrast_export import render_contrast
    from bench.run.results import compare_folder
    from bench.score.metrics import IMAGE_METRICS
    from bench.score.versus import Question, contrast

    there = {row.name for row in gathered.rows}
    protocol, manifest = bench.protocol, bench.source.manifest
    for one in asked:
        names = list(one.rows)
        if one.metric not in IMAGE_METRICS or not there.issuperset(names):
            continue
        question = Question(one.metric, margin=one.margin)
        if one.rope is not None:
            question = replace(question, rope=one.rope)
        try:
            found = contrast(
                protocol, manifest, bench.roles, gathered.rows, gathered.facts, names, question
            )
        except PredictionError:
            continue  # no training in common any more
        folder = compare_folder(Path(), names, other_metric(one.metric, protocol.metrics.primary))
        yield Made(folder.as_posix(), one.title, render_contrast(found, home))


def other_metric(metric: str, primary: str) -> str:
    """The metric by which a comparison's folder is told apart; "" for the primary one."""
    return "" if metric == primary else metric
