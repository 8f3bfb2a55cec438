"""Whether everything in a results folder is whole: records, hashes, ids, and what nobody owns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError, PredictionError, ResultsError, listing
from bench.files import sha256_of
from bench.job import Job, RunRecord
from bench.predictions import Slot
from bench.protocol import Protocol, Roles, load_roles
from bench.run import results
from bench.run.submissions import (
    Submission,
    Wanted,
    kept_file,
    lies_right,
    named_classes,
    read_submission,
    stated,
)

FREE = ("tensorboard", "gradcam")
"""Folders of a job that grow after its record: pictures and logs, no numbers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a path of the results folder; `grave` means that a number is in doubt."""

    path: Path
    what: str
    grave: bool


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what was found.

    files   those that a record names and that were there to be hashed
    absent  how many that a record names were not there, by name, or the folder in the job's own;
            all but predictions may be: committed rows keep little else
    """

    records: int
    files: int
    absent: Mapping[str, int]
    submissions: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing grave was found."""
        return not any(finding.grave for finding in self.findings)


class _Book:
    """Frozen roles by protocol and dataset, each file read once."""

    def __init__(self, protocols: Mapping[str, Protocol], folder: Path) -> None:
        self.protocols, self.folder = protocols, folder
        self.known: dict[tuple[str, str], Roles] = {}

    def roles(self, made: Job | Submission) -> Roles:
        """The roles that something was made for. Raises BenchError where they are not to be had."""
        protocol = self.protocols.get(made.protocol)
        if protocol is None:
            raise ResultsError(f"protocol {made.protocol!r} is unknown here")
        key = (made.protocol, made.dataset)
        if key not in self.known:
            self.known[key] = load_roles(protocol, made.dataset, self.folder)
        if protocol.roles[made.dataset].sha256 != made.roles_sha256:
            raise ResultsError(f"was made for other roles of {made.protocol} on {made.dataset}")
        return self.known[key]

    def repeats(self, job: Job) -> int | None:
        """How often the job's protocol repeats its split; None where it is unknown here."""
        protocol = self.protocols.get(job.protocol)
        return None if protocol is None else protocol.split.repeats


def verify_results(root: Path, protocols: Mapping[str, Protocol], folder: Path) -> Checked:
    """Check every record's hashes, every prediction's ids, and name what is orphaned.

    Metadata and images are not needed: the frozen roles say which images a fold tests.
    """
    book = _Book(protocols, folder)
    findings: list[Finding] = []
    records = files = submissions = 0
    absent: Counter[str] = Counter()
    for job_folder in results.job_folders(root):
        if not (job_folder / "record.json").exists():
            if not results.is_locked(job_folder):
                findings.append(Finding(job_folder, "no record: begun and not finished", False))
            continue
        try:
            record = results.open_record(job_folder)
        except ResultsError as error:
            path = job_folder / "record.json"
            findings.append(Finding(path, f"cannot be read: {error}", True))
            continue
        records += 1
        gone = [name for name in record.files if not (job_folder / name).is_file()]
        files += len(record.files) - len(gone)
        absent.update(name.split("/", 1)[0] for name in gone)
        findings += _record_faults(root, job_folder, record, book)
    for mark in results.visible(root, "*/*/*/submission.json"):
        submissions += 1
        findings += _submission_faults(mark.parent, book)
    findings += [
        Finding(path, "left behind by a killed process", False) for path in results.half_made(root)
    ]
    findings += [
        Finding(path, "has neither record.json nor job.json: no row has these files", False)
        for path in results.ownerless(root)
    ]
    return Checked(records, files, absent, submissions, tuple(findings))


def _record_faults(root: Path, folder: Path, record: RunRecord, book: _Book) -> Iterator[Finding]:
    for name, sha256 in record.files.items():
        path = folder / name
        if not path.is_file():
            # committed rows keep predictions and record, not what else the job left
            grave = name.endswith(".parquet")
            if grave:
                yield Finding(path, "is gone", True)
        elif sha256_of(path) != sha256:
            yield Finding(path, "is not what its record was written for", True)
    strangers = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.relative_to(folder).parts[0] not in FREE
        and path.relative_to(folder).as_posix() not in record.files
        and path.name not in results.UNHASHED
        and not path.name.startswith(".")
    ]
    for path in strangers:
        yield Finding(path, "the record does not know this file", False)
    job = record.job
    if not results.lies_right(folder, root, job, book.repeats(job)):
        own = f"{job.protocol}/{job.dataset}/{job.row}, {_told(job.slot)}"
        yield Finding(folder, f"holds the record of another place: {own}", True)
    try:
        roles = book.roles(job)
    except BenchError as error:
        yield Finding(folder, f"its images cannot be checked: {error}", True)
        return
    for name, part in (("predictions", "test"), ("val_predictions", "val")):
        path = folder / f"{name}.parquet"
        if path.is_file() and path.name in record.files:
            yield from _id_faults(path, record, roles, part)


def _told(slot: Slot) -> str:
    return f"seed {slot.seed} repeat {slot.repeat} fold {slot.fold}"


def _submission_faults(folder: Path, book: _Book) -> Iterator[Finding]:
    """What is wrong with a submission, its ids and numbers included where its roles are known."""
    try:
        submission = stated(folder)
        file = kept_file(folder, submission)
    except ResultsError as error:
        yield Finding(folder, str(error), True)
        return
    if not lies_right(folder, submission):
        own = f"{submission.protocol}/{submission.dataset}/{submission.name}"
        yield Finding(folder, f"holds the submission of another place: {own}", True)
    try:
        roles = book.roles(submission)
    except BenchError as error:  # no row of any board here
        yield Finding(folder, f"its images cannot be checked: {error}", False)
        return
    protocol = book.protocols[submission.protocol]
    try:
        wanted = Wanted(roles, named_classes(file), protocol.folds, protocol.run.seeds[0])
        read_submission(file, wanted)
    except PredictionError as error:
        yield Finding(file, str(error), True)


def _id_faults(path: Path, record: RunRecord, roles: Roles, part: str) -> Iterator[Finding]:
    try:
        predictions = results.read_predictions(path, record.job.classes)
    except BenchError as error:
        yield Finding(path, str(error), True)
        return
    wanted = roles.image_ids[roles.rows(record.job.column, part)]
    if not np.array_equal(np.sort(predictions.image_ids), np.sort(wanted)):
        strange = sorted(set(predictions.image_ids.tolist()) ^ set(wanted.tolist()))
        yield Finding(path, f"does not hold the {part} images: {listing(strange, 5)}", True)
