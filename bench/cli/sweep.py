"""`sweep`: hyperparameters chosen on val only, fold by fold, and what that choice is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

import click

from bench.cli.options import as_options, protocol_option, source_options, training_options
from bench.cli.run import plan_run, print_failures, train
from bench.data.open import DatasetSpec
from bench.errors import MethodError, listing
from bench.workflows.report import Bench, open_bench, print_data

DEFAULT_GRID = ("optimizer=adamw,sgd", "lr=3e-4,1e-3,3e-3,1e-2")


@click.command()
@protocol_option
@source_options
@click.option(
    "--grid",
    multiple=True,
    help="A switch and its values: key=value,value; repeatable, every combination is tried. "
    f"Default: {' and '.join(DEFAULT_GRID)}.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("sweeps"),
    show_default=True,
    help="Folder of the sweep's jobs, apart from the results that leaderboards show.",
)
@training_options
def sweep(
    protocol_name: str,
    data: DatasetSpec,
    grid: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
    settings: tuple[str, ...],
    **rest: Any,
) -> int:
    """Try hyperparameters; choose on val only, fold by fold; say how optimistic val was."""
    variants = combinations(grid or DEFAULT_GRID, settings)
    options = as_options(data=data, settings=settings, variants=variants, **rest)
    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    job_files = _without_repetition(plan_run(bench, options))
    click.echo(f"{len(variants)} combinations of {listing(list(variants[0]))}")
    failed = train(job_files, options, dry_run=dry_run)
    if dry_run:
        return 0
    for method in dict.fromkeys(file.job.method for file in job_files):
        own = [file for file in job_files if file.job.method == method]
        candidates = _candidates(own, tuple(variants[0]))
        if any(each.val for each in candidates):
            _conclude(bench, candidates, method, options.results)
    print_failures(failed)
    return 1 if failed else 0


def combinations(grid: Sequence[str], settings: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Every combination of a grid's values. Raises MethodError for a grid that is none."""
    values: dict[str, list[str]] = {}
    for axis in grid:
        key, _, told = axis.partition("=")
        found = [value for value in told.split(",") if value]
        if not key or not found:
            raise MethodError(f"--grid takes key=value,value, not {axis!r}")
        if key in values:
            raise MethodError(f"--grid {key} is given twice; put all its values into one")
        values[key] = list(dict.fromkeys(found))
    fixed = values.keys() & {setting.partition("=")[0] for setting in settings}
    if fixed:
        raise MethodError(f"{listing(sorted(fixed))}: either --set or --grid, not both")
    return tuple(dict(zip(values, each, strict=True)) for each in product(*values.values()))


def _without_repetition(job_files: Sequence[Any]) -> list[Any]:
    """Combinations that come to the same training (lr 1e-3 and 0.001) are one: the first."""
    return list({file.id: file for file in reversed(job_files)}.values())[::-1]


def _conclude(bench: Bench, candidates: Sequence[Any], method: str, results: Path) -> None:
    """Let the folds choose; print the choice and keep it beside the jobs."""
    from bench.io import write_atomically
    from bench.run.results import sweep_file
    from bench.score.sweep import choose

    found = choose(method, candidates, bench.protocol, bench.source.manifest, bench.roles)
    _print(found)
    path = sweep_file(results, bench.protocol.name, bench.source.manifest.name, method)
    write_atomically(path, (json.dumps(_plain(found), indent=2) + "\n").encode())
    click.echo(f"sweep: {path}")


def _candidates(job_files: Sequence[Any], keys: Sequence[str]) -> list[Any]:
    """The candidates with the predictions of their finished jobs; keys are the grid's switches."""
    from bench.run.results import is_done, read_predictions
    from bench.score.sweep import Candidate

    by_row: dict[str, list[Any]] = {}
    for file in job_files:
        by_row.setdefault(file.job.row, []).append(file)
    candidates = []
    for row, files in by_row.items():
        done = [file for file in files if is_done(Path(file.place.folder), file.job)]
        parts: list[Mapping[Any, Any]] = [
            {
                file.job.slot: read_predictions(path, file.job.classes)
                for file in done
                if (path := Path(file.place.folder, f"{part}predictions.parquet")).is_file()
            }
            for part in ("val_", "")
        ]
        recipe = files[0].job.recipe
        settings = {key: getattr(recipe, key) for key in keys}
        candidates.append(Candidate(settings, row, *parts))
    return candidates


def _told(settings: Mapping[str, Any]) -> str:
    """A candidate in words."""
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _number(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "n/a"


def _print(found: Any) -> None:
    """The candidates by val, the choices by fold with val and test, the optimism."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = Console(width=None if console.is_terminal else 140)
    candidates = Table("candidate", "val macro-F1, mean", "chosen in folds")
    for each, val in zip(found.candidates, found.val, strict=True):
        folds = [str(c.slot.fold) for c in found.choices if c.candidate is each]
        candidates.add_row(_told(each.settings), _number(val), ", ".join(folds))
    choices = Table("seed", "fold", "chosen on val", "among", "val", "test", "optimism")
    for choice in found.choices:
        choices.add_row(
            *map(str, (choice.slot.seed, choice.slot.fold, _told(choice.candidate.settings))),
            str(choice.among),
            *map(_number, (choice.val, choice.test, choice.optimism)),
        )
    console.print(f"{found.method}: macro-F1 by fold; no test image had a say in a choice")
    console.print(candidates, choices)
    console.print(
        f"test macro-F1 of the chosen, mean of {len(found.choices)} folds: {_number(found.test)}; "
        f"their val less that: {found.optimism:+.3f}, of which choosing added "
        f"{found.optimism_of_choosing:+.3f}"
    )


def _plain(found: Any) -> dict[str, Any]:
    """What is kept of a sweep. Test scores stand there of chosen candidates alone."""
    return {
        "method": found.method,
        "metric": "macro_f1",
        "candidates": [
            {
                "row": each.row,
                "settings": dict(each.settings),
                "val": val if isfinite(val) else None,
            }
            for each, val in zip(found.candidates, found.val, strict=True)
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
            for choice in found.choices
        ],
        "test": found.test,
        "optimism": found.optimism,
        "optimism_of_choosing": found.optimism_of_choosing,
    }
