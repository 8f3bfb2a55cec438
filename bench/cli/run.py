"""`run`, `sweep`, `plan`, `job`: train the jobs that are not done yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import (
    as_options,
    protocol_option,
    results_option,
    source_options,
    training_options,
)
from bench.cli.terminal import (
    PIPE_WIDTH,
    job_events,
    print_arms,
    print_data,
    print_table,
    stage_events,
    title,
)
from bench.errors import BenchError, listing
from bench.settings import DEFAULT_GRID, DEFAULT_RESULTS, JOB_LIST

if TYPE_CHECKING:
    from bench.data.open import DatasetSpec
    from bench.score.sweep import Sweep
    from bench.workflows.events import Outcome
    from bench.workflows.run import Plan, RunOptions, RunResult


@click.command()
@protocol_option
@source_options
@results_option
@training_options
def run(
    protocol_name: str,
    data: DatasetSpec,
    dry_run: bool,  # noqa: FBT001
    **rest: Any,
) -> int:
    """Train the jobs that are not done yet, score all rows, write the leaderboard."""
    from bench.workflows.open import open_bench
    from bench.workflows.report import report
    from bench.workflows.run import plan_run

    options = as_options(data=data, **rest)
    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    with stage_events() as on_event:
        plan = plan_run(bench, options, on_event)
    result = _train(plan, options, dry_run=dry_run)
    if dry_run:
        return 0
    with stage_events() as on_event:
        written = report(bench, options.results, on_event=on_event)
    print_table(written.leaderboard)
    print_arms(written.leaderboard)
    click.echo(f"leaderboard: {written.page}")
    return _print_failures(result.failed)


def _train(plan: Plan, options: RunOptions, *, dry_run: bool) -> RunResult:
    """Do the waiting jobs with bars or lines; a dry run lists the jobs instead."""
    from bench.workflows.run import RunResult, train

    click.echo(f"{len(plan.jobs)} jobs, {plan.done} of them done already")
    if dry_run:
        _print_jobs(plan)
        return RunResult(plan, ())
    with job_events([file.job for file in plan.waiting]) as on_event:
        return train(plan, options, on_event)


def _print_jobs(plan: Plan) -> None:
    waiting = {file.id for file in plan.waiting}
    for file in plan.jobs:
        click.echo(f"{file.id}  {title(file.job)}  {'to do' if file.id in waiting else 'done'}")


def _print_failures(failed: Iterable[Outcome]) -> int:
    """Print the jobs that failed with their fault; give the exit code."""
    from bench.io import strip_control

    code = 0
    for outcome in failed:
        click.echo(strip_control(f"failed: {outcome.folder}: {outcome.fault}"), err=True)
        code = 1
    return code


@click.command()
@protocol_option
@source_options
@click.option(
    "--grid",
    multiple=True,
    help="Recipe option with values: key=value,value; repeatable; every combination is tried. "
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
    **rest: Any,
) -> int:
    """Choose hyperparameters on val only, fold by fold; report the optimism of val."""
    from bench.workflows.open import open_bench
    from bench.workflows.sweep import combinations, conclude_sweep, plan_sweep

    options = as_options(data=data, **rest)
    tried = combinations(grid or DEFAULT_GRID, options.variants[0])
    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    with stage_events() as on_event:
        plan = plan_sweep(bench, options, grid, on_event)
    click.echo(f"{len(tried)} combinations of {listing(list(tried[0]))}")
    result = _train(plan, options, dry_run=dry_run)
    if dry_run:
        return 0
    for found, path in conclude_sweep(bench, plan, grid, options.results):
        _print_sweep(found)
        click.echo(f"sweep: {path}")
    return _print_failures(result.failed)


def _print_sweep(found: Sweep) -> None:
    """Print the candidates by val, the choice of each fold with val and test, and the optimism."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = Console(width=None if console.is_terminal else PIPE_WIDTH)
    candidates = Table("candidate", "val macro-F1, mean", "chosen in folds")
    for candidate, val in zip(found.candidates, found.val, strict=True):
        folds = [str(c.slot.fold) for c in found.choices if c.candidate is candidate]
        candidates.add_row(_settings(candidate.settings), _number(val), ", ".join(folds))
    choices = Table("seed", "fold", "chosen on val", "among", "val", "test", "optimism")
    for choice in found.choices:
        choices.add_row(
            str(choice.slot.seed),
            str(choice.slot.fold),
            _settings(choice.candidate.settings),
            str(choice.among),
            *map(_number, (choice.val, choice.test, choice.optimism)),
        )
    console.print(f"{found.method}: macro-F1 by fold; test images influenced no choice")
    console.print(candidates, choices)
    console.print(
        f"test macro-F1 of the chosen candidates, mean of {len(found.choices)} folds: "
        f"{_number(found.test)}; optimism (val minus test): {found.optimism:+.3f}, "
        f"from selection: {found.optimism_of_choosing:+.3f}"
    )


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _number(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "n/a"


@click.command()
@protocol_option
@source_options
@results_option
@click.option(
    "--slurm",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an array script for sbatch, and beside it the list of jobs, FILE.jobs.",
)
@training_options
def plan(
    protocol_name: str,
    data: DatasetSpec,
    slurm: Path | None,
    dry_run: bool,  # noqa: FBT001
    **rest: Any,
) -> int:
    """Plan the jobs of a run without doing them; finished jobs are left out.

    Writes their list into the results folder, or beside the script; `job --index N` does one of
    them. Images are read and cached now. All nodes must see results folder and cache at the same
    paths. `report` scores the results.
    """
    from bench.workflows.open import open_bench
    from bench.workflows.results import job_list_path, write_jobs
    from bench.workflows.run import plan_run

    options = as_options(data=data, **rest)
    job_list = job_list_path(options.results, slurm)  # refused before images are read
    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    with stage_events() as on_event:
        planned = plan_run(bench, options, on_event)
    click.echo(f"{len(planned.jobs)} jobs, {planned.done} of them done already")
    if slurm is None or dry_run:
        _print_jobs(planned)
    if dry_run:
        return 0
    if not planned.waiting:
        click.echo("all jobs are done")
        return 0
    listed = write_jobs(planned, job_list, slurm, options.jobs)
    if not listed:
        click.echo("all remaining jobs are running elsewhere")
        return 0
    if slurm is None:
        click.echo(f"{len(listed)} jobs: {job_list}; do one with: job --index N --list {job_list}")
        return 0
    click.echo(f"{len(listed)} jobs: {job_list}\nsbatch {slurm}")
    return 0


@click.command()
@click.argument(
    "job_json", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--index", type=click.IntRange(0), help="Number of the job in --list, from 0.")
@click.option(
    "--list",
    "job_list",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BENCH_JOBS",
    default=DEFAULT_RESULTS / JOB_LIST,
    show_default=True,
    help="Job list that `plan` wrote. Also set by $BENCH_JOBS.",
)
def job(job_json: Path | None, index: int | None, job_list: Path) -> int:
    """Do the job of JOB_JSON; write predictions and record beside it.

    With --index, do one job of a list as a runner would: its log goes into its folder.
    """
    from bench.workflows.job import do_job, do_listed

    if (job_json is None) == (index is None):
        raise BenchError("job: give a JOB.json, or --index N with the --list that `plan` wrote")
    if job_json is not None:
        return do_job(job_json)
    if not job_list.is_file():
        raise BenchError(
            f"job --index: {job_list}: no such file; give the --list that `plan` wrote"
        )
    with job_events([], lines=True) as on_event:
        outcome = do_listed(job_list, int(index or 0), on_event)
    click.echo(f"{'done' if outcome.ok else 'failed'}: {outcome.folder}")
    return 0 if outcome.ok else 1
