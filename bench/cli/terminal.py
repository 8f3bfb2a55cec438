"""Progress and tables in the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, isnan
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

if TYPE_CHECKING:
    from bench.job import Job
    from bench.leaderboard import Estimate, Leaderboard
    from bench.workflows.events import Event, Message, OnEvent, Outcome
    from bench.workflows.open import OpenBench


def title(job: Job) -> str:
    """Row, seed, repeat and fold of a job."""
    repeat = f" repeat {job.repeat}" if job.repeat else ""
    return f"{job.row} seed {job.seed}{repeat} fold {job.fold}"


def minutes(seconds: float) -> str:
    """Seconds as 40 s, 3 min or 2.5 h."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds:.0f} s"


def _number(cell: str | None) -> float:
    """A cell of history.csv as a number; NaN where it is not one."""
    try:
        return float(cell or "nan")
    except ValueError:
        return float("nan")


def _epoch(row: dict[str, str]) -> int:
    epoch = _number(row.get("epoch"))
    return int(epoch) if isfinite(epoch) else 0


def _failure(outcome: Outcome) -> str:
    from bench.io import strip_control

    log = outcome.folder / "log.txt"
    return strip_control(f"{title(outcome.job)}: FAILED: {outcome.fault} (log: {log})")


class _Pace:
    """Epochs done and left over all jobs, and the time the rest will take."""

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
        """Print that a job has started."""
        click.echo(f"{title(job)}: started")

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Print the scores of an epoch and the time left."""
        self.pace.epoch(job, row)
        shown = [f"{name} {_number(row[name]):.3f}" for name in _SHOWN if row.get(name)]
        click.echo(
            f"{title(job)}: epoch {row.get('epoch', '?')}/{job.recipe.epochs}  {'  '.join(shown)}"
            f"  about {minutes(self.pace.seconds_left())} left"
        )

    def ended(self, outcome: Outcome) -> None:
        """Print that a job is done or has failed."""
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
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def started(self, job: Job) -> None:
        """Show a bar of the job's epochs; a job that starts again keeps its bar."""
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
        """Remove the job's bar; a failure stays on the screen as a line."""
        self.pace.left[outcome.job.id] = 0
        self.bars.remove_task(self.tasks.pop(outcome.job.id))
        self.bars.advance(self.all)
        if not outcome.ok:
            self.bars.console.print(_failure(outcome), markup=False)


def print_message(message: Message) -> None:
    """Print a sentence to stderr."""
    from bench.io import strip_control

    prefix = "warning: " if message.level == "warning" else ""
    click.echo(strip_control(f"{prefix}{message.text}"), err=True)


@contextmanager
def stage_events() -> Iterator[OnEvent]:
    """Print messages; draw a bar for each stage if stderr is a terminal."""
    from bench.workflows.events import Message
    from bench.workflows.events import Progress as StageProgress

    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        stages: dict[str, TaskID] = {}

        def on_event(event: Event) -> None:
            if isinstance(event, Message):
                print_message(event)
            elif isinstance(event, StageProgress):
                if event.stage not in stages:
                    stages[event.stage] = bars.add_task(event.stage, total=event.total)
                bars.update(stages[event.stage], completed=event.done)

        yield on_event


@contextmanager
def job_events(jobs: Sequence[Job], *, lines: bool = False) -> Iterator[OnEvent]:
    """Draw bars for jobs on a terminal; print a line for each epoch elsewhere, or if `lines`."""
    from bench.workflows.events import JobEnded, JobEpoch, JobStarted, Message

    console = Console()
    bars = console.is_terminal and not lines
    with BarProgress(jobs, console) if bars else LineProgress(jobs) as progress:

        def on_event(event: Event) -> None:
            match event:
                case Message():
                    print_message(event)
                case JobStarted(job):
                    progress.started(job)
                case JobEpoch(job, history):
                    progress.epoch(job, history)
                case JobEnded(outcome):
                    progress.ended(outcome)

        yield on_event


def print_data(bench: OpenBench) -> None:
    """Print which data the numbers come from, and the unit of its groups."""
    dataset = bench.dataset
    groups = len(set(bench.roles.group_ids.tolist()))
    click.echo(
        f"{dataset.title}: {len(dataset)} images in {groups} groups, "
        f"{dataset.unit}-level{' (SYNTHETIC data)' if dataset.synthetic else ''}"
    )
    for arm, columns in bench.protocol.split.arm_columns.items():
        click.echo(f"arm {arm}: folds {', '.join(map(str, columns))}")
    if dataset.ungrouped:
        click.echo(f"grouping incomplete: {dataset.ungrouped} images without a group id")


PIPE_WIDTH = 140
"""Width of tables when stdout is not a terminal."""


def print_table(leaderboard: Leaderboard) -> None:
    """Print the leaderboard: rank, row, primary metric, accuracies, marks."""
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
        click.echo(f"{name}: no fold is done: {what}", err=True)
    console = Console()
    Console(width=None if console.is_terminal else PIPE_WIDTH).print(table)


def print_arms(leaderboard: Leaderboard) -> None:
    """Print the difference of each arm in the primary metric, one line for each row and arm."""
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
