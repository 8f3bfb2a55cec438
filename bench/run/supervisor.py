"""Job processes: start, follow, limit and end them.

The job's work runs in a child. The guard hands signals on to it, ends it when it takes too long,
too much memory or too much disk, when its runner is gone, and afterwards ends whatever the work
has started and left: also what has taken itself into a session of its own.

A process that is killed cannot say what it has spent, so each writes it down every few seconds:
`kill -9` takes away the last few at most.
"""

from __future__ import annotations

import csv
import ctypes
import json
import os
import platform
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

import psutil
from pydantic import TypeAdapter

from bench.io import read_file, special_file_kind, write_atomically
from bench.job import Job, JobFile, JobLocation
from bench.run.nursery import JOB_MARK, Starter, mark_of, start_anew
from bench.run.results import HISTORY, is_done

POLL_SECONDS = 0.05
LOOK_SECONDS = 0.5
"""Between two looks at memory and files, which cost more than a glance at the clock."""
GRACE_SECONDS = 20
"""For a job that was asked to stop: it ends its step and keeps its state."""
LOG = "log.txt"
LOG_BYTES = 32 * 2**20
LOG_KEPT_BYTES = 2**20
LOG_CUT = b"[the log was longer; this is its end]\n"
SET_CHILD_SUBREAPER, SET_PDEATHSIG = 36, 1  # of prctl(2)
GIB = 2**30
OWN_MEMORY = re.compile(r"^Rss(?:Anon|Shmem):\s*(\d+) kB$", re.MULTILINE)
"""The lines of /proc/PID/status that tell private memory, and shared memory without a file."""


def supervise(work: Callable[[], int], place: JobLocation, *, watch_runner: bool) -> int:
    """Do the work in a child under the limits of its place; the exit code for this process.

    watch_runner: standard input is a pipe from the runner, and its end the end of the job. An
    exit code of 128 and more tells the signal that ended the work. Without fork (Windows) the work
    is done here, without limits.
    """
    if not hasattr(os, "fork"):
        return work()
    _adopt_orphans()
    sys.stdout.flush()
    sys.stderr.flush()
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        _end_with(guard)
        return work()
    return _Watch(child, place, watch_runner=watch_runner).until_over()


def _adopt_orphans() -> None:
    """Become the parent of all that the work leaves behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_with(guard: int) -> None:
    """Let the kernel end this process when the guard ends, however that comes (Linux)."""
    os.setpgid(0, 0)  # what a terminal sends, the guard hands on, once
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)


@dataclass
class _Watch:
    """One child being watched.

    signals  those that came and are not handed on yet; the child may be reaped when one comes, and
             its number another process's, so they are only noted then
    asked    the time by which the child must have ended, once it was asked to
    """

    child: int
    place: JobLocation
    watch_runner: bool
    begun: float = field(default_factory=time.monotonic)
    looked: float = 0.0
    signals: list[int] = field(default_factory=list)
    asked: float | None = None

    def until_over(self) -> int:
        """Wait for the child's end, hand signals on, end it where it goes too far."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self.signals.append(number))
        status = None
        fault = ""
        try:
            while status is None and not fault:
                time.sleep(POLL_SECONDS)
                status = self._status()
                if status is None:
                    self._hand_on()
                    fault = self._fault()
        finally:
            _end_descendants()
        if fault:
            print(f"error: {fault}", flush=True)  # noqa: T201 - into the job's log
            return 1
        code = os.waitstatus_to_exitcode(status or 0)
        if code < 0:
            print(f"error: ended by signal {-code}", flush=True)  # noqa: T201
        return code if code >= 0 else 128 - code

    def _status(self) -> int | None:
        pid, status = os.waitpid(self.child, os.WNOHANG)
        return status if pid else None

    def _hand_on(self) -> None:
        """Send the child, which is not reaped yet, what came since the last look."""
        while self.signals:
            self.asked = self.asked or time.monotonic() + GRACE_SECONDS
            os.kill(self.child, self.signals.pop(0))

    def _fault(self) -> str:
        """Why the job must end now, or ""."""
        now, limit = time.monotonic(), self.place.timeout_seconds
        if self.watch_runner and _closed(0):
            return "the runner is gone"
        if self.asked is not None and now > self.asked:
            return f"did not stop within {GRACE_SECONDS} s of being asked to"
        if limit is not None and now - self.begun > limit:
            return f"ran longer than --job-timeout {limit:g} s"
        if now - self.looked > LOOK_SECONDS:
            self.looked = now
            return self._excess()
        return ""

    def _excess(self) -> str:
        """What the job has taken too much of, or ""."""
        folder, memory, disk = Path(self.place.folder), self.place.memory_gib, self.place.disk_gib
        _trim_log(folder / LOG)
        below = psutil.Process().children(recursive=True)
        if memory is not None and held_bytes(below) > memory * GIB:
            return f"took more memory than --job-memory {memory:g} GiB"
        if disk is not None and _folder_bytes(folder) > disk * GIB:
            return f"wrote more than --job-disk {disk:g} GiB into its folder"
        return ""


def _closed(pipe: int) -> bool:
    """Whether the other end of a pipe has been closed; nothing is ever written into it."""
    readable, _, _ = select.select([pipe], [], [], 0)
    return bool(readable) and not os.read(pipe, 1)


def _end_descendants() -> None:
    """End all that this process has started, and what that has started, until nothing is left."""
    latest = time.monotonic() + GRACE_SECONDS  # what hangs in the kernel cannot be ended
    while time.monotonic() < latest and (found := psutil.Process().children(recursive=True)):
        for process in found:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(found, timeout=1)


def held_bytes(processes: Iterable[psutil.Process]) -> int:
    """Memory of processes that is no file's: mapped files, such as the store, do not count.

    Memory that several of them share counts for each that has touched it: to share it out would
    mean a walk over all their pages. A file on a tmpfs is such memory to the kernel.
    """
    return sum(map(_held, processes))


def _held(process: psutil.Process) -> int:
    try:
        if sys.platform == "linux":
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            return sum(int(kib) for kib in OWN_MEMORY.findall(status)) * 1024
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, OSError):
        return 0  # gone meanwhile


def _folder_bytes(folder: Path) -> int:
    """Size of all files in a folder; those that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - many files
            except OSError:
                continue
    return total


def _trim_log(log: Path) -> None:
    """Keep the end of a log that has grown too long; its writers append, and so go on behind it."""
    try:
        if log.stat().st_size <= LOG_BYTES:
            return
        with log.open("r+b") as stream:
            stream.seek(-LOG_KEPT_BYTES, os.SEEK_END)
            end = stream.read(LOG_KEPT_BYTES)
            stream.truncate(0)
        with log.open("ab") as stream:
            stream.write(LOG_CUT + end)
    except OSError:
        return


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
    if special_file_kind(log):
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


TICK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Seconds by the wall clock and of the processor, and how many processes they are of.

    started  when the first of them began: UTC, ISO 8601
    worker   host and number of the latest, for `status`; no record tells it
    """

    started: str
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    processes: int = 0
    worker: str = ""


class ResourceMeter:
    """Counts what this process spends, on top of what those before it wrote into the same file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.before = read_usage(file)
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

    def spent(self) -> ResourceUsage:
        """The sum up to now."""
        usage = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return ResourceUsage(
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


def read_usage(file: Path) -> ResourceUsage:
    """What a clock's file says; nothing spent where there is none."""
    try:
        return TypeAdapter(ResourceUsage).validate_json(read_file(file))
    except (OSError, ValueError):
        return ResourceUsage(datetime.now(UTC).isoformat(timespec="seconds"))
