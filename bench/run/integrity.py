"""Integrity of a results folder, and merging two of them."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from bench.errors import OFFENDERS_SHOWN, BenchError, PredictionError, ResultsError, listing
from bench.io import SCRATCH, remove, scratch_for, sha256_of
from bench.job import Job, RunRecord
from bench.predictions import TrainingKey
from bench.protocol import Protocol, Roles, load_roles
from bench.run import results
from bench.run.submissions import (
    Submission,
    SubmissionSpec,
    keep_submission,
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


def _told(slot: TrainingKey) -> str:
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
        wanted = SubmissionSpec(roles, named_classes(file), protocol.folds, protocol.run.seeds[0])
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


EQUAL = "equal"
RUNNING = "a job is running there"
TAKEN = "another row has this name"


@dataclass(frozen=True, slots=True)
class Merged:
    """How many jobs and submissions were copied, and how many were there already, equal.

    unfinished  jobs of the source that are not done
    damaged     a sentence for each that is no longer what was made or handed in; left out, too
    """

    copied: int
    equal: int
    unfinished: int
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """A finished job of the source, whole; its place and its row's folder in the target."""

    folder: Path
    place: Path
    row: Path
    record: RunRecord

    def compare(self) -> str:
        """What contradicts, EQUAL, or "" where nothing finished and whole is in its place."""
        if (self.row / "submission.json").exists():
            return TAKEN
        there = results.read_record(self.place)
        if there is None or not results.is_done(self.place, there.job):
            return ""
        if self.record.id != there.id:
            return "holds a job of other code, threads, weights or pixels"
        if self.record.files[results.PREDICTIONS] != there.files[results.PREDICTIONS]:
            return "the same job gave other predictions there"
        return EQUAL

    def bring(self) -> None:
        """Copy the job, under its lock; record.json is removed first and comes last.

        Raises ResultsError where the place is no longer free.
        """
        self.place.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.place / results.LOCK, timeout=0):
                verdict = self.compare()
                if not verdict:
                    self._replace()
        except Timeout:
            verdict = RUNNING
        if verdict not in {"", EQUAL}:
            raise ResultsError(
                f"{self.place}: {verdict}, since the merge began; what was copied before is whole: "
                "merge again later"
            )

    def _replace(self) -> None:
        scratch = scratch_for(self.place / self.folder.name)
        remove(scratch)
        try:
            shutil.copytree(self.folder, scratch, ignore=_not_the_job_s)
            before = [path for path in self.place.iterdir() if path.name != results.LOCK]
            for path in sorted(before, key=lambda path: path.name != "record.json"):
                if path != scratch:
                    remove(path)
            for path in sorted(scratch.iterdir(), key=lambda path: path.name == "record.json"):
                path.rename(self.place / path.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Handed:
    """A submission of the source, whole, and its place in the target."""

    folder: Path
    place: Path
    file: Path
    submission: Submission

    def compare(self) -> str:
        """What contradicts, EQUAL, or "" where nothing is in its place, or something damaged."""
        if not (self.place / "submission.json").exists():
            return TAKEN if self.place.exists() and any(self.place.iterdir()) else ""
        try:
            there = stated(self.place)
            if there == self.submission:
                kept_file(self.place, there)
        except ResultsError:
            return ""
        return EQUAL if there == self.submission else TAKEN

    def bring(self) -> None:
        """Copy the submission."""
        keep_submission(self.place, self.file, self.submission)


def merge_results(source: Path, target: Path) -> Merged:
    """Copy every finished job and submission of `source` into `target`.

    What is damaged in `source` is left out; what is damaged in `target` counts as not finished, so
    a whole one takes its place. A job is copied beside the other files of its folder and moved
    under its lock, so an interruption leaves it whole or not finished.

    Raises ResultsError, and nothing is copied, where both folders hold something else at one place,
    where a row would be made by different code, where something lies in a place that is not its
    own, and where a job runs in a place that is needed.
    """
    found, unfinished, damaged = _finished(source, target)
    verdicts = [_fault(one.folder) or _misplaced(one, source) or one.compare() for one in found]
    wanted = [one for one, verdict in zip(found, verdicts, strict=True) if not verdict]
    faults = [
        f"{one.place}: {verdict}"
        for one, verdict in zip(found, verdicts, strict=True)
        if verdict not in {"", EQUAL}
    ]
    faults += [f"{one.place}: {RUNNING}" for one in wanted if results.is_locked(one.place)]
    faults += _mixed([one for one in wanted if isinstance(one, _Job)], target)
    if faults:
        shown = "\n".join(f"  - {each}" for each in faults[:OFFENDERS_SHOWN])
        raise ResultsError(
            f"{source} contradicts {target} in {len(faults)} places; nothing was copied:\n"
            f"{shown}\nkeep one of each, or merge into another folder"
        )
    for one in wanted:
        one.bring()
    return Merged(len(wanted), verdicts.count(EQUAL), unfinished, damaged)


def _finished(source: Path, target: Path) -> tuple[list[_Job | _Handed], int, tuple[str, ...]]:
    """What is finished and whole, how many jobs are not finished, and what is damaged."""
    found: list[_Job | _Handed] = []
    damaged = []
    jobs = list(results.job_folders(source))
    begun = [folder for folder in jobs if (folder / "record.json").exists()]
    handed = [mark.parent for mark in results.visible(source, "*/*/*/submission.json")]
    for folders, read in ((begun, _job), (handed, _submission)):
        for folder in folders:
            try:
                found.append(read(folder, source, target))
            except ResultsError as error:
                damaged.append(str(error))
    return found, len(jobs) - len(begun), tuple(damaged)


def _job(folder: Path, source: Path, target: Path) -> _Job:
    inside = folder.relative_to(source)
    record = results.open_record(folder)
    if not results.is_done(folder, record.job):
        raise ResultsError(f"{folder}: its predictions are not what its record was written for")
    return _Job(folder, target / inside, target.joinpath(*inside.parts[:3]), record)


def _submission(folder: Path, source: Path, target: Path) -> _Handed:
    submission = stated(folder)
    place = target / folder.relative_to(source)
    return _Handed(folder, place, kept_file(folder, submission), submission)


def _fault(folder: Path) -> str:
    """What in a folder from elsewhere would bring in what lies outside of it; "" for nothing."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            return f"{folder} holds a link or a device, {path.name}; a results folder is files"
    return ""


def _misplaced(one: _Job | _Handed, source: Path) -> str:
    if isinstance(one, _Job):
        right = results.lies_right(one.folder, source, one.record.job)
    else:
        right = lies_right(one.folder, one.submission)
    return "" if right else f"{one.folder} holds what was made for another place"


def _mixed(wanted: Sequence[_Job], target: Path) -> list[str]:
    """A sentence for each job that would stand in a row with jobs of other code: `run` refuses to
    go on with such a row.
    """
    places = {one.place for one in wanted}
    made_by: dict[Path, dict[str, Path]] = defaultdict(dict)  # row: one folder of each row id
    for folder in results.job_folders(target):
        record = None if folder in places else results.read_record(folder)
        if record is not None:
            row = target.joinpath(*folder.relative_to(target).parts[:3])
            made_by[row].setdefault(record.job.row_id, folder)
    for one in wanted:
        made_by[one.row].setdefault(one.record.job.row_id, one.place)
    return [
        f"{one.place}: was made by other code, threads, weights or pixels than {other}"
        for one in wanted
        for row_id, other in made_by[one.row].items()
        if row_id != one.record.job.row_id
    ]


def _not_the_job_s(_folder: str, names: Sequence[str]) -> set[str]:
    """Of what lies in a job's folder, the lock and what was never finished."""
    return {name for name in names if name == results.LOCK or SCRATCH.fullmatch(name)}
