"""Jobs: one training of one method on one fold, its inputs and outputs, and its record.

The id of a Job is the hash of all that could change its predictions. File locations, device and the
number of jobs at the same time do not change it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from bench.errors import ResultsError
from bench.io import class_fault
from bench.method import Recipe
from bench.predictions import TrainingKey
from bench.settings import PACKAGE

MEMBERS = "ensemble of"
"""Key of the members in the variant of an ensemble."""
BETWEEN = " + "
T = TypeVar("T", "JobFile", "RunRecord")


def digest(content: Any) -> str:
    """sha256 of the canonical JSON of plain data."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain_name(name: str) -> str:
    """A name that is valid for a folder. Raises ValueError for a path."""
    if name in {"", ".", ".."} or any(mark in name for mark in "/\\") or not name.isprintable():
        raise ValueError("not a valid name of a folder")
    return name


def _below(path: str) -> str:
    """A path below a job's folder. Raises ValueError for a path outside of it."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise ValueError("not a path below the job's folder")
    return path


def _path(path: str) -> str:
    """A path on this machine. Raises ValueError for a null byte."""
    if "\0" in path:
        raise ValueError("not a path")
    return path


def class_name(name: str) -> str:
    """A valid class name. Raises ValueError with the fault."""
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
    """One training of one method on one fold.

    row             name of the row in the results: the method, or method@<8 hex of the variant>
    variant         differences to the method's recipe and to the dataset's original pixels
    method_source   sha256 of the method's code below its docstring
    roles_sha256    the frozen roles: membership of every fold
    classes         class names in the order of the probability columns
    roster_sha256, pixels_sha256  the data: image list and labels; files and preprocessing
    weights_sha256  pretrained weights, "" for training from scratch
    metadata_sha256  age, sex and localization by image id; "" for a method that cannot read them
    inputs_sha256  input files that the method declares, "" if it declares none
    column          the fold over all repeats: repeat x folds + fold
    twin            paired column: the column of the first arm, which has the same test part and
                    random draws; None for a protocol without arms
    devices         processes that share one training, each on a separate device
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
    metadata_sha256: str = ""
    inputs_sha256: str = ""
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
        """The column that seeds the random draws: arms differ in images alone."""
        return self.column if self.twin is None else self.twin

    @property
    def row_id(self) -> str:
        """Hash (16 hex) of what all jobs of a row share; different row ids are never pooled."""
        return digest(self._identity())[:16]

    @property
    def slot(self) -> TrainingKey:
        """Seed, repeat and fold."""
        return TrainingKey(self.seed, self.repeat, self.fold)

    @property
    def members(self) -> tuple[str, ...]:
        """The rows that an ensemble pools; empty for a trained method."""
        named = str(self.variant.get(MEMBERS, ""))
        return tuple(named.split(BETWEEN)) if named else ()

    def _identity(self) -> dict[str, Any]:
        apart = {"variant", "row", "recipe", "seed", "repeat", "fold", "column", "twin"}
        if self.devices == 1:
            apart.add("devices")  # a hash of a job on one device does not contain it
        # nor does the hash of a job that reads no metadata and declares no inputs
        apart |= {name for name in ("metadata_sha256", "inputs_sha256") if not getattr(self, name)}
        return self.model_dump(exclude=apart) | {"recipe": self.recipe.changed_options()}


PARTS = {
    "method_source": "code of the method",
    "recipe": "recipe",
    "weights_sha256": "weights",
    "threads": "threads",
    "devices": "devices",
    "pixels_sha256": "pixels",
    "metadata_sha256": "metadata (age, sex, site)",
    "inputs_sha256": "input files of the method",
    "roster_sha256": "images or labels",
    "classes": "classes",
    "roles_sha256": "roles",
}
"""What a job id covers, by the field of a Job; see `different_parts`."""


def different_parts(one: Job, other: Job) -> str:
    """What differs between two jobs of a row: "threads and pixels"; "" if nothing does."""
    names = [text for name, text in PARTS.items() if getattr(one, name) != getattr(other, name)]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


ENGINE = (
    "train/*.py",
    *(f"data/{name}.py" for name in (
        "appearance", "cache", "fold_task", "images", "metadata_words", "preprocess",
    )),
    *(f"{name}.py" for name in ("calibrate", "dataset", "method", "predictions", "recipe")),
    "run/worker.py",
)  # fmt: skip
"""Source files below bench/ that compute the predictions of a job. Readers of datasets are not
included, since what they read is part of the job id."""


@cache
def engine_sha256() -> str:
    """Hash of the source of the bench that computes predictions, read once a process."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in ENGINE for path in PACKAGE.glob(pattern)):
        source = path.read_text(encoding="utf-8")  # the same for both kinds of line ends
        name = path.relative_to(PACKAGE).as_posix()
        digest.update(f"{name} {hashlib.sha256(source.encode()).hexdigest()}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits of one process of a job; None: no limit. Memory excludes mapped files."""

    seconds: float | None = None
    memory_gib: float | None = None
    disk_gib: float | None = None


class JobLocation(_Frozen):
    """Inputs and outputs of a job on this machine: paths, device and limits.

    method_file  the method's Python file, or `bench.methods:NAME` of an installed package
    store        folder of the image cache: pixels without labels
    fold_table   file with the labels of train and val, and the test part without labels
    folder       folder of the results
    checkpoint_seconds  interval of checkpoints: the most work that an interruption loses
    timeout_seconds, memory_gib, disk_gib  limits of one process of the job; None: no limit
    tensorboard   whether the training writes TensorBoard events
    unlabelled    folder of the image cache of unlabelled images; None: the job has none
    engine_sha256  a finished job counts as done only if this engine made it; "": any engine
    keep_state    whether a finished job keeps the state of its training
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
    engine_sha256: str = ""
    keep_state: bool = False

    @property
    def limits(self) -> ResourceLimits:
        """The limits of one process of the job."""
        return ResourceLimits(self.timeout_seconds, self.memory_gib, self.disk_gib)


class JobFile(_Frozen):
    """The content of job.json: all that `bench.py job JOB.json` needs.

    command  the command line that reproduces the row
    """

    id: str
    command: str
    job: Job
    place: JobLocation


class RunRecord(_Frozen):
    """The result of a job: the content of record.json, written last.

    started, finished  UTC, ISO 8601: start of the first process, end of the last one
    wall_seconds, cpu_seconds  summed over all processes that worked on the job
    resumed  number of processes that were interrupted before the last one
    facts    reported by the method: selected epoch, val score, parameters, ...
    notes    sentences that every page about this row shows
    command  the command line that reproduces the row
    files    sha256 of every file beside the record
    engine_sha256  hash of the bench's source that made the predictions; "" in records from before
                   it was recorded, and of ensembles, which train nothing
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
    engine_sha256: str = ""


def to_json(content: JobFile | RunRecord) -> str:
    """Readable JSON of a job file or record."""
    return json.dumps(content.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def parse_job_file(text: str, where: str) -> JobFile:
    """Read a job.json. Raises ResultsError that names the file and the fault."""
    return _parse(JobFile, text, where)


def parse_record(text: str, where: str) -> RunRecord:
    """Read a record.json. Raises ResultsError that names the file and the fault."""
    return _parse(RunRecord, text, where)


def _parse(kind: type[T], text: str, where: str) -> T:
    try:
        parsed = kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = ": ".join(filter(None, [where, place, str(first["msg"]).lower()]))
        raise ResultsError(message) from None
    if parsed.id != parsed.job.id:
        raise ResultsError(f"{where}: id {parsed.id} does not match its content ({parsed.job.id})")
    return parsed
