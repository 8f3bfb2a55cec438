"""Comparisons for the tests of pages: scored from drawn predictions."""

from __future__ import annotations

from bench.contrast import Contrast
from bench.score.versus import Question, contrast
from tests.score.cohorts import World


def compared(*names: str) -> Contrast:
    """Some of three drawn rows: a good one, a poor one, one with a tag in its name."""
    world = World()
    rows = [world.row(name, skill) for name, skill in (("a", 2.0), ("b", 0.7), ("<i>c", 1.9))]
    question = Question("macro_f1", margin=0.02)
    return contrast(world.protocol, world.manifest, world.roles, rows, {}, names, question)
