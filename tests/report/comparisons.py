"""Comparisons for the tests of pages, scored from simulated predictions."""

from __future__ import annotations

from bench.leaderboard import ComparisonReport
from bench.score.comparison import ComparisonRequest, compare_rows_in_full
from tests.score.cohorts import World


def compared(*names: str) -> ComparisonReport:
    """Some of three drawn rows: a good one, a poor one, one with a tag in its name."""
    world = World()
    rows = [world.row(name, skill) for name, skill in (("a", 2.0), ("b", 0.7), ("<i>c", 1.9))]
    question = ComparisonRequest("macro_f1", margin=0.02)
    return compare_rows_in_full(
        world.protocol, world.dataset, world.roles, rows, {}, names, question
    )
