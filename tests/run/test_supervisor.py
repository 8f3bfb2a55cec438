"""A job ends with all of its processes, whatever its method does; other jobs go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bench.run import results, supervisor
from bench.run.local import run_local
from bench.run.supervisor import JOB_MARK, JobProcess, SilentWatcher, mark_of
from bench.run.worker import run_job
from tests.run.small_jobs import BENCH, plan, predicted, verified, write_method

MEMORY = "room = [np.ones(2**25) for _ in range(40)]"  # 10 GiB, if the limit does not stop it
FILES = (
    "task.folder.mkdir(parents=True, exist_ok=True)\n"
    "for n in range(10**6): (task.folder / f'{n}.bin').write_bytes(bytes(2**20)); time.sleep(0.01)"
)
FORKS = (
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True)\n"
    "if os.fork() == 0: os.setsid(); time.sleep(600)"
)


MISDEEDS = {
    (0, 1): ("time.sleep(600)", "ran longer than --job-timeout 15 s"),
    (0, 2): (MEMORY, "took more memory than --job-memory 0.6 GiB"),
    (0, 3): (FILES, "wrote more than --job-disk 0.05 GiB into its folder"),
    (1, 0): ("os.kill(os.getpid(), signal.SIGKILL)", "ended by signal 9"),
    (1, 1): ("os._exit(3)", "exit status 3"),
    (1, 2): ("sys.exit('I give up')", "I give up"),
}
"""What a method does for a seed and fold, and the fault that is reported."""


def processes_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(JOB_MARK) == mark_of(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_jobs_that_go_too_far_end_and_the_others_go_on(small_source, tmp_path):
    plain = plan(small_source, tmp_path / "plain" / "results", write_method(tmp_path, "plain"))
    for file in plain:
        results.prepare(file)
        run_job(file)
    undisturbed = dict(zip([file.job.fold for file in plain], predicted(plain), strict=True))
    deeds = "\n".join(
        f"if (task.seed, task.column) == {slot}:\n    " + deed.replace("\n", "\n    ")
        for slot, (deed, _) in MISDEEDS.items()
    )
    root = tmp_path / "bad" / "results"
    files = plan(
        small_source, root, write_method(tmp_path, "bad", deeds),
        folds=4, seeds=2, timeout_seconds=15, memory_gib=0.6, disk_gib=0.05,
    )  # fmt: skip
    for outcome in run_local(files, BENCH, ["", ""], SilentWatcher()):
        slot = (outcome.job.seed, outcome.job.fold)
        assert processes_of(outcome.folder) == []
        if slot in MISDEEDS:
            assert not outcome.ok
            assert MISDEEDS[slot][1] in outcome.fault
        else:
            assert outcome.ok, outcome.fault
            made = (outcome.folder / "predictions.parquet").read_bytes()
            assert made == undisturbed[outcome.job.fold]
    checked = verified(root)
    assert checked.sound
    assert checked.records == 2


def test_what_a_finished_job_leaves_running_is_ended_and_keeps_no_lock(small_source, tmp_path):
    files = plan(
        small_source, tmp_path / "results", write_method(tmp_path, "forks", FORKS), folds=1
    )
    (outcome,) = run_local(files, BENCH, [""], SilentWatcher())
    assert outcome.ok, outcome.fault
    assert processes_of(outcome.folder) == []
    assert not results.is_locked(outcome.folder)


def test_a_killed_supervisor_leaves_nothing_running(small_source, tmp_path):
    deeds = f"{FORKS}\ntime.sleep(600)".replace("\n", "\n    ")
    method = write_method(tmp_path, "hangs", f"if task.column == 0:\n    {deeds}")
    files = plan(small_source, tmp_path / "results", method, folds=2)
    folder = Path(files[0].place.folder)
    code = (
        "import sys; from pathlib import Path; from bench.job import parse_job_file\n"
        "from bench.run.local import run_local; from bench.run.supervisor import SilentWatcher\n"
        "files = [parse_job_file(line, 'stdin') for line in sys.stdin]\n"
        "ended = run_local(files, Path('bench.py'), [''], SilentWatcher())\n"
        "print([(outcome.ok, outcome.fault) for outcome in ended])"
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=BENCH.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    runner.stdin.write("\n".join(file.model_dump_json() for file in files))
    runner.stdin.close()
    runner.stdin = None
    wait_for(lambda: len(processes_of(folder)) == 4)  # supervisor, work, and its two children
    marked = processes_of(folder)
    (supervisor,) = [each for each in marked if psutil.Process(each.ppid()) not in marked]
    supervisor.kill()
    output, _ = runner.communicate()
    assert output.strip() == str([(False, "ended by signal 9"), (True, "")])
    assert runner.returncode == 0
    assert processes_of(folder) == []


CLEARING_UP = """
import os, signal, subprocess, sys
from pathlib import Path
from bench.job import ResourceLimits
from bench.run import supervisor

end = supervisor._kill_descendants

def signalled_end():
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    end()

def work():
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                              start_new_session=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    print(orphan.pid, flush=True)
    return 0

supervisor._kill_descendants = signalled_end
sys.exit(supervisor.supervise(work, Path("."), ResourceLimits(), watch_runner=False))
"""


def test_a_signal_while_the_supervisor_cleans_up_leaves_nothing_running():
    done = subprocess.run(
        [sys.executable, "-c", CLEARING_UP],
        cwd=BENCH.parent, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not psutil.pid_exists(int(done.stdout))


@pytest.fixture
def forking(small_source, tmp_path) -> Iterator[JobProcess]:
    """A running job: supervisor, work, and two children of the work, each in its session."""
    method = write_method(tmp_path, "hangs", f"{FORKS}\ntime.sleep(600)")
    (file,) = plan(small_source, tmp_path / "results", method, folds=1)
    results.prepare(file)
    process = JobProcess(file, BENCH, "")
    try:
        wait_for(lambda: len(processes_of(process.folder)) == 4)
        yield process
    finally:
        process.process.kill()
        process.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_asked_to_stop_leaves_nothing_though_its_supervisor_is_killed(forking):
    forking.process.kill()
    forking.ask_to_stop()
    forking.stop()
    assert processes_of(forking.folder) == []


def test_what_a_killed_job_leaves_running_holds_no_lock(forking):
    assert results.is_locked(forking.folder)
    forking.process.kill()
    wait_for(lambda: len(processes_of(forking.folder)) == 2)
    wait_for(lambda: not results.is_locked(forking.folder))
    assert len(processes_of(forking.folder)) == 2  # they run until the runner looks
    forking.outcome()
    assert processes_of(forking.folder) == []


def test_a_job_whose_supervisor_is_killed_after_the_record_is_done(
    small_source, tmp_path, monkeypatch
):
    (file,) = plan(small_source, tmp_path / "results", write_method(tmp_path, "m"), folds=1)
    results.prepare(file)
    run_job(file)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: Ended(-signal.SIGKILL))
    process = JobProcess(file, BENCH, "")
    outcome = process.outcome()
    assert (outcome.ok, outcome.fault, outcome.killed) == (True, "", False)
    (process.folder / "record.json").unlink()
    outcome = JobProcess(file, BENCH, "").outcome()
    assert (outcome.ok, outcome.fault, outcome.killed) == (False, "ended by signal 9", True)


class Ended:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self.pid, self.returncode, self.stdin = 0, code, None

    def wait(self, timeout: float | None = None) -> int:
        del timeout
        return self.returncode


HOLDS = """
import mmap, sys
import numpy as np
kind, size = sys.argv[1], 64 * 2**20
if kind == "shared":
    room = mmap.mmap(-1, size)
elif kind == "private":
    room = np.empty(size, np.uint8)
else:
    with open(kind, "r+b") as stream:
        stream.truncate(size)
        room = mmap.mmap(stream.fileno(), size)
np.frombuffer(room, np.uint8)[:] = 1
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's count")
def test_memory_counts_where_it_is_private_or_shared_and_not_where_it_is_a_file_s(tmp_path):
    (tmp_path / "file").touch()
    held = {}
    for kind in ("private", "shared", str(tmp_path / "file")):
        words = [sys.executable, "-c", HOLDS, kind]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            held[Path(kind).name] = supervisor.held_bytes([psutil.Process(process.pid)]) >> 20
    assert 64 <= held["private"] < 128
    assert 64 <= held["shared"] < 128
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=False
    )
    assert held["file"] < 64 or kind.stdout == "tmpfs\n"


def test_a_flooded_log_keeps_its_end(small_source, tmp_path):
    flood = "for n in range(4000): print('x' * 9000, n)\nsys.stdout.flush(); time.sleep(1.5)"
    method = write_method(tmp_path, "floods", flood)
    (file,) = plan(small_source, tmp_path / "results", method, folds=1)
    (outcome,) = run_local([file], BENCH, [""], SilentWatcher())
    assert outcome.ok, outcome.fault
    log = outcome.folder / "log.txt"
    assert log.stat().st_size < 2 * supervisor.LOG_KEPT_BYTES
    text = log.read_text()
    assert "[the log was longer; this is its end]" in text
    assert " 3999\n" in text
    assert "done: floods" in text


SHOW = """
import json, os, sys
threads = [os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
early = [name for name in ("numpy", "torch") if name in sys.modules]
print(json.dumps([sys.argv[1:], threads, early, "BENCH_DATA" in os.environ]), flush=True)
print(sys.stdin.read(), end="", flush=True)
sys.exit(7)
"""


def test_a_job_gets_its_threads_before_numpy_and_no_data_folder(
    small_source, tmp_path, monkeypatch
):
    (file,) = plan(small_source, tmp_path / "results", write_method(tmp_path, "m"), folds=1)
    results.prepare(file)
    (tmp_path / "show.py").write_text(SHOW)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    process = JobProcess(file, tmp_path / "show.py", "")
    environment = psutil.Process(process.process.pid).environ()
    assert environment[JOB_MARK] == mark_of(process.folder)
    assert process.outcome().fault.startswith("[[")
    assert process.process.returncode == 7
    words = ["job", str(process.folder / "job.json")]
    assert json.loads((process.folder / "log.txt").read_text()) == [words, ["1", "1"], [], False]
