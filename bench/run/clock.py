"""What a job has cost so far: wall and processor seconds, summed over all its processes.

A process that is killed cannot say what it has spent, so each writes it down every few seconds:
`kill -9` takes away the last few at most.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from bench.files import read_file, write_atomically

TICK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the wall clock and of the processor, and how many processes they are of.

    started  when the first of them began: UTC, ISO 8601
    worker   host and number of the latest, for `status`; no record tells it
    """

    started: str
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    processes: int = 0
    worker: str = ""


class Clock:
    """Counts what this process spends, on top of what those before it wrote into the same file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.before = read_spent(file)
        self.begun = time.monotonic()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self._write()

    def spent(self) -> Spent:
        """The sum up to now."""
        usage = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return Spent(
            self.before.started,
            self.before.wall_seconds + time.monotonic() - self.begun,
            self.before.cpu_seconds + sum(used.ru_utime + used.ru_stime for used in usage),
            self.before.processes + 1,
            f"{platform.node()} process {os.getpid()}",
        )

    def _tick(self) -> None:
        self._write()
        while not self.over.wait(TICK_SECONDS):
            self._write()

    def _write(self) -> None:
        # on a full disk the job itself says what is wrong: that its cost is not known is less
        with suppress(OSError):
            write_atomically(self.file, json.dumps(asdict(self.spent())).encode())


def clock_file(folder: Path, rank: int = 0) -> Path:
    """Where one of the processes that share a job of this folder writes down what it spends."""
    return folder / f".spent{rank}.json"


def read_spent(file: Path) -> Spent:
    """What a clock's file says; nothing spent where there is none."""
    try:
        return TypeAdapter(Spent).validate_json(read_file(file))
    except (OSError, ValueError):
        return Spent(datetime.now(UTC).isoformat(timespec="seconds"))
