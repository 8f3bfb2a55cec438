"""Choose hyperparameters on val only, fold by fold, and measure how optimistic val was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import isfinite
from pathlib import Path

from bench.errors import MethodError, listing
from bench.io import write_atomically
from bench.job import JobFile
from bench.predictions import Predictions, TrainingKey
from bench.run.results import is_done, read_predictions, sweep_file
from bench.score.sweep import Candidate, Sweep, choose
from bench.settings import DEFAULT_GRID
from bench.workflows.events import OnEvent, ignore
from bench.workflows.open import OpenBench
from bench.workflows.run import Overrides, Plan, RunOptions, plan_run


def combinations(grid: Sequence[str], fixed: Overrides) -> tuple[dict[str, str], ...]:
    """Every combination of a grid such as ("lr=1e-3,3e-3", "epochs=4,8").

    Raises MethodError for an axis without values, one given twice, or one that `fixed` sets.
    """
    values: dict[str, list[str]] = {}
    for axis in grid:
        key, _, given = axis.partition("=")
        found = [value for value in given.split(",") if value]
        if not key or not found:
            raise MethodError(f"--grid takes key=value,value, not {axis!r}")
        if key in values:
            raise MethodError(f"--grid {key} is given twice; put all its values into one")
        values[key] = list(dict.fromkeys(found))
    both = values.keys() & fixed.keys()
    if both:
        raise MethodError(f"{listing(sorted(both))}: either --set or --grid, not both")
    return tuple(dict(zip(values, each, strict=True)) for each in product(*values.values()))


def plan_sweep(
    bench: OpenBench, options: RunOptions, grid: Sequence[str], on_event: OnEvent = ignore
) -> Plan:
    """Plan every combination of a grid; combinations of the same training are planned once."""
    (fixed,) = options.variants
    variants = tuple({**fixed, **each} for each in combinations(grid or DEFAULT_GRID, fixed))
    plan = plan_run(bench, replace(options, variants=variants), on_event)
    jobs = {file.id: file for file in reversed(plan.jobs)}
    waiting = {file.id: file for file in reversed(plan.waiting)}
    return Plan(tuple(jobs.values())[::-1], tuple(waiting.values())[::-1])


def conclude_sweep(
    bench: OpenBench, plan: Plan, grid: Sequence[str], results: Path
) -> list[tuple[Sweep, Path]]:
    """Choose the best candidate of every fold on val; keep each method's choice in a file."""
    keys = tuple(axis.partition("=")[0] for axis in grid or DEFAULT_GRID)
    found = []
    for method in dict.fromkeys(file.job.method for file in plan.jobs):
        candidates = _candidates([f for f in plan.jobs if f.job.method == method], keys)
        if not any(candidate.val for candidate in candidates):
            continue
        sweep = choose(method, candidates, bench.protocol, bench.dataset, bench.roles)
        path = sweep_file(results, bench.protocol.name, bench.dataset.name, method)
        write_atomically(path, (json.dumps(_plain(sweep), indent=2) + "\n").encode())
        found.append((sweep, path))
    return found


def _candidates(files: Sequence[JobFile], keys: Sequence[str]) -> list[Candidate]:
    """Candidates with the predictions of their finished jobs; `keys` are the grid's options."""
    by_row: dict[str, list[JobFile]] = {}
    for file in files:
        by_row.setdefault(file.job.row, []).append(file)
    candidates = []
    for row, jobs in by_row.items():
        done = [file for file in jobs if is_done(Path(file.place.folder), file.job)]
        val, test = (_predictions(done, f"{part}predictions.parquet") for part in ("val_", ""))
        settings = {key: getattr(jobs[0].job.recipe, key) for key in keys}
        candidates.append(Candidate(settings, row, val, test))
    return candidates


def _predictions(files: Sequence[JobFile], name: str) -> Mapping[TrainingKey, Predictions]:
    return {
        file.job.slot: read_predictions(path, file.job.classes)
        for file in files
        if (path := Path(file.place.folder, name)).is_file()
    }


def _plain(sweep: Sweep) -> dict[str, object]:
    """The content of a sweep's file. It holds test scores of chosen candidates only."""
    return {
        "method": sweep.method,
        "metric": "macro_f1",
        "candidates": [
            {
                "row": each.row,
                "settings": dict(each.settings),
                "val": val if isfinite(val) else None,
            }
            for each, val in zip(sweep.candidates, sweep.val, strict=True)
        ],
        "choices": [
            {
                **choice.slot._asdict(),
                "row": choice.candidate.row,
                "settings": dict(choice.candidate.settings),
                "among": choice.among,
                "val": choice.val,
                "test": choice.test,
                "optimism": choice.optimism,
            }
            for choice in sweep.choices
        ],
        "test": sweep.test,
        "optimism": sweep.optimism,
        "optimism_of_choosing": sweep.optimism_of_choosing,
    }
