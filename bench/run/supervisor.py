"""Job processes: start, observe, limit and end them.

runner      `bench.py run`: starts one process a job (`JobProcess`) and reports its progress
supervisor  that process: forks the work, forwards signals, enforces the limits, and in the end
            kills every process that the work leaves behind, also one in another session
work        trains and predicts; the kernel ends it with its supervisor

The supervisor ends the job when the runner ends, since the pipe between them closes then. After a
supervisor was killed, the runner finds the remaining processes by JOB_MARK in their environment.

Each process writes its resource usage to a file every few seconds, since a killed process cannot
report it; `kill -9` loses the last seconds at most.
"""

from __future__ import annotations

import csv
import ctypes
import hashlib
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
from bench.job import Job, JobFile, ResourceLimits
from bench.run.results import HISTORY, is_done

POLL_SECONDS = 0.05
LIMITS_SECONDS = 0.5
"""Interval between checks of memory and files, which cost more than a check of the time."""
GRACE_SECONDS = 20
"""Time between SIGTERM and SIGKILL: the job ends its training step and saves its state."""
STOP_SECONDS = GRACE_SECONDS + 5
"""Time for a supervisor to end, which ends the job after GRACE_SECONDS."""
LOG = "log.txt"
LOG_BYTES = 32 * 2**20
LOG_KEPT_BYTES = 2**20
LOG_CUT = b"[the log was longer; this is its end]\n"
LOG_TAIL_BYTES = 20_000
RAISED = re.compile(r"(error|[\w.]*(Error|Exception|Exit|Interrupt)): ")
JOB_MARK = "BENCH_JOB_MARK"
"""Environment variable of a job and of all that it starts: identifies orphaned processes."""
RUNNER_PIPE = "BENCH_RUNNER_PIPE"
"""Environment variable of a job whose standard input is a pipe from its runner."""
BUSY = 75
"""Exit code of a job that another process is working on: EX_TEMPFAIL of sysexits.h."""
SET_CHILD_SUBREAPER, SET_PDEATHSIG = 36, 1  # of prctl(2)
GIB = 2**30
OWN_MEMORY = re.compile(r"^Rss(?:Anon|Shmem):\s*(\d+) kB$", re.MULTILINE)
"""Private and shared memory without a file in /proc/PID/status; psutil 7 gives neither."""


def supervise(
    work: Callable[[], int], folder: Path, limits: ResourceLimits, *, watch_runner: bool
) -> int:
    """Do the work of a job's folder in a child process under limits; returns the exit code.

    watch_runner: standard input is a pipe from the runner; the job ends when it closes. An exit
    code of 128 + N means that signal N ended the work. Without fork (Windows) the work runs in
    this process, without limits.
    """
    if not hasattr(os, "fork"):
        return work()
    if sys.platform == "linux":  # become the parent of the processes that the work leaves behind
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.stdout.flush()
    sys.stderr.flush()
    supervisor = os.getpid()
    child = os.fork()
    if child == 0:
        _end_with(supervisor)
        return work()
    return _Supervision(child, folder, limits, watch_runner).run()


def _end_with(supervisor: int) -> None:
    """Let the kernel kill this process when its supervisor ends for any reason (Linux)."""
    os.setpgid(0, 0)  # a terminal's signal reaches the supervisor alone, which forwards it once
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(1)


@dataclass
class _Supervision:
    """The supervision of one child process.

    signals   received and not forwarded yet; a handler must not forward them itself, since the
              child may have been reaped and its process id reused
    deadline  time at which the child is killed, once it was asked to stop
    """

    child: int
    folder: Path
    limits: ResourceLimits
    watch_runner: bool
    started: float = field(default_factory=time.monotonic)
    checked: float = 0.0
    signals: list[int] = field(default_factory=list)
    deadline: float | None = None

    def run(self) -> int:
        """Wait for the child, forward signals, enforce the limits; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self.signals.append(number))
        status, fault = None, ""
        try:
            while status is None and not fault:
                time.sleep(POLL_SECONDS)
                pid, code = os.waitpid(self.child, os.WNOHANG)
                status = code if pid else None
                if status is None:
                    self._forward_signals()
                    fault = self._fault()
        finally:
            _kill_descendants()
        if fault:
            print(f"error: {fault}", flush=True)  # noqa: T201 - into the job's log
            return 1
        code = os.waitstatus_to_exitcode(status or 0)
        if code < 0:
            print(f"error: ended by signal {-code}", flush=True)  # noqa: T201
        return code if code >= 0 else 128 - code

    def _forward_signals(self) -> None:
        """Send the received signals to the child, which has not been reaped."""
        while self.signals:
            self.deadline = self.deadline or time.monotonic() + GRACE_SECONDS
            os.kill(self.child, self.signals.pop(0))

    def _fault(self) -> str:
        """The reason why the job must end now, or ""."""
        now, seconds = time.monotonic(), self.limits.seconds
        if self.watch_runner and _is_closed(0):
            return "the runner is gone"
        if self.deadline is not None and now > self.deadline:
            return f"did not stop within {GRACE_SECONDS} s of being asked to"
        if seconds is not None and now - self.started > seconds:
            return f"ran longer than --job-timeout {seconds:g} s"
        if now - self.checked > LIMITS_SECONDS:
            self.checked = now
            return self._excess()
        return ""

    def _excess(self) -> str:
        """The exceeded limit of memory or disk, or ""; shortens an overlong log."""
        memory, disk = self.limits.memory_gib, self.limits.disk_gib
        _trim_log(self.folder / LOG)
        if memory is not None:
            held = held_bytes(psutil.Process().children(recursive=True))
            if held > memory * GIB:
                return f"took more memory than --job-memory {memory:g} GiB"
        if disk is not None and _folder_bytes(self.folder) > disk * GIB:
            return f"wrote more than --job-disk {disk:g} GiB into its folder"
        return ""


def _is_closed(pipe: int) -> bool:
    """Whether the other end of a pipe is closed; data is never written into it."""
    readable, _, _ = select.select([pipe], [], [], 0)
    return bool(readable) and not os.read(pipe, 1)


def _kill_descendants() -> None:
    """Kill all descendants of this process until none is left."""
    deadline = time.monotonic() + GRACE_SECONDS  # a process that hangs in the kernel cannot end
    while time.monotonic() < deadline:
        descendants = psutil.Process().children(recursive=True)
        if not descendants:
            return
        for process in descendants:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(descendants, timeout=1)


def held_bytes(processes: Iterable[psutil.Process]) -> int:
    """Sum of the memory of processes without mapped files, such as the image cache.

    Memory shared by several processes counts once for each that has touched it; dividing it would
    need a walk over all pages. The kernel counts files on a tmpfs as such memory.
    """
    return sum(map(_held, processes))


def _held(process: psutil.Process) -> int:
    try:
        if sys.platform == "linux":
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            return sum(int(kib) for kib in OWN_MEMORY.findall(status)) * 1024
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, OSError):
        return 0  # the process has ended meanwhile


def _folder_bytes(folder: Path) -> int:
    """Size of all files in a folder; files that vanish meanwhile count as 0."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - many files
    return total


def _trim_log(log: Path) -> None:
    """Keep only the end of an overlong log; its writers append, so they continue after it."""
    with suppress(OSError):
        if log.stat().st_size <= LOG_BYTES:
            return
        with log.open("r+b") as stream:
            stream.seek(-LOG_KEPT_BYTES, os.SEEK_END)
            end = stream.read(LOG_KEPT_BYTES)
            stream.truncate(0)
        with log.open("ab") as stream:
            stream.write(LOG_CUT + end)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a job; fault is the last line of the log of a failed job.

    killed  ended by a signal that the bench did not send (out of memory, a person)
    """

    job: Job
    folder: Path
    ok: bool
    fault: str = ""
    killed: bool = False


class Watcher(Protocol):
    """Receives the progress of jobs."""

    def started(self, job: Job) -> None:
        """A job has started."""

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """A job has finished an epoch; row is the new line of its history.csv."""

    def ended(self, outcome: Outcome) -> None:
        """A job has ended."""


class SilentWatcher:
    """A watcher that does nothing."""

    def started(self, job: Job) -> None:
        """Do nothing."""

    def epoch(self, job: Job, row: dict[str, str]) -> None:
        """Do nothing."""

    def ended(self, outcome: Outcome) -> None:
        """Do nothing."""


def fault_in_log(log: Path) -> str:
    """The line of a job's log with the last exception, "" without one."""
    raised = [line for line in _last_lines(log) if RAISED.match(line)]
    return raised[-1] if raised else ""


def _last_lines(log: Path) -> list[str]:
    """The non-empty lines at the end of a log; none if it cannot be read."""
    if special_file_kind(log):
        return []
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


class HistoryReader:
    """Reads the history.csv of a job while it grows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / HISTORY
        self.version: tuple[int, int] | None = None
        self.reported = len(self._rows())

    def new_rows(self) -> list[dict[str, str]]:
        """The rows that were added since the last call.

        A resumed job writes its earlier rows again; these were reported before.
        """
        rows = self._rows()
        fresh = rows[self.reported :]
        self.reported = max(self.reported, len(rows))
        return fresh

    def _rows(self) -> list[dict[str, str]]:
        """All rows if the file has changed since the last call, otherwise none."""
        try:
            stat = self.path.stat()
            if self.version == (stat.st_mtime_ns, stat.st_ino):
                return []
            self.version = stat.st_mtime_ns, stat.st_ino
            with self.path.open(encoding="utf-8", errors="replace", newline="") as stream:
                return list(csv.DictReader(stream))
        except (OSError, csv.Error):
            return []


def mark_of(folder: Path) -> str:
    """The value of JOB_MARK for the job of a folder: 32 hex digits."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]


class JobProcess:
    """The supervisor process of a job, started from the job.json in the job's folder.

    bench is the file of the command line. slot is the CUDA_VISIBLE_DEVICES of the job, "" to leave
    it as it is.
    """

    def __init__(self, job_file: JobFile, bench: Path, slot: str) -> None:
        self.job_file, self.slot = job_file, slot
        self.folder = Path(job_file.place.folder)
        self.history = HistoryReader(self.folder)
        threads = str(job_file.job.threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            RUNNER_PIPE: "1",
            JOB_MARK: mark_of(self.folder),
        }
        environment.pop("BENCH_DATA", None)  # that folder holds the test labels
        if slot:
            environment["CUDA_VISIBLE_DEVICES"] = slot
        with (self.folder / LOG).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(bench), "job", str(self.folder / "job.json")],
                stdin=subprocess.PIPE,  # never written: it closes when this process ends
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def busy(self) -> bool:
        """Whether it ended because another process is working on the job."""
        return self.process.returncode == BUSY

    def outcome(self) -> Outcome:
        """Wait for the job; kills the orphaned processes of a killed supervisor."""
        self._close_pipe()
        code = self.process.wait()
        if code < 0:
            kill_orphans(self.folder)
        # a record counts although the supervisor was killed after it was written
        ok = code <= 0 and is_done(self.folder, self.job_file.job)
        killed = not ok and (code < 0 or code == 128 + signal.SIGKILL)
        return Outcome(self.job_file.job, self.folder, ok, "" if ok else self._fault(code), killed)

    def _fault(self, code: int) -> str:
        if code < 0:
            return f"ended by signal {-code}"
        if code == 0:
            return "the process ended without leaving a record"
        log = self.folder / LOG
        return fault_in_log(log) or next(reversed(_last_lines(log)), f"exit status {code}")

    def ask_to_stop(self) -> None:
        """Ask the job to save its state and end."""
        self.process.terminate()

    def stop(self) -> None:
        """Wait until a job that was asked to stop has ended, or kill it."""
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        kill_orphans(self.folder)  # the supervisor may have been killed
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()


def kill_orphans(folder: Path) -> None:
    """Kill the processes of a job that its killed supervisor has left running."""
    mark, orphans = mark_of(folder), []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(JOB_MARK) == mark:
                process.kill()
                orphans.append(process)
    psutil.wait_procs(orphans, timeout=5)


TICK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Wall and CPU seconds of a job, summed over its processes.

    started    start of the first process: UTC, ISO 8601
    processes  number of processes that have worked on the job
    worker     host and process id of the latest one, for `status`; not part of the record
    """

    started: str
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    processes: int = 0
    worker: str = ""


class ResourceMeter:
    """Measures this process, added to what earlier processes wrote into the same file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.before = read_usage(file)
        self.started = time.monotonic()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self._write()

    def usage(self) -> ResourceUsage:
        """The sum up to now."""
        own = [
            resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        return ResourceUsage(
            self.before.started,
            self.before.wall_seconds + time.monotonic() - self.started,
            self.before.cpu_seconds + sum(each.ru_utime + each.ru_stime for each in own),
            self.before.processes + 1,
            f"{platform.node()} process {os.getpid()}",
        )

    def _tick(self) -> None:
        self._write()
        while not self.over.wait(TICK_SECONDS):
            self._write()

    def _write(self) -> None:
        # on a full disk the job itself reports the fault; its cost matters less
        with suppress(OSError):
            write_atomically(self.file, json.dumps(asdict(self.usage())).encode())


def usage_file(folder: Path, rank: int = 0) -> Path:
    """The file with the resource usage of one of the processes that share a job."""
    return folder / f".spent{rank}.json"


def read_usage(file: Path) -> ResourceUsage:
    """The usage in a file; zero, started now, if it cannot be read."""
    try:
        return TypeAdapter(ResourceUsage).validate_json(read_file(file))
    except (OSError, ValueError):
        return ResourceUsage(datetime.now(UTC).isoformat(timespec="seconds"))
