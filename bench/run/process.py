"""A job's process: how it is started, followed and ended. Every engine starts jobs by this."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from bench.files import waiting_kind
from bench.job import Job, JobFile
from bench.run.guard import GRACE_SECONDS
from bench.run.nursery import JOB_MARK, Starter, mark_of, start_anew
from bench.run.results import HISTORY, is_done

STOP_SECONDS = GRACE_SECONDS + 5
"""For a job's guard, which ends the job after its grace."""
LOG_TAIL_BYTES = 20_000
RAISED = re.compile(r"(error|[\w.]*(Error|Exception|Exit|Interrupt)): ")
RUNNER_PIPE = "BENCH_RUNNER_PIPE"
"""Set for a job whose standard input is its runner: when that closes, the job ends, too."""
BUSY = 75
"""Exit code of a job that another process is working on: EX_TEMPFAIL of sysexits.h."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended; fault is the last line of its log where it failed.

    killed  a signal that nobody here sent has ended it: the machine's doing, or a person's
    """

    job: Job
    folder: Path
    ok: bool
    fault: str = ""
    killed: bool = False


class Watcher(Protocol):
    """Who wants to know how the jobs go."""

    def started(self, job: Job) -> None:
        """Hear that a job has begun."""

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Hear of a finished epoch: a row of the job's history.csv."""

    def ended(self, outcome: Outcome) -> None:
        """Hear how a job ended."""


class Unwatched:
    """The watcher of jobs that nobody looks at."""

    def started(self, job: Job) -> None:
        """Hear and forget."""

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Hear and forget."""

    def ended(self, outcome: Outcome) -> None:
        """Hear and forget."""


def fault_in_log(log: Path) -> str:
    """The line of a job's log that tells what was raised last, "" where nothing was."""
    raised = [line for line in _tail(log) if RAISED.match(line)]
    return raised[-1] if raised else ""


def last_line(log: Path) -> str:
    """The last line of a log that says anything, "" for an empty log."""
    lines = _tail(log)
    return lines[-1] if lines else ""


def _tail(log: Path) -> list[str]:
    """The lines at the end of a log that say anything; none where no file is there."""
    if waiting_kind(log):
        return []
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


class History:
    """The history.csv of a job, read as it grows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / HISTORY
        self.seen: tuple[int, int] | None = None
        self.told = len(self._rows())

    def new_rows(self) -> list[dict[str, str]]:
        """The rows that came since the last call."""
        rows = self._rows()
        # a resumed job writes the rows it knows once more: they have been told
        fresh = rows[self.told :] if rows else []
        self.told = max(self.told, len(rows)) if rows else self.told
        return fresh

    def _rows(self) -> list[dict[str, str]]:
        """All rows of a file that has changed since it was looked at, else none."""
        try:
            found = self.path.stat()
            if self.seen == (found.st_mtime_ns, found.st_ino):
                return []
            self.seen = found.st_mtime_ns, found.st_ino
            with self.path.open(encoding="utf-8", errors="replace", newline="") as stream:
                return list(csv.DictReader(stream))
        except (OSError, csv.Error):
            return []


class JobProcess:
    """A job's process, started from the job.json in its folder.

    slot is the GPU it sees, or "" for those of its engine.
    """

    def __init__(
        self, job_file: JobFile, bench: Path, slot: str, start: Starter = start_anew
    ) -> None:
        self.job_file, self.slot = job_file, slot
        self.folder = Path(job_file.place.folder)
        self.history = History(self.folder)
        self.log = (self.folder / "log.txt").open("ab")
        threads = str(job_file.job.threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            RUNNER_PIPE: "1",
            JOB_MARK: mark_of(self.folder),
        }
        environment.pop("BENCH_DATA", None)  # the labels lie there
        if slot:
            environment["CUDA_VISIBLE_DEVICES"] = slot
        theirs, ours = os.pipe()
        self.pipe: int | None = ours
        words = ["job", str(self.folder / "job.json")]
        self.process = start(bench, words, environment, theirs, self.log)
        os.close(theirs)

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def busy(self) -> bool:
        """Whether it ended because another process is working on the job."""
        return self.process.returncode == BUSY

    def outcome(self) -> Outcome:
        """How the job ended; what a killed guard has left is ended, too."""
        self._close()
        code = self.process.wait()
        if code < 0:
            end_strays(self.folder)
        # a job whose guard was killed after the record was written is done, though nobody says so
        ok = code <= 0 and is_done(self.folder, self.job_file.job)
        killed = not ok and (code < 0 or code == 128 + signal.SIGKILL)
        return Outcome(self.job_file.job, self.folder, ok, "" if ok else self._fault(code), killed)

    def _fault(self, code: int) -> str:
        if code < 0:
            return f"ended by signal {-code}"
        if code == 0:
            return "the process ended without leaving a record"
        log = self.folder / "log.txt"
        return fault_in_log(log) or last_line(log) or f"exit status {code}"

    def ask_to_stop(self) -> None:
        """Ask the job to keep its state and end."""
        self.process.terminate()

    def stop(self) -> None:
        """See to it that a job that was asked to stop has stopped."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        end_strays(self.folder)  # its guard may have been killed, too
        self._close()

    def _close(self) -> None:
        self.log.close()
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None


def end_strays(folder: Path) -> None:
    """End what a job has started and its killed guard could not."""
    mark, strays = mark_of(folder), []
    for process in psutil.process_iter():
        try:
            if process.environ().get(JOB_MARK) == mark:
                process.kill()
                strays.append(process)
        except (psutil.Error, OSError):
            continue
    psutil.wait_procs(strays, timeout=5)
