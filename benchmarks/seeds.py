"""A row seed by seed: what training it again on the same folds changes.

    python -m benchmarks.seeds ROW --protocol groupkfold5 --data DIR [--results DIR]

Each line has one seed's metrics with the leaderboard's intervals (resampled groups, this seed's
models), the last two all seeds: the mean of the metric over them with its interval, and their
standard deviation, which no resampling of images shows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.data.open import DatasetSpec
from bench.leaderboard import Estimate
from bench.predictions import RowPredictions
from bench.protocol import Protocol
from bench.score.comparison import find_row
from bench.score.leaderboard import score
from bench.workflows.collect import collect
from bench.workflows.open import open_bench

METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("row")
    parser.add_argument("--protocol", default="groupkfold5")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path("results"))
    asked = parser.parse_args()
    bench = open_bench(asked.protocol, DatasetSpec(asked.data))
    found = collect(bench, asked.results)
    rows, facts = found.rows, found.facts
    name = find_row(asked.row, rows)
    row = next(one for one in rows if one.name == name)
    seeds = sorted({slot.seed for slot in row.test})
    print(f"{'seed':<12}" + "".join(f"{metric:<24}" for metric in METRICS))
    for chosen in [*([seed] for seed in seeds), seeds]:
        protocol, part = of_seeds(bench.protocol, row, chosen)
        board = score(protocol, bench.dataset, bench.roles, [part], facts)
        metrics = board.rows[0].table.metrics
        said = "mean" if len(chosen) > 1 else str(chosen[0])
        print(f"{said:<12}" + "".join(f"{_told(metrics[one]):<24}" for one in METRICS))
    apart = board.rows[0].seed_sd
    print(f"{'SD':<12}" + "".join(f"{apart[one]:<24.3f}" for one in METRICS))


def of_seeds(
    protocol: Protocol, row: RowPredictions, seeds: list[int]
) -> tuple[Protocol, RowPredictions]:
    """The protocol that asks for these seeds, and the row with them alone."""
    run = protocol.run.model_copy(update={"seeds": tuple(seeds)})
    part = row.only({slot for slot in row.test if slot.seed in seeds})
    return protocol.model_copy(update={"run": run}), part


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


if __name__ == "__main__":
    main()
