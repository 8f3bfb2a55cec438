"""Events of long work: messages, progress of a stage, jobs that start and end.

Workflows call `on_event(event)` and print nothing; the command line and notebooks draw bars.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from bench.job import Job
from bench.run.supervisor import Outcome

__all__ = [
    "Event",
    "JobEnded",
    "JobEpoch",
    "JobStarted",
    "JobWatcher",
    "Message",
    "OnEvent",
    "Outcome",
    "Progress",
    "Steps",
    "ignore",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence for the user."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage of the work: `done` of `total` steps."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A job has started."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobEpoch:
    """A job has finished an epoch; `history` is its line of history.csv, by column."""

    job: Job
    history: dict[str, str]


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job has ended, with or without success."""

    outcome: Outcome


Event = Message | Progress | JobStarted | JobEpoch | JobEnded
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing."""


class JobWatcher:
    """Turns what executors report of jobs into events."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event

    def started(self, job: Job) -> None:
        """Report that a job has started."""
        self.on_event(JobStarted(job))

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Report an epoch of a job."""
        self.on_event(JobEpoch(job, row))

    def ended(self, outcome: Outcome) -> None:
        """Report the end of a job."""
        self.on_event(JobEnded(outcome))


class Steps:
    """Counts the steps of one stage; each call reports one more.

    Threads may call it: a lock keeps the count right, and `on_event` runs once at a time.
    """

    def __init__(self, on_event: OnEvent, stage: str, total: int) -> None:
        self.on_event = on_event
        self.stage = stage
        self.total = total
        self.done = 0
        self._lock = Lock()

    def __call__(self) -> None:
        """Report one more step."""
        with self._lock:
            self.done += 1
            self.on_event(Progress(self.stage, self.done, self.total))
