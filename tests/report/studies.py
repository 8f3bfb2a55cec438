"""What is known of the synthetic set under a protocol, for the tests of its page and of papers."""

from __future__ import annotations

from functools import cache

from bench.cli.board import Bench, open_bench
from bench.cli.study import study_of
from bench.data.sources import DataChoice
from bench.estimates import Leaderboard
from bench.report.study import Study
from bench.score.references import references
from bench.score.table import score


@cache
def opened(protocol: str = "groupkfold5") -> Bench:
    """A protocol on the synthetic set."""
    return open_bench(protocol, DataChoice())


@cache
def scored(protocol: str = "groupkfold5") -> Leaderboard:
    """Its leaderboard with the reference rows alone."""
    bench = opened(protocol)
    quick = bench.protocol.model_copy(
        update={"interval": bench.protocol.interval.model_copy(update={"resamples": 50})}
    )
    rows = references(quick, bench.source.manifest, bench.roles, quick.run.seeds)
    return score(quick, bench.source.manifest, bench.roles, rows, {})


@cache
def study(protocol: str = "groupkfold5") -> Study:
    """Everything its page shows."""
    return study_of(opened(protocol), scored(protocol))
