"""Whether everything in a results folder is whole: records, hashes, ids, and what nobody owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError, ResultsError, listing
from bench.files import sha256_of
from bench.job import RunRecord
from bench.protocol import Protocol, Roles, load_roles
from bench.run import results
from bench.run.submissions import all_submissions

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
    """What was looked at, and what was found."""

    records: int
    files: int
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

    def roles(self, record: RunRecord) -> Roles:
        """The roles that a record was made for. Raises BenchError where they are not to be had."""
        job = record.job
        protocol = self.protocols.get(job.protocol)
        if protocol is None:
            raise ResultsError(f"protocol {job.protocol!r} is unknown here")
        key = (job.protocol, job.dataset)
        if key not in self.known:
            self.known[key] = load_roles(protocol, job.dataset, self.folder)
        if protocol.roles[job.dataset].sha256 != job.roles_sha256:
            raise ResultsError(f"was made for other roles of {job.protocol} on {job.dataset}")
        return self.known[key]


def verify_results(root: Path, protocols: Mapping[str, Protocol], folder: Path) -> Checked:
    """Check every record's hashes, every prediction's ids, and name what is orphaned.

    Metadata and images are not needed: the frozen roles say which images a fold tests.
    """
    book = _Book(protocols, folder)
    findings: list[Finding] = []
    records = files = submissions = 0
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
        files += len(record.files)
        findings += _record_faults(job_folder, record, book)
    for dataset in sorted(path for path in root.glob("*/*") if path.is_dir()):
        protocol_name, dataset_name = dataset.relative_to(root).parts
        try:
            submissions += sum(1 for _ in all_submissions(root, protocol_name, dataset_name))
        except ResultsError as error:
            findings.append(Finding(dataset, str(error), True))
    findings += [
        Finding(path, "left behind by a killed process", False) for path in results.half_made(root)
    ]
    return Checked(records, files, submissions, tuple(findings))


def _record_faults(folder: Path, record: RunRecord, book: _Book) -> Iterator[Finding]:
    for name, stated in record.files.items():
        path = folder / name
        if not path.is_file():
            # committed rows keep predictions and record, not what else the job left
            grave = name.endswith(".parquet")
            if grave:
                yield Finding(path, "is gone", True)
        elif sha256_of(path) != stated:
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
    place = folder.parts[-2 if record.job.repeat == 0 else -3 :]
    if f"fold{record.job.fold}" != folder.name:
        yield Finding(
            folder, f"holds the record of {'/'.join(place)}: fold {record.job.fold}", True
        )
    try:
        roles = book.roles(record)
    except BenchError as error:
        yield Finding(folder, f"its images cannot be checked: {error}", True)
        return
    for name, part in (("predictions", "test"), ("val_predictions", "val")):
        path = folder / f"{name}.parquet"
        if path.is_file() and path.name in record.files:
            yield from _id_faults(path, record, roles, part)


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
