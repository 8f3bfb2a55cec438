"""Protocols and roles: the part of every image in every fold, frozen before training.

A Protocol is a TOML file of `protocols/`. Its Roles are a CSV file of fold membership, and the
protocol records the sha256 of that file. Membership is stored instead of a seed because library
versions change the output of a seeded splitter.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from bench.dataset import Dataset
from bench.errors import ProtocolError, RolesError, listing, suggest
from bench.io import read_file

PARTS = ("", "train", "val", "test")
"""The role of an image in a fold; a cell of `Roles.parts` is an index into this tuple."""
LEFT_OUT, TRAIN, VAL, TEST = range(len(PARTS))

Kind = Literal[
    "groupkfold", "holdout", "source-holdout", "imagekfold", "learning-curve", "leakage-meter"
]

Assigner = Literal["greedy", "iterative"]

NAME = r"^[a-z0-9][a-z0-9-]*$"
"""Pattern of protocol names; the name is the stem of the file."""
INSIDE = r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)*$"
"""Pattern of paths below the folder of protocols; they cannot leave it."""
MOST_FOLDS = 1000
MOST_LISTED = 10
"""The largest number of protocols that an error message lists."""
MOST_BYTES = 1 << 20
"""Limit for a protocol file."""
PLACE = r"^fold\d+\.(train|val|test)$"

ROSTER_PREFIX = "# roster_sha256="


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Split(_Section):
    """How the folds are drawn; `bench.folds.kinds` describes each kind.

    folds       number of folds of one repeat and, with arms, of one arm
    val, test   shares of all images; `test` is for `holdout` only
    stratify    attributes that the split balances
    dealer      assigner of whole groups to folds (the key of the file format); see
                `bench.folds.kinds`
    candidates  number of splits to draw; the best-balanced one is kept
    arms        name -> fold columns: the same folds with other training images. Rows are ranked by
                the first arm, and the other arms are compared with it; the n-th columns of all arms
                have the same test part
    control     groups are divided on purpose; rows are never ranked
    """

    kind: Kind
    folds: Annotated[int, Field(ge=1, le=MOST_FOLDS)]
    repeats: Annotated[int, Field(ge=1, le=MOST_FOLDS)] = 1
    seed: int
    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)] | None = None
    stratify: list[str] = ["label"]
    dealer: Assigner = "greedy"
    candidates: Annotated[int, Field(ge=1, le=10_000)] = 1
    arms: dict[str, list[str]] = {}
    control: bool = False

    @property
    def arm_columns(self) -> dict[str, tuple[int, ...]]:
        """The fold columns of every arm, in the order of the file."""
        return {
            arm: tuple(int(column.removeprefix("fold")) for column in columns)
            for arm, columns in self.arms.items()
        }


class Run(_Section):
    """Seeds of a complete row of the leaderboard; further seeds are shown, not ranked."""

    seeds: Annotated[list[int], Field(min_length=1)] = [0]


class Metrics(_Section):
    """The ranking metric, and further metrics in the order of the table."""

    primary: str = "macro_f1"
    others: list[str] = []


class Interval(_Section):
    """Settings of the intervals: resamples of groups, confidence level, method."""

    resamples: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    method: Literal["bca", "percentile"] = "bca"


class RolesFile(_Section):
    """The frozen roles of a dataset: file (relative to the folder of protocols) and sha256.

    absent  classes of the dataset without an image in a part of a fold, by "fold1.test"
    """

    file: Annotated[str, Field(pattern=INSIDE)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    absent: dict[Annotated[str, Field(pattern=PLACE)], list[str]] = {}
    _folder: Path | None = PrivateAttr(default=None)

    def within(self, folder: Path) -> RolesFile:
        """The same entry, read from another folder: the workspace's."""
        copy = self.model_copy()
        copy._folder = folder  # noqa: SLF001 - a copy of this class
        return copy

    def path(self, folder: Path) -> Path:
        """The roles file, in the protocols' folder unless the entry has its own."""
        return (self._folder or folder) / self.file


class DatasetSettings(_Section):
    """Recipe values that a protocol fixes for one dataset."""

    image_size: Annotated[int, Field(ge=8)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None

    def overrides(self) -> dict[str, Any]:
        """The fixed values as recipe overrides."""
        return self.model_dump(exclude_none=True)


class Protocol(_Section):
    """The split, the seeds, the metrics and the intervals of an evaluation."""

    name: Annotated[str, Field(pattern=NAME)]
    title: str
    unit: Literal["patient"] = "patient"
    split: Split
    run: Run = Run()
    metrics: Metrics = Metrics()
    interval: Interval = Interval()
    roles: dict[str, RolesFile] = {}
    datasets: dict[str, DatasetSettings] = {}

    @property
    def folds(self) -> int:
        """Fold columns of one repeat, over all arms."""
        return self.split.folds * max(1, len(self.split.arms))

    @property
    def columns(self) -> int:
        """Fold columns of a roles file: over all arms and repeats."""
        return self.folds * self.split.repeats

    def settings(self, dataset: str) -> DatasetSettings:
        """The recipe values that this protocol fixes for a dataset; often none."""
        return self.datasets.get(dataset, DatasetSettings())


def parse_protocol(text: str, where: str) -> Protocol:
    """Parse the TOML of a protocol. Raises ProtocolError that names the file (`where`) and key."""
    if len(text) > MOST_BYTES:
        raise ProtocolError(f"{where}: larger than {MOST_BYTES >> 20} MiB; is it the right file?")
    try:
        protocol = Protocol.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ProtocolError(f"{where}: not TOML: {error}") from None
    except RecursionError:
        raise ProtocolError(f"{where}: nested too deep for a protocol") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors()]
        raise ProtocolError(f"{where}: {'; '.join(faults)}") from None
    for fault in _contradictions(protocol.split):
        raise ProtocolError(f"{where}: {fault}")
    return protocol


def _contradictions(split: Split) -> Iterator[str]:
    """Contradictions between keys of a split that are valid one by one."""
    kind = split.kind
    fewest = 1 if kind == "holdout" else 2
    if split.folds < fewest or (kind == "holdout" and split.folds != 1):
        number = "one fold" if kind == "holdout" else "two folds or more"
        yield f"split.folds: {kind} needs {number}"
    if (kind == "holdout") != (split.test is not None):
        yield f"split.test: holdout needs a share for test, other kinds have none; kind is {kind}"
    if split.val + (split.test or 0) >= 1:
        yield f"split.val: {split.val} for val and {split.test or 0} for test leave no train part"
    if kind in ("imagekfold", "leakage-meter") and not split.control:
        yield f"split.control: must be true; {kind} divides groups on purpose"
    if split.dealer == "iterative" and kind != "groupkfold":
        yield f"split.dealer: iterative is for groupkfold only; use greedy for {kind}"
    yield from _arm_contradictions(split)


def _arm_contradictions(split: Split) -> Iterator[str]:
    needed = split.kind in ("learning-curve", "leakage-meter")
    if needed != bool(split.arms):
        yield f"split.arms: {split.kind} {'needs arms' if needed else 'has no arms'}"
    if split.arms and split.repeats != 1:
        yield "split.repeats: must be 1 with arms"
    columns = [column for arm in split.arms.values() for column in arm]
    if columns != [f"fold{column}" for column in range(len(columns))] or any(
        len(arm) != split.folds for arm in split.arms.values()
    ):
        yield f"split.arms: each arm needs {split.folds} columns; all arms list fold0, fold1, ..."
    if split.kind == "leakage-meter" and (split.folds, list(split.arms)) != (2, ["clean", "leaky"]):
        yield "split.arms: leakage-meter needs the arms clean and leaky with 2 folds each"
    if split.kind == "learning-curve":
        shares = [arm_share(arm) for arm in split.arms]
        if shares[:1] != [1.0] or shares != sorted(set(shares), reverse=True):
            yield 'split.arms: learning-curve needs arms such as "100%", "50%", "10%", 100% first'


def arm_share(arm: str) -> float:
    """The share in the name of an arm of a learning curve: 0.25 for "25%", NaN for no share."""
    percent = arm.removesuffix("%")
    numeric = arm.endswith("%") and percent.isascii() and percent.isdigit()
    return int(percent) / 100 if numeric and 0 < int(percent) <= 100 else float("nan")  # noqa: PLR2004


def load_protocol(name: str, folder: Path) -> Protocol:
    """The protocol `name` of a folder of protocols.

    Raises ProtocolError that suggests similar names if the protocol does not exist.
    """
    path = folder / f"{name}.toml"
    known = sorted(file.stem for file in folder.glob("*.toml"))
    if name not in known:
        short = len(known) <= MOST_LISTED
        names = f"known are {listing(known)}" if short else "python bench.py protocol list"
        raise ProtocolError(f"unknown protocol {name!r}; {names}{suggest(name, known)}")
    try:
        text = read_file(path).decode("utf-8")
    except OSError as error:
        raise ProtocolError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProtocolError(f"{path}: is not UTF-8 text") from None
    protocol = parse_protocol(text, str(path))
    if protocol.name != name:
        raise ProtocolError(
            f"{path}: the file has the name {protocol.name!r}; rename the file or the protocol"
        )
    return protocol


def load_protocols(folder: Path) -> dict[str, Protocol]:
    """All protocols of a folder by name."""
    names = sorted(path.stem for path in folder.glob("*.toml"))
    return {name: load_protocol(name, folder) for name in names}


@dataclass(frozen=True)
class Roles:
    """The role of every image in every fold.

    roster_sha256  hash of the image list for which the roles were frozen
    image_ids (N,), group_ids (N,) of str, sorted by image id; a group is a native group, or
              several native groups joined by known duplicates
    parts (N, F) uint8, indices into PARTS; F = repeats x folds, repeat-major
    """

    roster_sha256: str
    image_ids: np.ndarray
    group_ids: np.ndarray
    parts: np.ndarray

    @property
    def columns(self) -> int:
        """Number of folds over all repeats."""
        return int(self.parts.shape[1])

    def rows(self, column: int, part: str) -> np.ndarray:
        """Positions (in image-id order) of the images that are `part` in a fold column."""
        return np.flatnonzero(self.parts[:, column] == PARTS.index(part))

    def refuse_other_roster(self, dataset: Dataset) -> None:
        """Raise RolesError unless the roles were frozen for the image list of this dataset."""
        if dataset.roster_sha256 == self.roster_sha256:
            return
        have, want = set(dataset.image_ids.tolist()), set(self.image_ids.tolist())
        if have == want:
            detail = "the same images, but other labels or other groups"
        else:
            missing, new = sorted(want - have), sorted(have - want)
            detail = "; ".join(
                f"{len(ids)} images {what}: {listing(ids, 3)}"
                for ids, what in ((missing, "missing from the data"), (new, "unknown to the roles"))
                if ids
            )
        raise RolesError(
            f"the frozen roles belong to another image list of {dataset.name} ({detail}); use the "
            "complete original metadata, or freeze a protocol with a new name: "
            "python bench.py protocol freeze --help"
        )


def format_roles(roles: Roles) -> str:
    """The text of a roles file: the hash of the image list, a header, one row per image."""
    columns = {"image_id": roles.image_ids, "group_id": roles.group_ids}
    names = np.array(PARTS, dtype=object)
    columns |= {f"fold{fold}": names[roles.parts[:, fold]] for fold in range(roles.columns)}
    body = pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
    return f"{ROSTER_PREFIX}{roles.roster_sha256}\n{body}"


def parse_roles(text: str, where: str) -> Roles:
    """Parse a roles file. Raises RolesError that names the line or cell."""
    first, _, body = text.partition("\n")
    if not first.startswith(ROSTER_PREFIX):
        raise RolesError(f"{where}: the first line must be {ROSTER_PREFIX}<hash>")
    header, *rows = _read_rows(body, where)
    folds = [f"fold{fold}" for fold in range(len(header) - 2)]
    if header != ["image_id", "group_id", *folds] or not folds:
        raise RolesError(f"{where}: the header must be image_id,group_id,fold0,...")
    table = pd.DataFrame(rows, columns=header, dtype=object)
    cells = table[folds].to_numpy(dtype=object)
    codes = pd.Index(PARTS).get_indexer(pd.Index(cells.ravel())).reshape(cells.shape)
    if (codes < 0).any():
        row, column = np.argwhere(codes < 0)[0]
        raise RolesError(
            f"{where}: {table['image_id'][row]} is {cells[row, column]!r} in fold{column}; "
            "a cell is train, val, test or empty"
        )
    repeated = table["image_id"][table["image_id"].duplicated()]
    if len(repeated):
        raise RolesError(f"{where}: images in more than one row: {listing(repeated.tolist())}")
    order = np.argsort(table["image_id"].to_numpy(dtype=object), kind="stable")
    return Roles(
        roster_sha256=first.removeprefix(ROSTER_PREFIX).strip(),
        image_ids=table["image_id"].to_numpy(dtype=object)[order],
        group_ids=table["group_id"].to_numpy(dtype=object)[order],
        parts=codes.astype(np.uint8)[order],
    )


def _read_rows(text: str, where: str) -> list[list[str]]:
    """The header and the rows of a roles file; pandas would shift rows of another width.

    Raises RolesError that names the first line with another number of cells than the header.
    """
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        for row in lines:
            if rows and row and len(row) != len(rows[0]):
                raise RolesError(
                    f"{where}: line {lines.line_num + 1} ({row[0]}) has {len(row)} cells, the "
                    f"header has {len(rows[0])}; restore the file"
                )
            rows += [row] if row else []
    except csv.Error as error:
        raise RolesError(f"{where}: line {lines.line_num + 1}: not a CSV table: {error}") from None
    return rows or [[]]


def load_roles(protocol: Protocol, dataset: str, folder: Path) -> Roles:
    """The frozen roles of a dataset; their hash must be the one in the protocol."""
    known: Mapping[str, RolesFile] = protocol.roles
    if dataset not in known:
        raise ProtocolError(
            f"protocol {protocol.name} has no frozen roles for {dataset!r} (it has "
            f"{listing(sorted(known))}); freeze them: python bench.py protocol freeze --help"
        )
    path = known[dataset].path(folder)
    try:
        content = read_file(path)
    except OSError as error:
        raise RolesError(f"{path}: {error.strerror}; restore the committed file") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != known[dataset].sha256:
        raise RolesError(
            f"{path}: its sha256 is {actual[:12]}..., the protocol has "
            f"{known[dataset].sha256[:12]}...; frozen roles never change: restore the file"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise RolesError(f"{path}: is not UTF-8 text; restore the committed file") from None
    return parse_roles(text, str(path))
