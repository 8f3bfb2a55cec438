"""`plan`: the jobs of a run, for a cluster's scheduler to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli.board import open_bench, print_data
from bench.cli.options import as_options, training_options
from bench.cli.places import BENCH, protocol_option, results_option, source_options
from bench.data.sources import DataChoice


@click.command("plan")
@protocol_option
@source_options
@results_option
@click.option(
    "--slurm",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an array script for sbatch, and beside it the list of the jobs, FILE.jobs.",
)
@training_options
def plan(
    protocol_name: str,
    data: DataChoice,
    slurm: Path | None,
    dry_run: bool,  # noqa: FBT001
    **rest: Any,
) -> int:
    """Plan the jobs of a run without doing them; those done already are left out.

    The list of them goes into the results folder, or beside the script; `job --index N` does one.
    Images are read and stored now. What the tasks need, they find in the results folder and the
    cache, which all nodes must see at the same paths. `report` scores what they leave.
    """
    from bench.cli.run import plan as plan_jobs
    from bench.cli.run import show_jobs, undone
    from bench.run.joblist import array_script, log_pattern, write_job_list
    from bench.run.results import PLANNED

    options = as_options(data=data, **rest)
    job_list = options.results.resolve() / PLANNED
    if slurm is not None:
        job_list = slurm.resolve().with_name(f"{slurm.name}.jobs")
        log_pattern(job_list)  # refused before images are read
    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    job_files = plan_jobs(bench, options)
    waiting = undone(job_files, options)
    if slurm is None or dry_run:
        show_jobs(job_files, waiting)
    if dry_run:
        return 0
    if not waiting:
        click.echo("nothing is left to do")
        return 0
    listed = write_job_list(job_list, waiting)
    if not listed:
        click.echo("all that is left is being done elsewhere")
        return 0
    if slurm is None:
        click.echo(f"{len(listed)} jobs: {job_list}; one of them: job --index N --list {job_list}")
        return 0
    slurm.write_text(array_script(job_list, listed, BENCH, options.jobs), encoding="utf-8")
    click.echo(f"{len(listed)} jobs: {job_list}\nsbatch {slurm}")
    return 0
