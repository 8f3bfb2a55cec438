"""Jobs: one training of one method on one fold. What to do, where, and what happened.

A Job's id is the hash of all that could change its predictions. Where its files lie, on which
device it runs and how many run beside it are no part of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from bench.errors import ResultsError
from bench.io import class_fault
from bench.method import Recipe
from bench.predictions import TrainingKey

MEMBERS = "ensemble of"
"""What an ensemble's variant calls its members."""
BETWEEN = " + "
T = TypeVar("T", bound="_Frozen")


def digest(content: Any) -> str:
    """sha256 of the canonical JSON of plain data."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain_name(name: str) -> str:
    """A name that may be that of a folder. Raises ValueError for what leads elsewhere."""
    if name in {"", ".", ".."} or any(mark in name for mark in "/\\") or not name.isprintable():
        raise ValueError("is no name of a folder")
    return name


def _below(path: str) -> str:
    """A path of a file below a job's folder. Raises ValueError for one that leaves it."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise ValueError("is no path below the job's folder")
    return path


def _path(path: str) -> str:
    """A path on this machine. Raises ValueError for what no file can have."""
    if "\0" in path:
        raise ValueError("is no path")
    return path


def class_name(name: str) -> str:
    """A class's name as a manifest may have it. Raises ValueError that says what is wrong."""
    if fault := class_fault(name):
        raise ValueError(f"{name!r} {fault}")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Below = Annotated[str, AfterValidator(_below)]
ClassName = Annotated[str, AfterValidator(class_name)]
AnyPath = Annotated[str, AfterValidator(_path)]
Limit = Annotated[FiniteFloat, Field(gt=0)]
Cost = Annotated[FiniteFloat, Field(ge=0)]
Column = Annotated[int, Field(ge=0, lt=10**6)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[int, Field(ge=1, le=4096)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(_Frozen):
    """What to do.

    row             name of the row in the results: the method's, or method@<8 hex of the variant>
    variant         what differs from the method's own recipe on the dataset's own pixels
    method_source   sha256 of the method's code below its passport
    roles_sha256    the frozen roles: membership of every fold
    classes         their names, in the order of every probability column
    roster_sha256, pixels_sha256  the data: who is in it; files and preprocessing
    weights_sha256  pretrained weights, or "" where training starts from scratch
    column          the fold over all repeats: repeat x folds + fold
    twin            the column of the first arm with which this one shares test part and random
                    draws; None where the protocol has no arms
    devices         processes that share one training, each on a device of its own
    """

    protocol: Name
    dataset: Name
    row: Name
    method: Name
    variant: dict[str, Any] = {}
    recipe: Recipe
    method_source: str
    roles_sha256: str
    classes: Annotated[tuple[ClassName, ...], Field(min_length=1)]
    roster_sha256: str
    pixels_sha256: str
    weights_sha256: str = ""
    seed: Seed
    repeat: Column
    fold: Column
    column: Column
    twin: Column | None = None
    threads: Share
    devices: Share = 1

    @property
    def id(self) -> str:
        """Hash (16 hex) of everything that could change the predictions."""
        place = {"seed": self.seed, "column": self.column}
        if self.twin is not None:
            place["twin"] = self.twin
        return digest(self._identity() | place)[:16]

    @property
    def draws_column(self) -> int:
        """The column whose random draws the training makes: arms differ in images alone."""
        return self.column if self.twin is None else self.twin

    @property
    def row_id(self) -> str:
        """Hash (16 hex) of what all jobs of one row share: rows with different ones never pool."""
        return digest(self._identity())[:16]

    @property
    def slot(self) -> TrainingKey:
        """Which seed, repeat and fold this is."""
        return TrainingKey(self.seed, self.repeat, self.fold)

    @property
    def members(self) -> tuple[str, ...]:
        """The rows that an ensemble joins; none where the job is no ensemble's."""
        named = str(self.variant.get(MEMBERS, ""))
        return tuple(named.split(BETWEEN)) if named else ()

    def _identity(self) -> dict[str, Any]:
        apart = {"variant", "row", "recipe", "seed", "repeat", "fold", "column", "twin"}
        if self.devices == 1:
            apart.add("devices")  # jobs that were done before there were others keep their ids
        return self.model_dump(exclude=apart) | {"recipe": self.recipe.changed_options()}


class JobLocation(_Frozen):
    """Where a job finds its data and leaves its results: paths on this machine, and the device.

    method_file  the method's Python file, or `bench.methods:NAME` of an installed package
    store        folder of the pixels, without labels
    fold_table   file with the labels of train and val, and the test part without them
    folder       where the results go
    checkpoint_seconds  longest time that an interruption may undo
    timeout_seconds, memory_gib, disk_gib  what one process of the job may take at most; None: all
    tensorboard   whether the training tells TensorBoard how it goes
    unlabelled    folder of the pixels of images without labels; None: the job has none
    """

    method_file: AnyPath
    store: AnyPath
    fold_table: AnyPath
    weights: AnyPath | None
    folder: AnyPath
    device: Literal["auto", "cpu", "cuda"]
    checkpoint_seconds: Cost = 60.0
    timeout_seconds: Limit | None = None
    memory_gib: Limit | None = None
    disk_gib: Limit | None = None
    tensorboard: bool = True
    unlabelled: AnyPath | None = None


class JobFile(_Frozen):
    """The content of job.json: all that `bench.py job JOB.json` needs to repeat a job by hand.

    command  gives the whole row again, by anyone who has the data
    """

    id: str
    command: str
    job: Job
    place: JobLocation


class RunRecord(_Frozen):
    """What happened: the content of record.json, written last.

    started, finished  UTC, ISO 8601: the first process's start, the last one's end
    wall_seconds, cpu_seconds  summed over all processes that worked on the job
    resumed  processes that were interrupted before the one that finished
    facts    what the method said of itself: selected epoch, val score, parameters, ...
    notes    sentences that every page about this row shows
    command  gives the whole row again, by anyone who has the data
    files    sha256 of every file beside the record
    """

    id: str
    job: Job
    started: str
    finished: str
    wall_seconds: Cost
    cpu_seconds: Cost
    peak_memory_bytes: Annotated[int, Field(ge=0)]
    resumed: Annotated[int, Field(ge=0)]
    host: dict[str, Any]
    versions: dict[str, str]
    git_commit: str
    git_dirty: bool
    device: str
    facts: dict[str, Any]
    notes: list[str]
    command: str
    files: dict[Below, str]


def to_json(content: JobFile | RunRecord) -> str:
    """Readable JSON of a job file or record."""
    return json.dumps(content.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def parse_job_file(text: str, where: str) -> JobFile:
    """Read a job.json. Raises ResultsError that names the file and the fault."""
    parsed = _parse(JobFile, text, where)
    if parsed.id != parsed.job.id:
        raise ResultsError(f"{where}: says id {parsed.id}, but its content has {parsed.job.id}")
    return parsed


def parse_record(text: str, where: str) -> RunRecord:
    """Read a record.json. Raises ResultsError that names the file and the fault."""
    parsed = _parse(RunRecord, text, where)
    if parsed.id != parsed.job.id:
        raise ResultsError(f"{where}: says id {parsed.id}, but its content has {parsed.job.id}")
    return parsed


def _parse(kind: type[T], text: str, where: str) -> T:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        places = [where, ".".join(map(str, first["loc"]))]
        said = [*filter(None, places), str(first["msg"]).lower()]
        raise ResultsError(": ".join(said)) from None
