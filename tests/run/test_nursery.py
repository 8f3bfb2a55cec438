"""A forked job's process is what a newly started one is, and ends as surely."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.run import nursery
from bench.run.local import run_local
from bench.run.nursery import JOB_MARK, LOST, Nursery, mark_of, start_anew
from bench.run.supervisor import Unwatched
from tests.run.small_jobs import BENCH, plan, predicted, verified, write_method

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere jobs start anew")

TELL = """
import atexit, json, os, random, signal, sys, threading
import numpy as np
told = {
    "argv": sys.argv[1:], "name": __name__, "path": sys.path[0], "cwd": os.getcwd(),
    "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
    "environment": dict(os.environ), "threads": threading.active_count(),
    "handles": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1],
    "signals": [str(signal.getsignal(n)) for n in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)],
    "wakeup": signal.set_wakeup_fd(-1),
}
print(json.dumps(told), flush=True)
print(json.dumps([random.random(), np.random.random()]), flush=True)
print(sys.stdin.read(), flush=True)
atexit.register(print, "at exit", flush=True)
if "fail" in sys.argv: raise RuntimeError("as asked")
if "sleep" in sys.argv: import time; time.sleep(600)
sys.exit(7)
"""


@pytest.fixture
def place(tmp_path) -> Path:
    (tmp_path / "tell.py").write_text(TELL)
    (tmp_path / "bench").symlink_to(BENCH.parent / "bench")
    return tmp_path


@pytest.fixture
def forks() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


def started(start, place: Path, name: str, *words: str, stdin: bytes | None = b"in"):
    """A process of tell.py, its log's path, and our end of its input, open if `stdin` is None."""
    theirs, ours = os.pipe()
    log = place / f"{name}.txt"
    environment = os.environ | {JOB_MARK: mark_of(log), "OMP_NUM_THREADS": "1", "ONE": name}
    with log.open("ab") as stream:
        process = start(place / "tell.py", words, environment, theirs, stream)
    os.close(theirs)
    if stdin is not None:
        os.write(ours, stdin)
        os.close(ours)
    return process, log, ours


def test_a_fork_is_like_a_new_process(place, forks):
    told, draws = [], []
    for name, start in (("anew", start_anew), ("fork", forks.start), ("again", forks.start)):
        process, log, _ = started(start, place, name, "a", "b")
        assert process.wait(60) == 7
        first, drawn, rest = log.read_text().split("\n", 2)
        assert rest == "in\nat exit\n"
        seen = json.loads(first)
        assert seen["environment"].pop("ONE") == name
        assert seen["environment"].pop(JOB_MARK) == mark_of(log)
        told.append(seen)
        draws.extend(json.loads(drawn))
    assert told[0] == told[1] == told[2]
    assert len(set(draws)) == len(draws)


def test_an_exception_and_a_signal_are_told_as_of_a_new_process(place, forks):
    for start in (start_anew, forks.start):
        process, log, _ = started(start, place, start.__name__, "fail")
        assert process.wait(60) == 1
        assert "RuntimeError: as asked" in log.read_text()
        for end, number in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
            process, log, ours = started(start, place, end + start.__name__, stdin=None)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
            getattr(process, end)()
            assert process.wait(60) == -number
            getattr(process, end)()  # long gone: nothing happens
            os.close(ours)


def test_the_mark_of_a_fork_is_seen_from_outside(place, forks):
    processes = [started(forks.start, place, f"p{n}", stdin=None) for n in range(3)]
    for process, log, ours in processes:
        assert psutil.Process(process.pid).environ()[JOB_MARK] == mark_of(log)
        os.close(ours)
        assert process.wait(60) == 7
    assert psutil.Process(forks.process.pid).environ()[JOB_MARK] == nursery.NO_MARK


def test_the_nursery_has_one_thread_and_no_torch(place, forks):
    process, _, _ = started(forks.start, place, "one")
    assert process.wait(60) == 7
    own = Path("/proc", str(forks.process.pid))
    threads = [(task / "comm").read_text().strip() for task in (own / "task").iterdir()]
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1  # it knows of forks
    assert "libtorch" not in (own / "maps").read_text()


def test_forks_of_a_killed_nursery_count_as_killed_and_it_is_replaced(place, forks):
    process, _, ours = started(forks.start, place, "first", "sleep", stdin=None)
    forks.process.kill()
    assert process.wait(60) == LOST
    os.close(ours)
    psutil.Process(process.pid).kill()  # a job would end with its pipe
    process, log, _ = started(forks.start, place, "second")
    assert process.wait(60) == 7
    assert "at exit" in log.read_text()


def test_what_a_runner_asked_for_before_it_went_is_not_begun(place, forks):
    bench, log = place / "tell.py", place / "log.txt"
    environment = os.environ | {JOB_MARK: mark_of(log)}
    channel = forks._open(bench, environment)  # it loads what all need meanwhile
    request = {"bench": str(bench), "words": [], "environment": environment}
    with log.open("ab") as stream, Path(os.devnull).open("rb") as nothing:
        handles = [nothing.fileno(), stream.fileno()]
        socket.send_fds(channel, [json.dumps(request).encode()], handles)
    forks._close()
    assert log.read_bytes() == b""


def test_a_nursery_that_cannot_be_is_done_without(place, forks, monkeypatch):
    monkeypatch.setattr(nursery, "SERVE", "raise SystemExit")
    process, log, _ = started(forks.start, place, "anew")
    assert process.wait(60) == 7
    assert "at exit" in log.read_text()
    monkeypatch.setattr(nursery, "MESSAGE_BYTES", 10)
    process, log, _ = started(forks.start, place, "too long")
    assert process.wait(60) == 7


def test_jobs_whose_nursery_is_killed_fail_alone_and_are_done_again(small_source, tmp_path):
    again = tmp_path / "again"
    before = f"if not Path({str(again)!r}).exists():\n    time.sleep(600)"
    method = write_method(tmp_path, "sleeps", before)
    files = plan(small_source, tmp_path / "results", method, folds=3)
    first = Path(files[0].place.folder)

    class Killer(Unwatched):
        def started(self, job):
            if job.fold == 0:
                wait_for_work(first)
                (nest,) = [
                    each
                    for each in psutil.Process().children()
                    if each.environ().get(JOB_MARK) == nursery.NO_MARK
                ]
                nest.kill()
                again.touch()

    outcomes = run_local(files, BENCH, [""], Killer())
    assert [outcome.ok for outcome in outcomes] == [False, True, True]
    assert outcomes[0].fault == "ended by signal 9"
    assert outcomes[0].killed
    assert marked(first) == []
    assert all(outcome.ok for outcome in run_local(files, BENCH, [""], Unwatched()))
    assert len(set(predicted(files))) == 3
    assert verified(tmp_path / "results").records == 3


def marked(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(JOB_MARK) == mark_of(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_for_work(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while len(marked(folder)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)  # into the method
