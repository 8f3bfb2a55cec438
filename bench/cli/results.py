"""`status`, `verify-results`, `merge`: work on a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import existing_results_option, results_option

if TYPE_CHECKING:
    from bench.run.status import JobState, RowState


STATES = ("done", "running", "interrupted", "waiting", "failed", "damaged")


@click.command()
@existing_results_option
def status(results: Path) -> int:
    """Show which jobs are done, running, failed or missing, and the time the rest will take.

    Exit 1 if a job has failed or lacks files; `verify-results` also reads the files.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bench.cli.terminal import minutes, title
    from bench.io import strip_control
    from bench.workflows.results import status

    rows = status(results)
    if not rows:
        click.echo(f"{results}: no jobs yet")
        return 0
    table = Table("row", *STATES, "never planned", "left, one job at a time")
    for row in rows:
        left = row.seconds_left
        table.add_row(
            Text(strip_control(f"{row.protocol}/{row.dataset}/{row.row}")),
            *(str(row.count(state) or "") for state in STATES),
            _missing(row),
            "unknown" if left is None else minutes(left) if left else "",
        )
    Console(width=None if Console().is_terminal else 160).print(table)
    for job in (job for row in rows for job in row.jobs):
        name = title(job.job) if job.job else str(job.folder)
        if job.state == "running":
            worker = f" by {job.worker}" if job.worker else ""
            signal = f"last sign of life {minutes(job.heartbeat or 0)} ago"
            click.echo(strip_control(f"running: {name}{worker}, {signal}"))
        elif job.detail:
            click.echo(strip_control(f"{job.state}: {name}: {job.detail}"))
    return 1 if any(_is_bad(job) for row in rows for job in row.jobs) else 0


def _is_bad(job: JobState) -> bool:
    return job.state in {"failed", "damaged"}


def _missing(row: RowState) -> str:
    few = 3
    if len(row.missing) <= few:
        return ", ".join(row.missing)
    return f"{len(row.missing)} jobs"


@click.command("verify-results")
@existing_results_option
def verify_results(results: Path) -> int:
    """Check the hashes of every record and the ids of every prediction; list orphans.

    Exit 1 if a number is in doubt. Needs neither metadata nor images.
    """
    from bench.io import strip_control
    from bench.workflows.results import verify_results

    checked = verify_results(results)
    for finding in checked.findings:
        kind = "FAULT" if finding.grave else "note"
        click.echo(strip_control(f"{kind}: {finding.path}: {finding.what}"))
    if checked.absent:
        counts = ", ".join(f"{count} of {name}" for name, count in checked.absent.items())
        click.echo(strip_control(f"note: files named in records that are not here: {counts}"))
    click.echo(
        f"{results}: checked {checked.records} records, their {checked.files} files and "
        f"{checked.submissions} submissions: {'sound' if checked.sound else 'NOT sound'}"
    )
    return 0 if checked.sound else 1


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@results_option
def merge(source: Path, results: Path) -> None:
    """Copy every finished job and submission of SOURCE into --results.

    Refuses if both hold different content at one place; then nothing is copied. Damaged jobs of
    SOURCE are named and left out; damaged jobs of --results are replaced.
    """
    from bench.workflows.results import merge

    merged = merge(source, results)
    for fault in merged.damaged:
        click.echo(f"left out, damaged: {fault}")
    click.echo(
        f"{results}: {merged.copied} copied from {source}, {merged.equal} were there already, "
        f"{merged.unfinished} unfinished jobs left where they are"
    )
