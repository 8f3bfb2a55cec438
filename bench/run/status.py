"""Status of jobs in a results folder, from its files alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from statistics import fmean

from bench.errors import ResultsError
from bench.job import Job, RunRecord
from bench.protocol import Protocol
from bench.run import results
from bench.run.supervisor import fault_in_log, read_usage, usage_file


@dataclass(frozen=True, slots=True)
class JobState:
    """One job as its folder tells it.

    state      "done", "running", "failed", "interrupted" (killed: the same command goes on from its
               last checkpoint), "waiting" (planned, never begun) or "damaged"
    detail     the fault of a failed or damaged job
    seconds    wall time of a done job
    heartbeat  seconds since a running job last wrote something
    worker     host and process that do a running job; "" where it has not said yet
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
    """A row's jobs, and the slots of the protocol that no job was ever planned for.

    seconds_left  about how long the rest takes if its jobs ran one after another, by the mean of
                  the done ones; None where none is done
    """

    protocol: str
    dataset: str
    row: str
    jobs: tuple[JobState, ...]
    missing: tuple[str, ...]

    def count(self, state: str) -> int:
        """How many jobs are in a state."""
        return sum(job.state == state for job in self.jobs)

    @property
    def seconds_left(self) -> float | None:
        """Processor-free estimate of the time left; see the class."""
        known = [job.seconds for job in self.jobs if job.seconds is not None]
        left = len(self.jobs) - self.count("done") + len(self.missing)
        if not left:
            return 0.0
        return fmean(known) * left if known else None


def read_status(root: Path, protocols: Mapping[str, Protocol]) -> list[RowState]:
    """The state of every trained row below a results folder, in path order."""
    folders: dict[tuple[str, str, str], list[Path]] = {}
    for path in results.job_folders(root):
        protocol, dataset, row = path.relative_to(root).parts[:3]
        folders.setdefault((protocol, dataset, row), []).append(path)
    rows = []
    for (protocol, dataset, row), found in folders.items():
        jobs = tuple(_state(folder) for folder in found)
        missing = _missing(protocols.get(protocol), jobs)
        rows.append(RowState(protocol, dataset, row, jobs, missing))
    return rows


def unfinished(root: Path, protocol: str, dataset: str) -> dict[str, list[str]]:
    """What became of the jobs that a protocol's rows here have begun and not done, by row."""
    found: dict[str, list[str]] = {}
    for folder in results.job_folders(root):
        *where, row = folder.relative_to(root).parts[:3]
        if where == [protocol, dataset]:
            state = _state(folder, hashed=True)
            if state.state != "done":
                place = "/".join(folder.relative_to(root).parts[3:])
                detail = f": {state.detail}" if state.detail else ""
                found.setdefault(row, []).append(f"{place} {state.state}{detail}")
    return found


def _state(folder: Path, *, hashed: bool = False) -> JobState:
    """What a folder tells; `hashed`: predictions that are not what was made are damaged, too."""
    try:
        record, fault = results.open_record(folder), ""
    except ResultsError as error:
        record, fault = None, str(error) if (folder / "record.json").exists() else ""
    try:
        job_file = results.open_job(folder / "job.json")
    except ResultsError as error:
        if record is not None:  # committed rows keep the record only
            return _done(folder, record, hashed=hashed)
        return JobState(folder, "damaged", detail=fault or str(error))
    if record is not None and record.id == job_file.job.id:  # a job that begins again has none
        return _done(folder, record, hashed=hashed)
    return _undone(folder, job_file.job, fault)


def _done(folder: Path, record: RunRecord, *, hashed: bool) -> JobState:
    faults = results.file_faults(folder, record, hashed=hashed)
    if faults:
        return JobState(folder, "damaged", record.job, faults[0])
    return JobState(folder, "done", record.job, seconds=record.wall_seconds)


def _undone(folder: Path, job: Job, fault_of_record: str) -> JobState:
    if results.is_locked(folder):
        worker = read_usage(usage_file(folder)).worker
        return JobState(folder, "running", job, heartbeat=_seconds_silent(folder), worker=worker)
    if fault_of_record:
        return JobState(folder, "damaged", job, fault_of_record)
    log = folder / "log.txt"
    if not log.exists():
        return JobState(folder, "waiting", job)
    fault = fault_in_log(log)
    return JobState(folder, "failed" if fault else "interrupted", job, fault)


def _seconds_silent(folder: Path) -> float:
    """Seconds since any file of a job's folder was written; never negative, clocks may differ."""
    latest = 0.0
    for path in folder.iterdir():
        with suppress(OSError):  # the job at work renames and removes files
            found = path.stat()
            latest = max(latest, found.st_mtime if S_ISREG(found.st_mode) else 0.0)
    return max(0.0, time.time() - latest)


def _missing(protocol: Protocol | None, jobs: Sequence[JobState]) -> tuple[str, ...]:
    if protocol is None:
        return ()
    have = {each.job.slot if each.job else results.slot_at(each.folder) for each in jobs}
    return tuple(
        f"seed {seed} {f'repeat {repeat} ' if protocol.split.repeats > 1 else ''}fold {fold}"
        for seed in protocol.run.seeds
        for repeat in range(protocol.split.repeats)
        for fold in range(protocol.folds)
        if (seed, repeat, fold) not in have
    )
