"""Status of the jobs in a results folder, from its files alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from statistics import fmean

from bench.errors import ResultsError
from bench.job import Job
from bench.protocol import Protocol
from bench.run import results
from bench.run.results import StoredJob
from bench.run.supervisor import fault_in_log, read_usage, usage_file


@dataclass(frozen=True, slots=True)
class JobState:
    """Status of one job.

    state      "done", "running", "failed", "interrupted" (killed: the same command continues from
               the last checkpoint), "waiting" (planned, not started) or "damaged"
    detail     the fault of a failed or damaged job
    seconds    wall time of a done job
    heartbeat  seconds since a running job last wrote a file
    worker     host and process of a running job; "" until it is known
    """

    folder: Path
    state: str
    job: Job | None = None
    detail: str = ""
    seconds: float | None = None
    heartbeat: float | None = None
    worker: str = ""


@dataclass(frozen=True, slots=True)
class RowState:
    """The jobs of a row, and the seeds and folds of the protocol that were never planned.

    seconds_left  estimated time of the remaining jobs, one at a time, by the mean of the done
                  jobs; None without a done job
    """

    protocol: str
    dataset: str
    row: str
    jobs: tuple[JobState, ...]
    missing: tuple[str, ...]

    def count(self, state: str) -> int:
        """Number of jobs in a state."""
        return sum(job.state == state for job in self.jobs)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds of the remaining jobs; see the class."""
        known = [job.seconds for job in self.jobs if job.seconds is not None]
        left = len(self.jobs) - self.count("done") + len(self.missing)
        if not left:
            return 0.0
        return fmean(known) * left if known else None


def read_status(root: Path, protocols: Mapping[str, Protocol]) -> list[RowState]:
    """The status of every trained row below a results folder, in path order; hashes nothing."""
    by_row: dict[tuple[str, str, str], list[JobState]] = {}
    for stored in results.scan_jobs(root, hashed=False):
        protocol, dataset, row = stored.folder.relative_to(root).parts[:3]
        by_row.setdefault((protocol, dataset, row), []).append(job_state(stored))
    return [
        RowState(protocol, dataset, row, tuple(jobs), _missing(protocols.get(protocol), jobs))
        for (protocol, dataset, row), jobs in by_row.items()
    ]


def unfinished(root: Path, jobs: Sequence[StoredJob]) -> dict[str, list[str]]:
    """Place, state and fault of each job below `root` that is not done, by row."""
    by_row: dict[str, list[str]] = {}
    for state in map(job_state, jobs):
        if state.state != "done":
            _, _, row, *place = state.folder.relative_to(root).parts
            detail = f": {state.detail}" if state.detail else ""
            by_row.setdefault(row, []).append(f"{'/'.join(place)} {state.state}{detail}")
    return by_row


def job_state(stored: StoredJob) -> JobState:
    """The status of a scanned job."""
    folder, record, fault = stored.folder, stored.record, next(iter(stored.faults), "")
    try:
        job = results.open_job(folder / "job.json").job
    except ResultsError as error:
        if record is None:
            return JobState(folder, "damaged", detail=fault or str(error))
        job = record.job  # committed rows keep only the record
    if record is None or record.id != job.id:  # without a record, or planned again
        return _undone(folder, job, fault if record is None else "")
    if fault:
        return JobState(folder, "damaged", job, fault)
    return JobState(folder, "done", job, seconds=record.wall_seconds)


def _undone(folder: Path, job: Job, record_fault: str) -> JobState:
    if results.is_locked(folder):
        worker = read_usage(usage_file(folder)).worker
        return JobState(folder, "running", job, heartbeat=_seconds_silent(folder), worker=worker)
    if record_fault:
        return JobState(folder, "damaged", job, record_fault)
    log = folder / "log.txt"
    if not log.exists():
        return JobState(folder, "waiting", job)
    fault = fault_in_log(log)
    return JobState(folder, "failed" if fault else "interrupted", job, fault)


def _seconds_silent(folder: Path) -> float:
    """Seconds since a file of a job's folder was written; at least 0, since clocks may differ."""
    latest = 0.0
    for path in folder.iterdir():
        with suppress(OSError):  # the running job renames and removes files
            stat = path.stat()
            latest = max(latest, stat.st_mtime if S_ISREG(stat.st_mode) else 0.0)
    return max(0.0, time.time() - latest)


def _missing(protocol: Protocol | None, jobs: Sequence[JobState]) -> tuple[str, ...]:
    if protocol is None:
        return ()
    have = {job.job.slot if job.job else results.key_of_folder(job.folder) for job in jobs}
    return tuple(
        f"seed {seed} {f'repeat {repeat} ' if protocol.split.repeats > 1 else ''}fold {fold}"
        for seed in protocol.run.seeds
        for repeat in range(protocol.split.repeats)
        for fold in range(protocol.folds)
        if (seed, repeat, fold) not in have
    )
