"""The local executor: every job in a process of its own, several at once."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.job import Job, JobFile
from bench.run.results import is_done, is_locked, prepare

POLL_SECONDS = 0.2
STOP_SECONDS = 10
LOG_TAIL_BYTES = 20_000
RAISED = re.compile(r"(error|[\w.]*(Error|Exception|Exit|Interrupt)): ")
RUNNER_PIPE = "BENCH_RUNNER_PIPE"
"""Set for a job whose standard input is its runner: when that closes, the job ends, too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended; fault is the last line of its log where it failed."""

    job: Job
    folder: Path
    ok: bool
    fault: str = ""


class Watcher(Protocol):
    """Who wants to know how the jobs go."""

    def started(self, job: Job) -> None:
        """Hear that a job has begun."""

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Hear of a finished epoch: a row of the job's history.csv."""

    def ended(self, outcome: Outcome) -> None:
        """Hear how a job ended."""


def gpu_count() -> int:
    """GPUs that the driver shows, without loading torch; CUDA_VISIBLE_DEVICES limits them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in {"", "-1"}])
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def gpu_slots(jobs_per_device: int, devices_per_job: int = 1) -> list[str]:
    """CUDA_VISIBLE_DEVICES of every job that may run at once on the GPUs of this machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(gpu_count())]
    if not gpu_count():
        return []
    starts = range(0, len(names) - devices_per_job + 1, devices_per_job)
    return [",".join(names[start : start + devices_per_job]) for start in starts] * jobs_per_device


def fault_in_log(log: Path) -> str:
    """The line of a job's log that tells what was raised last, "" where nothing was."""
    raised = [line for line in _tail(log) if RAISED.match(line)]
    return raised[-1] if raised else ""


def last_line(log: Path) -> str:
    """The last line of a log that says anything, "" for an empty log."""
    lines = _tail(log)
    return lines[-1] if lines else ""


def _tail(log: Path) -> list[str]:
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        text = stream.read().decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


class _Running:
    """A job's process, and how much of its history has been told."""

    def __init__(self, job_file: JobFile, bench: Path, slot: str) -> None:
        self.job_file, self.slot = job_file, slot
        self.folder = Path(job_file.place.folder)
        path = prepare(job_file)
        self.told = self._history_length()
        self.log = (self.folder / "log.txt").open("ab")
        threads = str(job_file.job.threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            RUNNER_PIPE: "1",
        }
        environment.pop("BENCH_DATA", None)  # the labels lie there
        if slot:
            environment["CUDA_VISIBLE_DEVICES"] = slot
        self.process = subprocess.Popen(
            [sys.executable, str(bench), "job", str(path)],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def _history_length(self) -> int:
        return len(self._history())

    def _history(self) -> list[dict[str, str]]:
        try:
            with (self.folder / "history.csv").open(encoding="utf-8", newline="") as stream:
                return list(csv.DictReader(stream))
        except OSError:
            return []

    def new_rows(self) -> list[dict[str, str]]:
        rows = self._history()
        # a resumed job writes the rows it knows once more: they have been told
        fresh = rows[self.told :]
        self.told = max(self.told, len(rows))
        return fresh

    def outcome(self) -> Outcome:
        self.log.close()
        ok = self.process.returncode == 0 and is_done(self.folder, self.job_file.job)
        return Outcome(self.job_file.job, self.folder, ok, "" if ok else self._fault())

    def _fault(self) -> str:
        if self.process.returncode < 0:
            return f"ended by signal {-self.process.returncode}"
        if self.process.returncode == 0:
            return "the process ended without leaving a record"
        log = self.folder / "log.txt"
        return fault_in_log(log) or last_line(log) or f"exit status {self.process.returncode}"

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


@contextmanager
def _ending(running: list[_Running]) -> Iterator[None]:
    """Stop whatever still runs when the runner itself is stopped."""
    try:
        yield
    finally:
        for each in running:
            each.stop()


def run_local(
    job_files: Sequence[JobFile], bench: Path, slots: Sequence[str], watcher: Watcher
) -> list[Outcome]:
    """Run jobs in the order given, as many at once as there are slots; tell the watcher.

    bench is the command line's file; a slot is the GPU a job sees, or "" for none in particular.
    A failed job leaves the others alone.
    """
    waiting, free = list(job_files), list(slots)
    running: list[_Running] = []
    outcomes: list[Outcome] = []
    with _ending(running):
        while waiting or running:
            while waiting and free:
                job_file = next((f for f in waiting if not is_locked(Path(f.place.folder))), None)
                if job_file is None:
                    break  # another runner is at work on all that is left: wait for it
                waiting.remove(job_file)
                if is_done(Path(job_file.place.folder), job_file.job):
                    outcomes.append(Outcome(job_file.job, Path(job_file.place.folder), ok=True))
                    continue
                running.append(_Running(job_file, bench, free.pop(0)))
                watcher.started(job_file.job)
            time.sleep(POLL_SECONDS)
            for each in list(running):
                over = each.process.poll() is not None
                for row in each.new_rows():
                    watcher.epoch(each.job_file.job, row)
                if over:
                    running.remove(each)
                    free.append(each.slot)
                    outcomes.append(each.outcome())
                    watcher.ended(outcomes[-1])
    return outcomes
