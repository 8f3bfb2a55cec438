"""Records of a dataset: image, lesion, patient, label and metadata.

A Dataset opens no files and has no pixels. `bench.data` builds it; all other packages read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import DataError, listing
from bench.io import FORMULA, class_fault


@dataclass(frozen=True, slots=True)
class UnlabelledRecord:
    """The metadata of a test image that a method may use.

    age is in years. None means missing.
    """

    image_id: str
    age: float | None = None
    sex: str | None = None
    localization: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a dataset. None means missing.

    group_id joins images that lesion and patient ids do not join, or replaces both ids.
    image_size is the upright size of the image file, "600x450"; None unless files were read.
    """

    image_id: str
    label: str
    lesion_id: str | None = None
    patient_id: str | None = None
    age: float | None = None
    sex: str | None = None
    localization: str | None = None
    dx_type: str | None = None
    source: str | None = None
    group_id: str | None = None
    image_size: str | None = None


COLUMNS = tuple(field.name for field in fields(Record))

FOLD_AGES = (0, 30, 45, 60, 75)
SUBGROUP_AGES = (0, 20, 40, 60, 80)
METADATA_AGES = tuple(range(0, 140, 10))
"""First years of the age bands: of folds (frozen roles), of subgroup metrics (committed results),
and of metadata words (committed methods). The values differ because each is part of results."""


def age_bands(years: pd.Series, edges: Sequence[int], band: str, last: str) -> pd.Series:
    """The age band of every age in years, as text; NaN stays NaN.

    edges  first year of each band
    band   format of a band with its first and last year, such as "{}-{}"; last: of the open band
    """
    names = [band.format(low, high - 1) for low, high in pairwise(edges)]
    names.append(last.format(edges[-1]))
    ages = years.astype(np.float64)
    return pd.cut(ages, [*map(float, edges), np.inf], right=False, labels=names).astype(object)


def unlabelled_records(table: pd.DataFrame) -> tuple[UnlabelledRecord, ...]:
    """Rows of a table with the columns of UnlabelledRecord; missing values become None."""
    columns = [table[field.name].tolist() for field in fields(UnlabelledRecord)]
    return tuple(
        UnlabelledRecord(image_id, *(None if pd.isna(value) else value for value in rest))
        for image_id, *rest in zip(*columns, strict=True)
    )


@dataclass(frozen=True)
class Dataset:
    """The image list of a dataset, one row per image, sorted by image id.

    name      short lower-case name, used by protocols and folders ("ham10000")
    title     displayed name ("HAM10000")
    classes   class names in the order of every probability column
    table     DataFrame with the columns of Record; missing values are None (age: NaN)
    synthetic whether a program drew the images
    native_size (width, height) in pixels of the published images, if known
    licence, citation  one line each, shown with the data
    malignant malignant classes, for metrics of malignant against benign; empty if unknown

    Raises DataError for invalid class names, duplicate image ids, labels outside `classes`, or a
    lesion with two diagnoses.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    table: pd.DataFrame
    synthetic: bool = False
    native_size: tuple[int, int] | None = None
    licence: str = ""
    citation: str = ""
    malignant: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for optional in ("group_id", "image_size"):
            if optional not in self.table.columns:
                object.__setattr__(self, "table", self.table.assign(**{optional: None}))
        missing = [column for column in COLUMNS if column not in self.table.columns]
        if missing:
            raise DataError(f"{self.name}: the metadata table lacks the columns {listing(missing)}")
        table = self.table.loc[:, list(COLUMNS)].sort_values("image_id", kind="stable")
        table = table.reset_index(drop=True)
        object.__setattr__(self, "table", table)
        unknown = [label for label in self.malignant if label not in self.classes]
        if unknown:
            raise DataError(f"{self.name}: malignant classes are not classes: {listing(unknown)}")
        self._refuse_invalid_classes()
        self._refuse_formulas()
        self._refuse_duplicates()
        self._refuse_unknown_labels()
        self._refuse_conflicting_diagnoses()

    @classmethod
    def from_records(
        cls, name: str, classes: tuple[str, ...], records: Iterable[Record], **rest: Any
    ) -> Dataset:
        """Build a dataset from records; `rest` are further fields of Dataset."""
        table = pd.DataFrame([asdict(record) for record in records], columns=list(COLUMNS))
        title = rest.pop("title", name)
        return cls(name=name, title=title, classes=classes, table=table, **rest)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def image_ids(self) -> np.ndarray:
        """Image ids (N,) of str, sorted."""
        return self.table["image_id"].to_numpy(dtype=object)

    @cached_property
    def labels(self) -> np.ndarray:
        """Class index of every image (N,) int64, in the order of `classes`."""
        codes = {name: code for code, name in enumerate(self.classes)}
        return self.table["label"].map(codes).to_numpy(dtype=np.int64)

    @cached_property
    def native_groups(self) -> np.ndarray:
        """The group of every image (N,) of str: its group id, else patient, lesion or image id."""
        groups = self.table["group_id"]
        for column in ("patient_id", "lesion_id", "image_id"):
            groups = groups.where(groups.notna(), self.table[column])
        return groups.to_numpy(dtype=object)

    @property
    def unit(self) -> str:
        """The unit of groups: "patient" if such ids exist, else "lesion", "group" or "image"."""
        known = self.table.notna().any()
        units = (unit for unit in ("patient", "lesion", "group") if known[f"{unit}_id"])
        return next(units, "image")

    @property
    def ungrouped(self) -> int:
        """The number of images without patient, lesion and group id; each is a separate group."""
        return int(self.table[["patient_id", "lesion_id", "group_id"]].isna().all(axis=1).sum())

    @cached_property
    def roster_sha256(self) -> str:
        """Hash of the image list; independent of file dialect, row order and resolution.

        sha256 over the UTF-8 lines `image_id,native_group,label` + newline, sorted by image_id.
        """
        digest = hashlib.sha256()
        labels = self.table["label"]
        for image_id, group, label in zip(self.image_ids, self.native_groups, labels, strict=True):
            digest.update(f"{image_id},{group},{label}\n".encode())
        return digest.hexdigest()

    def unlabelled(self, rows: np.ndarray) -> tuple[UnlabelledRecord, ...]:
        """The rows without label, diagnosis type, source and group, as methods receive them."""
        visible = [field.name for field in fields(UnlabelledRecord)]
        return unlabelled_records(self.table.iloc[rows].loc[:, visible])

    def _refuse_invalid_classes(self) -> None:
        """Class names are used as column names and file names."""
        faults = [f"{name!r} {fault}" for name in self.classes if (fault := class_fault(name))]
        if faults:
            raise DataError(f"{self.name}: names of classes: {listing(faults)}; rename them")

    def _refuse_formulas(self) -> None:
        """A spreadsheet would calculate ids that look like formulas."""
        for column in ("image_id", "lesion_id", "patient_id", "group_id"):
            ids = self.table[column].dropna().astype(str)
            formulas = ids[ids.str.startswith(FORMULA)].unique().tolist()
            if formulas:
                raise DataError(
                    f"{self.name}: {column}s that a spreadsheet treats as formulas: "
                    f"{listing([repr(each) for each in formulas])}; rename them"
                )

    def _refuse_duplicates(self) -> None:
        ids = self.table["image_id"]
        repeated = ids[ids.duplicated()].unique().tolist()
        if repeated:
            raise DataError(
                f"{self.name}: image ids in more than one row: {listing(repeated)}; "
                "keep one row per image in the metadata"
            )

    def _refuse_unknown_labels(self) -> None:
        unknown = self.table[~self.table["label"].isin(self.classes)]
        if len(unknown):
            labels = [f"{row.label!r} ({row.image_id})" for row in unknown.itertuples()]
            raise DataError(
                f"{self.name}: unknown diagnoses {listing(labels)}; "
                f"known are {', '.join(self.classes)}"
            )

    def _refuse_conflicting_diagnoses(self) -> None:
        known = self.table[self.table["lesion_id"].notna()]
        counts = known.groupby("lesion_id", sort=True)["label"].nunique()
        conflicting = counts[counts > 1].index.tolist()
        if conflicting:
            raise DataError(
                f"{self.name}: lesions with two diagnoses: {listing(conflicting)}; "
                "correct the diagnoses in the metadata, or use separate lesion ids"
            )
