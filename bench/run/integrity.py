"""Verify the integrity of a results folder, and merge two of them."""

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
from bench.job import Job, RunRecord, different_parts
from bench.protocol import Protocol, Roles, load_roles
from bench.run import results
from bench.run.submissions import (
    Submission,
    SubmissionSpec,
    classes_of,
    is_place_of,
    keep_submission,
    kept_file,
    open_submission,
    read_submission,
)

FREE = ("tensorboard", "gradcam")
"""Folders of a job that grow after its record: images and logs, no numbers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A message about a path of the results folder; `grave` if a number may be wrong."""

    path: Path
    what: str
    grave: bool


@dataclass(frozen=True)
class Checked:
    """The result of `verify_results`.

    files   number of files in records that exist and were hashed
    absent  number of files in records that do not exist, by name or by folder in the job's folder;
            committed rows lack all but the predictions
    """

    records: int
    files: int
    absent: Mapping[str, int]
    submissions: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether no finding is grave."""
        return not any(finding.grave for finding in self.findings)


class _FrozenRoles:
    """Frozen roles by protocol and dataset; each file is read once."""

    def __init__(self, protocols: Mapping[str, Protocol], folder: Path) -> None:
        self.protocols, self.folder = protocols, folder
        self.known: dict[tuple[str, str], Roles] = {}

    def roles(self, made: Job | Submission) -> Roles:
        """The roles of a job or submission. Raises BenchError if unknown or changed."""
        protocol = self.protocols.get(made.protocol)
        if protocol is None:
            raise ResultsError(f"protocol {made.protocol!r} is unknown here")
        key = (made.protocol, made.dataset)
        if key not in self.known:
            self.known[key] = load_roles(protocol, made.dataset, self.folder)
        if protocol.roles[made.dataset].sha256 != made.roles_sha256:
            raise ResultsError(f"used other roles of {made.protocol} on {made.dataset}")
        return self.known[key]

    def repeats(self, job: Job) -> int | None:
        """Number of repeats of the job's protocol; None if it is unknown here."""
        protocol = self.protocols.get(job.protocol)
        return None if protocol is None else protocol.split.repeats


def verify_results(root: Path, protocols: Mapping[str, Protocol], folder: Path) -> Checked:
    """Check the hashes and image ids of all records and submissions, and list other files.

    Needs neither metadata nor images: the frozen roles contain the test images of each fold.
    """
    frozen = _FrozenRoles(protocols, folder)
    findings: list[Finding] = []
    records = files = 0
    absent: Counter[str] = Counter()
    for job in results.scan_jobs(root, hashed=False):  # every file is hashed below
        if job.record is not None:
            missing = [name for name in job.record.files if not (job.folder / name).is_file()]
            records += 1
            files += len(job.record.files) - len(missing)
            absent.update(name.split("/", 1)[0] for name in missing)
            findings += _record_faults(root, job.folder, job.record, frozen)
        elif job.faults:
            path = job.folder / results.RECORD
            findings.append(Finding(path, f"cannot be read: {job.faults[0]}", True))
        elif not results.is_locked(job.folder):
            findings.append(Finding(job.folder, "no record: started and not finished", False))
    submissions = results.visible(root, "*/*/*/submission.json")
    for mark in submissions:
        findings += _submission_faults(mark.parent, frozen)
    findings += [
        Finding(path, "left behind by a killed process", False)
        for path in results.partial_files(root)
    ]
    findings += [
        Finding(path, "has neither record.json nor job.json: its files belong to no row", False)
        for path in results.folders_without_job(root)
    ]
    return Checked(records, files, absent, len(submissions), tuple(findings))


def _record_faults(
    root: Path, folder: Path, record: RunRecord, frozen: _FrozenRoles
) -> Iterator[Finding]:
    for name, sha256 in record.files.items():
        path = folder / name
        if path.is_file():
            if sha256_of(path) != sha256:
                yield Finding(path, "does not match its hash in the record", True)
        elif name.endswith(".parquet"):  # committed rows lack the other files
            yield Finding(path, "is missing", True)
    for path in _unlisted_files(folder, record):
        yield Finding(path, "is not in the record", False)
    job = record.job
    if not results.is_place_of(folder, root, job, frozen.repeats(job)):
        place = f"seed {job.seed} repeat {job.repeat} fold {job.fold}"
        own = f"{job.protocol}/{job.dataset}/{job.row}, {place}"
        yield Finding(folder, f"holds the record of another place: {own}", True)
    try:
        roles = frozen.roles(job)
    except BenchError as error:
        yield Finding(folder, f"its images cannot be checked: {error}", True)
        return
    for name, part in (("predictions", "test"), ("val_predictions", "val")):
        path = folder / f"{name}.parquet"
        if path.is_file() and path.name in record.files:
            yield from _id_faults(path, record, roles, part)


def _unlisted_files(folder: Path, record: RunRecord) -> Iterator[Path]:
    """Files that the record should list and does not."""
    for path in filter(Path.is_file, sorted(folder.rglob("*"))):
        inside = path.relative_to(folder)
        listed = inside.as_posix() in record.files or path.name in results.UNHASHED
        free = inside.parts[0] in FREE or path.name.startswith(".")
        if not (listed or free or results.is_training_state(path)):
            yield path


def _submission_faults(folder: Path, frozen: _FrozenRoles) -> Iterator[Finding]:
    """The faults of a submission; its ids and numbers are checked if its roles are known."""
    try:
        submission = open_submission(folder)
        file = kept_file(folder, submission)
    except ResultsError as error:
        yield Finding(folder, str(error), True)
        return
    if not is_place_of(folder, submission):
        own = f"{submission.protocol}/{submission.dataset}/{submission.name}"
        yield Finding(folder, f"holds the submission of another place: {own}", True)
    try:
        roles = frozen.roles(submission)
    except BenchError as error:  # not a row of any leaderboard here
        yield Finding(folder, f"its images cannot be checked: {error}", False)
        return
    protocol = frozen.protocols[submission.protocol]
    try:
        spec = SubmissionSpec(roles, classes_of(file), protocol.folds, protocol.run.seeds[0])
        read_submission(file, spec)
    except PredictionError as error:
        yield Finding(file, str(error), True)


def _id_faults(path: Path, record: RunRecord, roles: Roles, part: str) -> Iterator[Finding]:
    try:
        predictions = results.read_predictions(path, record.job.classes)
    except BenchError as error:
        yield Finding(path, str(error), True)
        return
    image_ids = roles.image_ids[roles.rows(record.job.column, part)]
    if not np.array_equal(np.sort(predictions.image_ids), np.sort(image_ids)):
        different = sorted(set(predictions.image_ids.tolist()) ^ set(image_ids.tolist()))
        fault = f"does not hold the {part} images; missing or unexpected: {listing(different, 5)}"
        yield Finding(path, fault, True)


EQUAL = "equal"
RUNNING = "a job is running there"
TAKEN = "another row has this name"


@dataclass(frozen=True, slots=True)
class Merged:
    """Number of jobs and submissions that were copied, and that were there already.

    unfinished  number of jobs of the source that are not done
    damaged     a message for each damaged job or submission of the source; these are not copied
    """

    copied: int
    equal: int
    unfinished: int
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """A finished, undamaged job of the source; its folder and its row's folder in the target."""

    folder: Path
    place: Path
    row: Path
    record: RunRecord

    def compare(self) -> str:
        """The conflict, EQUAL, or "" if its place has no finished, undamaged job."""
        if (self.row / "submission.json").exists():
            return TAKEN
        there = results.read_record(self.place)
        if there is None or not results.is_done(self.place, there.job):
            return ""
        if self.record.id != there.id:
            return f"holds a job that differs in {different_parts(self.record.job, there.job)}"
        if self.record.files[results.PREDICTIONS] != there.files[results.PREDICTIONS]:
            return "the same job has other predictions there"
        return EQUAL

    def copy(self) -> None:
        """Copy the job under its lock; record.json is removed first and written last.

        Raises ResultsError if the place is no longer free.
        """
        self.place.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.place / results.LOCK, timeout=0):
                conflict = self.compare()
                if not conflict:
                    self._replace()
        except Timeout:
            conflict = RUNNING
        if conflict not in {"", EQUAL}:
            raise ResultsError(
                f"{self.place}: {conflict}, since the merge started; the jobs copied before are "
                "complete; merge again later"
            )

    def _replace(self) -> None:
        scratch = scratch_for(self.place / self.folder.name)
        remove(scratch)
        try:
            shutil.copytree(self.folder, scratch, ignore=_lock_and_scratch)
            before = [path for path in self.place.iterdir() if path.name != results.LOCK]
            for path in sorted(before, key=lambda path: path.name != "record.json"):
                if path != scratch:
                    remove(path)
            for path in sorted(scratch.iterdir(), key=lambda path: path.name == "record.json"):
                path.rename(self.place / path.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Submitted:
    """An undamaged submission of the source, and its folder in the target."""

    folder: Path
    place: Path
    file: Path
    submission: Submission

    def compare(self) -> str:
        """The conflict, EQUAL, or "" if its place is empty or holds a damaged submission."""
        if not (self.place / "submission.json").exists():
            return TAKEN if self.place.exists() and any(self.place.iterdir()) else ""
        try:
            there = open_submission(self.place)
            if there == self.submission:
                kept_file(self.place, there)
        except ResultsError:
            return ""
        return EQUAL if there == self.submission else TAKEN

    def copy(self) -> None:
        """Copy the submission."""
        keep_submission(self.place, self.file, self.submission)


def merge_results(source: Path, target: Path) -> Merged:
    """Copy every finished job and submission of `source` into `target`.

    Damaged ones in `source` are not copied; damaged ones in `target` are replaced. A job is copied
    next to the other files of its folder and moved under its lock, so that an interruption leaves
    it complete or not finished.

    Raises ResultsError before anything is copied if both folders hold different jobs at one place,
    if a row would mix different code, if a job is in another job's folder, or if a job is running
    at a place that is needed.
    """
    finished, unfinished, damaged = _finished(source, target)
    verdicts = [
        _link_in(each.folder) or _misplaced(each, source) or each.compare() for each in finished
    ]
    new = [each for each, verdict in zip(finished, verdicts, strict=True) if not verdict]
    faults = [
        f"{each.place}: {verdict}"
        for each, verdict in zip(finished, verdicts, strict=True)
        if verdict not in {"", EQUAL}
    ]
    faults += [f"{each.place}: {RUNNING}" for each in new if results.is_locked(each.place)]
    faults += _mixed([each for each in new if isinstance(each, _Job)], target)
    if faults:
        shown = "\n".join(f"  - {each}" for each in faults[:OFFENDERS_SHOWN])
        raise ResultsError(
            f"{source} contradicts {target} in {len(faults)} places; nothing was copied:\n"
            f"{shown}\nkeep one of each, or merge into another folder"
        )
    for each in new:
        each.copy()
    return Merged(len(new), verdicts.count(EQUAL), unfinished, damaged)


def _finished(source: Path, target: Path) -> tuple[list[_Job | _Submitted], int, tuple[str, ...]]:
    """The finished jobs and submissions, the number of unfinished jobs, and the damaged ones."""
    finished: list[_Job | _Submitted] = []
    damaged: list[str] = []
    unfinished = 0
    for job in results.scan_jobs(source):
        inside = job.folder.relative_to(source)
        if job.faults:
            damaged.append(job.faults[0])
        elif job.record is None:
            unfinished += 1
        else:
            row = target.joinpath(*inside.parts[:3])
            finished.append(_Job(job.folder, target / inside, row, job.record))
    for mark in results.visible(source, "*/*/*/submission.json"):
        folder = mark.parent
        try:
            submission = open_submission(folder)
            file = kept_file(folder, submission)
        except ResultsError as error:
            damaged.append(str(error))
        else:
            place = target / folder.relative_to(source)
            finished.append(_Submitted(folder, place, file, submission))
    return finished, unfinished, tuple(damaged)


def _link_in(folder: Path) -> str:
    """The fault of a folder with links or devices, which would copy files outside of it, or ""."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            return f"{folder} holds a link or a device, {path.name}; a results folder is files"
    return ""


def _misplaced(each: _Job | _Submitted, source: Path) -> str:
    if isinstance(each, _Job):
        right = results.is_place_of(each.folder, source, each.record.job)
    else:
        right = is_place_of(each.folder, each.submission)
    return "" if right else f"{each.folder} holds files of another place"


def _mixed(new: Sequence[_Job], target: Path) -> list[str]:
    """A message for each job that would join a row of other code; `run` refuses such a row."""
    places = {job.place for job in new}
    rows: dict[Path, dict[str, tuple[Path, Job]]] = defaultdict(dict)  # one job of each row id
    for old in results.scan_jobs(target, hashed=False):
        if old.record is not None and old.folder not in places:
            row = target.joinpath(*old.folder.relative_to(target).parts[:3])
            rows[row].setdefault(old.record.job.row_id, (old.folder, old.record.job))
    for each in new:
        rows[each.row].setdefault(each.record.job.row_id, (each.place, each.record.job))
    return [
        f"{each.place}: differs from {folder} in {different_parts(each.record.job, job)}"
        for each in new
        for row_id, (folder, job) in rows[each.row].items()
        if row_id != each.record.job.row_id
    ]


def _lock_and_scratch(_folder: str, names: Sequence[str]) -> set[str]:
    """The names of the lock and of partial files, which are not copied."""
    return {name for name in names if name == results.LOCK or SCRATCH.fullmatch(name)}
