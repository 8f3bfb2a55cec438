"""Dataset reports of the synthetic set, for the tests of its page and of papers."""

from __future__ import annotations

from functools import cache

from bench.data.open import DatasetSpec
from bench.leaderboard import Leaderboard
from bench.report.dataset_report import DatasetReport
from bench.score.leaderboard import score
from bench.score.reference_rows import references
from bench.workflows.open import OpenBench, open_bench
from bench.workflows.report import dataset_report


@cache
def opened(protocol: str = "groupkfold5") -> OpenBench:
    """A protocol on the synthetic set."""
    return open_bench(protocol, DatasetSpec())


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
def study(protocol: str = "groupkfold5") -> DatasetReport:
    """Everything its page shows."""
    return dataset_report(opened(protocol), scored(protocol))
