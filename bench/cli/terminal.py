"""Progress and tables in the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import isfinite, isnan
from typing import Any, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bench.io import strip_control
from bench.job import Job
from bench.leaderboard import Estimate, Leaderboard
from bench.run.supervisor import Outcome


def title(job: Job) -> str:
    """What a job is, in a few words."""
    repeat = f" repeat {job.repeat}" if job.repeat else ""
    return f"{job.row} seed {job.seed}{repeat} fold {job.fold}"


def minutes(seconds: float) -> str:
    """Seconds as 40 s, 3 min or 2.5 h."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds:.0f} s"


def _number(cell: str | None) -> float:
    """A cell of a method's history as a number; NaN where it holds none."""
    try:
        return float(cell or "nan")
    except ValueError:
        return float("nan")


def _epoch(row: dict[str, str]) -> int:
    epoch = _number(row.get("epoch"))
    return int(epoch) if isfinite(epoch) else 0


def _failure(outcome: Outcome) -> str:
    log = outcome.folder / "log.txt"
    return strip_control(f"{title(outcome.job)}: FAILED: {outcome.fault} (log: {log})")


class _Pace:
    """Epochs done and to come over all jobs, and how long the rest will take."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.begun = time.monotonic()
        self.left = {job.id: job.recipe.epochs for job in jobs}
        self.done = 0

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        self.done += 1
        self.left[job.id] = max(0, job.recipe.epochs - _epoch(row))

    def seconds_left(self) -> float:
        taken = time.monotonic() - self.begun
        return taken / max(self.done, 1) * sum(self.left.values())


class LineProgress:
    """One line an epoch and a line a job, for logs and pipes."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.pace = _Pace(jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, job: Job) -> None:
        """Say that a job has begun."""
        click.echo(f"{title(job)}: started")

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Say how an epoch went."""
        self.pace.epoch(job, row)
        shown = [f"{name} {_number(row[name]):.3f}" for name in _SHOWN if row.get(name)]
        click.echo(
            f"{title(job)}: epoch {row.get('epoch', '?')}/{job.recipe.epochs}  {'  '.join(shown)}"
            f"  about {minutes(self.pace.seconds_left())} left"
        )

    def ended(self, outcome: Outcome) -> None:
        """Say how a job ended."""
        self.pace.left[outcome.job.id] = 0
        click.echo(_failure(outcome) if not outcome.ok else f"{title(outcome.job)}: done")


_SHOWN = ("train_loss", "val_macro_f1", "ema_val_macro_f1")


class BarProgress:
    """A bar for the jobs and one for each job that runs, with the time left."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.pace = _Pace(jobs)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self.all = self.bars.add_task("jobs", total=len(jobs), note="")
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def started(self, job: Job) -> None:
        """Show a bar for the job's epochs; one that begins once more keeps its bar."""
        if job.id in self.tasks:
            return
        self.tasks[job.id] = self.bars.add_task(title(job), total=job.recipe.epochs, note="")

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Move the job's bar; show its val score and the time left for all jobs."""
        self.pace.epoch(job, row)
        score = _number(row.get("val_macro_f1"))
        self.bars.update(
            self.tasks[job.id], completed=_epoch(row), note=f"val macro-F1 {score:.3f}"
        )
        self.bars.update(self.all, note=f"about {minutes(self.pace.seconds_left())} left")

    def ended(self, outcome: Outcome) -> None:
        """Take the job's bar away; a failure stays on the screen as a line."""
        self.pace.left[outcome.job.id] = 0
        self.bars.remove_task(self.tasks.pop(outcome.job.id))
        self.bars.advance(self.all)
        if not outcome.ok:
            self.bars.console.print(_failure(outcome), markup=False)


def progress_for(jobs: Sequence[Job]) -> LineProgress | BarProgress:
    """Bars on a terminal, lines elsewhere."""
    console = Console()
    return BarProgress(jobs, console) if console.is_terminal else LineProgress(jobs)


PIPE_WIDTH = 140
"""Of what is printed into a pipe, which has no width of its own."""


def print_table(leaderboard: Leaderboard) -> None:
    """The leaderboard's head in the terminal: primary metric, accuracy, marks."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from bench.report.tables import lacking

    table = Table(title=f"{leaderboard.protocol} on {leaderboard.dataset.title}")
    for column in ("rank", "row", leaderboard.primary, "balanced_accuracy", "accuracy", ""):
        table.add_column(column, no_wrap=column != "")
    for row in leaderboard.rows:
        estimates = row.table.metrics
        marks = ["submitted: training not verified"] if row.kind == "submitted" else []
        marks += [] if row.complete else [f"incomplete: {lacking(leaderboard, row)}"]
        if row.kind != "reference" and not row.clears_reference:
            marks.append(f"[red]does not clear {escape(leaderboard.best_reference)}[/red]")
        if row.kind != "reference" and row.facts.unranked:
            marks.append(escape(f"unranked: {row.facts.unranked}"))
        table.add_row(
            str(row.rank.best or ""),
            escape(row.name),
            *(
                _interval(e)
                for e in (
                    estimates[leaderboard.primary],
                    estimates["balanced_accuracy"],
                    estimates["accuracy"],
                )
            ),
            ", ".join([*map(escape, row.facts.badges), *marks]),
        )
    for name, what in leaderboard.absent.items():
        click.echo(f"no fold is done of {name}: {what}", err=True)
    console = Console()
    # a pipe has no width of its own: lines as long as they need to be
    Console(width=None if console.is_terminal else PIPE_WIDTH).print(table)


def print_arms(leaderboard: Leaderboard) -> None:
    """What the arms differ by in the primary metric, one line a row and arm."""
    report = leaderboard.arms
    for row in report.rows if report else ():
        if report and row.difference is not None:
            difference = _interval(row.difference.metrics[leaderboard.primary])
            trained = _interval(row.over_seeds[leaderboard.primary])
            click.echo(
                f"{row.name}: {leaderboard.primary} of {row.arm} minus {report.arms[0].name}: "
                f"{difference}; over {len(row.seeds)} seeds {trained}"
            )


def _interval(estimate: Estimate) -> str:
    if isnan(estimate.value):
        return "n/a"
    interval = "" if isnan(estimate.low) else f" ({estimate.low:.3f}, {estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"
