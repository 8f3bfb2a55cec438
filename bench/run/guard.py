"""The guard of a job: a small process that sees to it that a job ends, and all of it.

The job's work runs in a child. The guard hands signals on to it, ends it when it takes too long,
too much memory or too much disk, when its runner is gone, and afterwards ends whatever the work
has started and left: also what has taken itself into a session of its own.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.job import Place

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


def guarded(work: Callable[[], int], place: Place, *, watch_runner: bool) -> int:
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
    place: Place
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
