"""`status`: how far the jobs of a results folder are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.places import PROTOCOLS, existing_results_option

if TYPE_CHECKING:
    from bench.run.survey import JobState, RowState

STATES = ("done", "running", "interrupted", "waiting", "failed", "damaged")


@click.command()
@existing_results_option
def status(results: Path) -> int:
    """Say what is done, running, failed or missing, and how long the rest will take.

    Exit 1 where a job has failed or, by the names of its files, is damaged; `verify-results` reads
    them, too.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bench.cli.progress import minutes, title
    from bench.foreign import printable
    from bench.protocol import load_protocols
    from bench.run.survey import survey

    rows = survey(results, load_protocols(PROTOCOLS))
    if not rows:
        click.echo(f"{results}: no jobs yet")
        return 0
    table = Table("row", *STATES, "never planned", "left, one job at a time")
    for row in rows:
        left = row.seconds_left
        table.add_row(
            Text(printable(f"{row.protocol}/{row.dataset}/{row.row}")),
            *(str(row.count(state) or "") for state in STATES),
            _missing(row),
            "unknown" if left is None else minutes(left) if left else "",
        )
    Console(width=None if Console().is_terminal else 160).print(table)
    for job in (job for row in rows for job in row.jobs):
        name = title(job.job) if job.job else str(job.folder)
        if job.state == "running":
            who = f" by {job.worker}" if job.worker else ""
            heard = f"last heard of {minutes(job.heartbeat or 0)} ago"
            click.echo(printable(f"running: {name}{who}, {heard}"))
        elif job.detail:
            click.echo(printable(f"{job.state}: {name}: {job.detail}"))
    return 1 if any(_is_bad(job) for row in rows for job in row.jobs) else 0


def _is_bad(job: JobState) -> bool:
    return job.state in {"failed", "damaged"}


def _missing(row: RowState) -> str:
    few = 3
    if len(row.missing) <= few:
        return ", ".join(row.missing)
    return f"{len(row.missing)} jobs"
