"""Where jobs' processes come from: started anew, or forked from one that has loaded what all need.

Loading the packages that every job needs costs most of a second of processor time, a fork of a
process that has them some milliseconds. That process, the nursery, has one thread (and that of
Arrow's allocator, which knows of forks), works on no job, holds no lock and no pipe of any job; so
a fork of it is what a newly started process is once it has loaded them. It ends with its runner.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, Self

JOB_MARK = "BENCH_JOB_MARK"
"""In the environment of a job and all that it starts: by this they are found when its guard was
killed."""
NO_MARK = "0" * 32
PRELOADED = (
    "pandas", "pyarrow.parquet", "pandas.io.parquet", "pandas.io.formats.csvs",
    "bench.cli.run", "bench.run.supervisor", "bench.run.worker",
)  # fmt: skip
"""What every job loads; not torch, which reads the job's environment when it is loaded."""
SERVE = "import sys; sys.path[0] = sys.argv[1]; from bench.run.nursery import serve; serve()"
MESSAGE_BYTES = 2**17
"""More than any request: an environment and a few words."""
LOST = -signal.SIGKILL
"""What the end of a process counts as whose nursery was killed, so that nobody saw it."""


class Started(Protocol):
    """A started process, as subprocess.Popen has it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative for a signal."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises subprocess.TimeoutExpired."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""


Starter = Callable[[Path, Sequence[str], Mapping[str, str], int, IO[bytes]], Started]
"""Starts the bench's command line (its file, words, environment) in a session of its own; standard
input comes from a file descriptor, all output goes into the log."""


def mark_of(folder: Path) -> str:
    """The mark of the processes of a job's folder: 32 hex, whatever its path."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]


def start_anew(
    bench: Path,
    words: Sequence[str],
    environment: Mapping[str, str],
    stdin: int,
    log: IO[bytes],
) -> Started:
    """Start a new interpreter."""
    return subprocess.Popen(
        [sys.executable, str(bench), *words],
        stdin=stdin, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
    )  # fmt: skip


class Nursery:
    """A process that others are forked from: it begins with the first, ends with the `with`.

    One that was killed is replaced when the next process is asked for.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: socket.socket | None = None
        self.children: dict[int, _Child] = {}
        self.newest: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def start(
        self,
        bench: Path,
        words: Sequence[str],
        environment: Mapping[str, str],
        stdin: int,
        log: IO[bytes],
    ) -> Started:
        """Fork a process; where that cannot be done, start a new one."""
        asked = {"bench": str(bench), "words": words, "environment": dict(environment)}
        request = json.dumps(asked).encode()
        self.newest = None
        if len(request) <= MESSAGE_BYTES:
            try:
                channel = self.channel or self._open(bench, environment)
                socket.send_fds(channel, [request], [stdin, log.fileno()])
                while self.channel and self.newest is None:
                    self.hear(None)
            except OSError:
                self._close()
        return self.newest or start_anew(bench, words, environment, stdin, log)

    def hear(self, timeout: float | None) -> None:
        """Hear what the nursery tells, waiting for it so many seconds at most; None: for ever."""
        while self.channel and select.select([self.channel], [], [], timeout)[0]:
            told = self.channel.recv(MESSAGE_BYTES)
            if not told:
                self._close()
                return
            pid, code = json.loads(told)
            if code is None:
                self.newest = self.children[pid] = _Child(self, pid)
            else:
                self.children.pop(pid).returncode = code
            timeout = 0

    def _open(self, bench: Path, environment: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(bench.resolve().parent)],
                stdin=theirs.fileno(),
                env={**environment, JOB_MARK: NO_MARK},
                start_new_session=True,
            )
        self.channel = ours
        return ours

    def _close(self) -> None:
        """Let the nursery end; what it has started and has not told the end of counts as killed."""
        if self.channel is not None:
            self.channel.close()
        if self.process is not None:
            self.process.wait()
        for child in self.children.values():
            child.returncode = LOST
        self.process, self.channel, self.children = None, None, {}


class _Child:
    """A process that the nursery has forked."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.nursery, self.pid = nursery, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None:
            self.nursery.hear(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; other processes' ends do not start the timeout anew."""
        latest = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if latest is None else max(0.0, latest - time.monotonic())
            self.nursery.hear(left)
            if self.returncode is None and left == 0.0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                self.nursery.hear(0)
                self.returncode = LOST if self.returncode is None else self.returncode


def serve() -> None:
    """Be a nursery; requests come through standard input. In a fork: do what was asked for."""
    channel = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for name in PRELOADED:
        importlib.import_module(name)
    importlib.import_module("bench.run.worker").bench_facts()  # before anyone changes the code
    gc.collect()
    gc.freeze()  # what is loaded stays: no child need look through it, nor copy its pages
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready, _, _ = select.select([channel.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 2**16)
            _tell_ended(channel)
        if channel.fileno() in ready:
            request, handles, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 2)
            if not request or _is_alone(channel):
                os._exit(0)  # the runner is gone, or done
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(wake)
                os.close(ended)
                channel.close()
                break
            for handle in handles:
                os.close(handle)
            _tell(channel, child, None)
    _become(json.loads(request), handles)


def _is_alone(channel: socket.socket) -> bool:
    """Whether nobody is at the other end any more, though what they sent may still be there."""
    hung_up = select.poll()
    hung_up.register(channel, 0)
    return bool(hung_up.poll(0))


def _tell(channel: socket.socket, child: int, code: int | None) -> None:
    try:
        channel.send(json.dumps([child, code]).encode())
    except OSError:
        os._exit(0)  # nobody hears it


def _tell_ended(channel: socket.socket) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not child:
            return
        _tell(channel, child, os.waitstatus_to_exitcode(status))


def _become(request: dict[str, Any], handles: Sequence[int]) -> None:
    """Make a fork of the nursery what a new process would be, and run the command line in it."""
    os.setsid()
    stdin, log = handles
    for handle, standard in ((stdin, 0), (log, 1), (log, 2)):
        os.dup2(handle, standard)
    for handle in handles:
        os.close(handle)
    _show_mark(request["environment"][JOB_MARK])
    os.environ.clear()
    os.environ.update(request["environment"])
    random.seed()
    importlib.import_module("numpy").random.seed()  # as unlike the others' as a new process's is
    sys.argv = [request["bench"], *request["words"]]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _show_mark(mark: str) -> None:
    """Write a job's mark over the one that the nursery was started with.

    What others see of a process's environment (`/proc/PID/environ`) is the memory that it was
    started with; to set a variable changes another place.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    found = getenv(JOB_MARK.encode())
    if found:
        ctypes.memmove(found, mark.encode(), len(mark))
