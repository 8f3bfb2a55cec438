"""Do one job: the command that executors and cluster schedulers start."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from bench.job import JobFile, RunRecord
from bench.run.supervisor import Outcome
from bench.settings import BENCH
from bench.workflows.events import JobWatcher, OnEvent, ignore


def do_listed(job_list: Path, index: int, on_event: OnEvent = ignore) -> Outcome:
    """Do job number `index` of a job list in its own process, as `run` would."""
    from bench.run.local import run_local
    from bench.run.slurm import listed_job

    (outcome,) = run_local([listed_job(job_list, index)], BENCH, [""], JobWatcher(on_event))
    return outcome


def do_job(job_json: Path) -> int:
    """Do the job of a JOB.json in a child of this process, within its limits; give the exit code.

    Threads are set before numpy and torch are loaded. $BENCH_DATA is removed: its folder holds the
    labels of the test images.
    """
    from bench.run.results import open_job
    from bench.run.supervisor import RUNNER_PIPE, supervise

    os.environ.pop("BENCH_DATA", None)
    job_file = open_job(job_json)
    # results may have been moved: the job's folder is where its file is
    here = job_file.place.model_copy(update={"folder": str(job_json.resolve().parent)})
    job_file = job_file.model_copy(update={"place": here})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(job_file.job.threads)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # one of several processes that torchrun started
        return _work(job_file, job_json)
    watch = bool(os.environ.get(RUNNER_PIPE))
    folder = Path(here.folder)
    return supervise(lambda: _work(job_file, job_json), folder, here.limits, watch_runner=watch)


def _work(job_file: JobFile, job_json: Path) -> int:
    from bench.run.results import is_finished
    from bench.run.supervisor import BUSY, RUNNER_PIPE
    from bench.run.worker import JobBusyError, help_job, helper_rank, run_job

    if job_file.job.devices > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        if not is_finished(job_file):
            _become_torchrun(job_file.job.devices, job_json)
        _log("done already")
        return 0
    if os.environ.get(RUNNER_PIPE):
        threading.Thread(target=_end_with_runner, daemon=True).start()
    if helper_rank(job_file.job):
        help_job(job_file)
        return 0
    try:
        record: RunRecord = run_job(job_file)
    except JobBusyError as error:
        sys.stderr.write(f"{error}\n")
        return BUSY
    _log(f"done: {record.job.row} seed {record.job.seed} fold {record.job.fold}")
    return 0


def _log(line: str) -> None:
    """Write a line to the job's log, which its standard output is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _become_torchrun(processes: int, job_json: Path) -> None:
    """Replace this process by torchrun, which starts the job's processes, each with this command.

    The process id stays the same, so that the runner can still end the job.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = [sys.executable, *torchrun, str(BENCH), "job", str(job_json)]
    os.execv(sys.executable, words)  # noqa: S606 - the bench itself, nothing a user typed


def _end_with_runner() -> None:
    """End this process when the runner's end of the pipe closes."""
    # unbuffered: a lock on sys.stdin held by this thread would abort the interpreter at its end
    while os.read(0, 1):
        pass
    os._exit(1)
