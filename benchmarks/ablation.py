"""Which ingredients of `efficientnet_phase4` help, which hurt: its arms against it as it stands.

    python -m benchmarks.ablation --commands --data DIR --results DIR    how to train the arms
    python -m benchmarks.ablation --data DIR --results DIR               the table of those finished

An arm is a row of the method (`--method`: another one's) that differs from the recipe as it stands,
at the same budget, by some switches. The table gives its macro-F1 and the paired difference to the
recipe as it stands, with 95% intervals by bootstrap over groups, and the guards that spoke. Where a
training was made before guards watched, those that need only its recipe, labels and predictions are
heard afterwards.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bench.data.open import DatasetSpec
from bench.errors import BenchError, ResultsError
from bench.leaderboard import Estimate, Leaderboard, LeaderboardRow, RowFacts
from bench.predictions import RowPredictions
from bench.recipe import Recipe
from bench.score.leaderboard import score
from bench.train import diagnostics
from bench.train.optim import build_ema
from bench.workflows.collect import collect
from bench.workflows.open import OpenBench, open_bench

METHOD = "efficientnet_phase4"
BUDGET = {"image_size": 64, "epochs": 8}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "as the original notebook": {
        "sampler_power": 1.0, "class_weight_power": 1.0, "class_weight_prior": "natural",
        "ema_warmup": False, "mix_off_epochs": 0,
    },
    "without mixing": {"cutmix_prob": 0.0, "mixup_prob": 0.0},
    "without sampler": {"sampler_power": 0.0},
    "without class weights": {"class_weight_power": 0.0},
    "without either": {"sampler_power": 0.0, "class_weight_power": 0.0},
    "sampler and weights both balancing": {
        "sampler_power": 1.0, "class_weight_power": 1.0, "class_weight_prior": "natural",
    },
    "without averaging": {"ema_decay": None},
    "averaging without warm-up": {"ema_warmup": False},
    "mixing to the end": {"mix_off_epochs": 0},
}  # fmt: skip
"""What each arm changes; others are called by what they change."""


@dataclass(frozen=True)
class Line:
    """An arm in the table: macro-F1, and its difference to the base row with its interval."""

    name: str
    changed: str
    complete: bool
    folds: int
    value: Estimate
    difference: tuple[float, float, float]
    guards: tuple[str, ...]


def spelled(switches: Mapping[str, Any]) -> str:
    """`cutmix_prob=0 mixup_prob=0`, as one types it after --set."""

    def word(value: object) -> str:
        if value is None or isinstance(value, bool):
            return str(value).lower()
        return f"{value:g}" if isinstance(value, float) else str(value)

    return " ".join(f"{key}={word(value)}" for key, value in switches.items())


def base_of(variants: Mapping[str, Mapping[str, Any]]) -> str:
    """The row as it stands: what all others' variants hold, too. Raises ResultsError without one.

    Of several the one with the most switches: its rows have the largest budget in common.
    """
    shared = {
        name: sum(own.items() <= other.items() for other in variants.values())
        for name, own in variants.items()
    }
    name = max(variants, key=lambda one: (shared[one], len(variants[one])), default="")
    if shared.get(name, 0) < 2:  # noqa: PLR2004 - itself, and an arm
        raise ResultsError("no row is the recipe as it stands for another one: train an arm first")
    return name


def changes(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a row changes of the base row; None where it has not all of the base's settings."""
    return {k: v for k, v in own.items() if k not in base} if base.items() <= own.items() else None


def heard_afterwards(bench: OpenBench, row: RowPredictions, facts: RowFacts) -> dict[str, str]:
    """What guards say that need only recipe, labels and predictions of a row's jobs."""
    recipe, classes = Recipe.model_validate(facts.recipe), bench.dataset.classes
    said: dict[str, str] = {}
    for slot, test in row.test.items():
        train = bench.roles.rows(slot.fold, "train")
        labels = bench.dataset.labels[train]
        said.setdefault("double balance", diagnostics.double_balance(labels, classes, recipe))
        if recipe.ema_decay is not None:
            history = facts.history.get(f"seed {slot.seed} fold {slot.fold}", {})
            epochs = len(history.get("epoch", ()))
            batches = max(1, len(train) // recipe.batch_size)
            steps = (epochs or recipe.epochs) * math.ceil(batches / recipe.accumulate)
            decay = build_ema(nn.Linear(1, 1), recipe).get_decay
            share = diagnostics.lagging_average(decay, steps, "at the end")
            said["lagging average"] = said.get("lagging average") or share
        never = diagnostics.never_predicted("test", test.probs, classes)
        said["never predicted on test"] = said.get("never predicted on test") or never
    return {guard: sentence for guard, sentence in said.items() if sentence}


def lines(bench: OpenBench, results: Path, method: str, base: str | None) -> tuple[str, list[Line]]:
    """The base row's name, and a line for it and each of its arms, the best difference first."""
    collected = collect(bench, results)
    rows, facts = collected.rows, collected.facts
    mine = [row for row in rows if row.method == method and row.kind == "trained"]
    variants = {row.name: facts[row.name].variant for row in mine}
    if base is not None and base not in variants:
        raise ResultsError(f"--base {base}: no such row; there are {', '.join(sorted(variants))}")
    base = base or base_of(variants)
    changed = {name: changes(own, variants[base]) for name, own in variants.items()}
    arms = [row for row in mine if changed[row.name] is not None]
    told = {row.name: facts[row.name] for row in arms}
    board = score(bench.protocol, bench.dataset, bench.roles, arms, told, all_pairs=True)
    found = []
    for row in board.rows:
        predictions = next(one for one in arms if one.name == row.name)
        said = row.facts.guards
        if said is None:
            said = heard_afterwards(bench, predictions, row.facts)
        found.append(_line(board, row, base, changed[row.name] or {}, said))
    order = sorted(found, key=lambda line: (not line.complete, -np.nan_to_num(line.difference[0])))
    return base, order


def _line(
    board: Leaderboard,
    row: LeaderboardRow,
    base: str,
    changed: Mapping[str, Any],
    said: Mapping[str, str],
) -> Line:
    names = [name for name, switches in ARMS.items() if dict(switches) == dict(changed)]
    title = "as it stands" if row.name == base else (names or [row.name])[0]
    return Line(
        name=title,
        changed=spelled(changed),
        complete=row.complete,
        folds=len(row.folds),
        value=row.table.metrics[board.primary],
        difference=_difference(board, row.name, base),
        guards=tuple(said),
    )


def _difference(board: Leaderboard, arm: str, base: str) -> tuple[float, float, float]:
    """Arm minus base with its interval; NaN where the two are not compared."""
    for one in board.comparisons:
        if (one.a, one.b) == (arm, base):
            return one.difference, one.low, one.high
        if (one.a, one.b) == (base, arm):
            return -one.difference, -one.high, -one.low
    return math.nan, math.nan, math.nan


def table(base: str, arms: Sequence[Line], of: int, planned: Iterable[str] = ARMS) -> str:
    """The table in Markdown; arms that are not finished, or not begun, are listed below it.

    of       folds of a finished arm
    planned  names of the arms that there should be
    """
    words = [
        "| arm | what changed | macro-F1 | minus the recipe as it stands | guards that spoke |",
        "| --- | --- | --- | --- | --- |",
    ]
    for arm in arms:
        if arm.complete:
            said = ", ".join(arm.guards) or "none"
            cells = (arm.name, arm.changed or "nothing", _value(arm.value), _apart(arm), said)
            words.append(f"| {' | '.join(cells)} |")
    begun = {arm.name: arm.folds for arm in arms if not arm.complete}
    missing = [name for name in planned if name not in {arm.name for arm in arms}]
    words += ["", f"The recipe as it stands is `{base}`; intervals are 95%, over groups."]
    if begun:
        told = ", ".join(f"{name} ({folds} of {of} folds)" for name, folds in begun.items())
        words.append(f"Unfinished, without a number: {told}.")
    if missing:
        words.append(f"Not begun: {', '.join(missing)}.")
    return "\n".join(words)


def _value(value: Estimate) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _apart(arm: Line) -> str:
    difference, low, high = arm.difference
    return "" if math.isnan(difference) else f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def commands(protocol: str, data: Path | None, results: Path, method: str) -> str:
    """What trains the recipe as it stands and every arm, a line each."""
    words = f"python bench.py run --protocol {protocol} --results {results} --method {method}"
    words += f" --data {data}" if data else ""
    budget = "".join(f" --set {key}={value}" for key, value in BUDGET.items())
    arms: list[Mapping[str, Any]] = [{}, *ARMS.values()]
    return "\n".join(
        words + budget + "".join(f" --set {one}" for one in spelled(switches).split())
        for switches in arms
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--protocol", default="groupkfold5")
    parser.add_argument("--method", default=METHOD)
    parser.add_argument("--base", help="the row of the recipe as it stands")
    parser.add_argument("--commands", action="store_true", help="print how to train the arms")
    asked = parser.parse_args(arguments)
    if asked.commands:
        print(commands(asked.protocol, asked.data, asked.results, asked.method))
        return 0
    try:
        bench = open_bench(asked.protocol, DatasetSpec(asked.data))
        base, arms = lines(bench, asked.results, asked.method, asked.base)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    dataset = bench.dataset
    print(
        f"{asked.method} on {dataset.name}, {asked.protocol}, {dataset.unit}-level, "
        f"{datetime.now(UTC):%Y-%m-%d}\n"
    )
    planned = ARMS if asked.method == METHOD else ()
    print(table(base, arms, bench.protocol.folds, planned))
    return 0


if __name__ == "__main__":
    sys.exit(main())
