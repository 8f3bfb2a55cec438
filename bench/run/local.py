"""The local executor: one process a job, several at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.job import JobFile
from bench.run.results import is_locked, prepare
from bench.run.supervisor import JobProcess, Outcome, Watcher

POLL_SECONDS = 0.05


def gpu_count() -> int:
    """Number of GPUs of the driver within CUDA_VISIBLE_DEVICES; does not load torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in {"", "-1"}])
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def gpu_slots(jobs_per_device: int, devices_per_job: int = 1) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each job that may run at the same time on this machine's GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(gpu_count())]
    if not gpu_count():
        return []
    starts = range(0, len(names) - devices_per_job + 1, devices_per_job)
    return [",".join(names[start : start + devices_per_job]) for start in starts] * jobs_per_device


@contextmanager
def _ending(running: list[JobProcess]) -> Iterator[None]:
    """Stop the running jobs when the runner itself is stopped; all receive the request first."""
    try:
        yield
    finally:
        for each in running:
            each.ask_to_stop()
        for each in running:
            each.stop()


def run_local(
    job_files: Sequence[JobFile], bench: Path, slots: Sequence[str], watcher: Watcher
) -> list[Outcome]:
    """Run jobs in the given order, one a slot at the same time, and report to the watcher.

    bench is the file of the command line; a slot is the CUDA_VISIBLE_DEVICES of a job, "" to leave
    it as it is. A failed job does not stop the others. A job that another runner is working on is
    waited for, and not done twice.
    """
    waiting, free = list(job_files), list(slots)
    running: list[JobProcess] = []
    outcomes: list[Outcome] = []
    with _ending(running):
        while waiting or running:
            while waiting and free:
                at = next((n for n, file in enumerate(waiting) if not _is_busy(file)), None)
                if at is None:
                    break  # other runners are working on all remaining jobs
                job_file = waiting.pop(at)
                prepared = prepare(job_file)
                if prepared == "done":
                    outcomes.append(Outcome(job_file.job, Path(job_file.place.folder), ok=True))
                elif prepared == "busy":
                    waiting.append(job_file)
                else:
                    running.append(JobProcess(job_file, bench, free.pop(0)))
                    watcher.started(job_file.job)
            time.sleep(POLL_SECONDS)
            for each in list(running):
                over = each.over
                for row in each.history.new_rows():
                    watcher.epoch(each.job_file.job, row)
                if over:
                    running.remove(each)
                    free.append(each.slot)
                    outcome = each.outcome()
                    if each.busy:
                        waiting.append(each.job_file)
                        continue
                    outcomes.append(outcome)
                    watcher.ended(outcome)
    return outcomes


def _is_busy(job_file: JobFile) -> bool:
    return is_locked(Path(job_file.place.folder))
