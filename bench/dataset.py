"""Records of a dataset: image, lesion, patient, label and metadata.

A Manifest opens no files and holds no pixels. It is built by `bench.data` and read by everyone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import DataError, listing
from bench.io import FORMULA, class_fault


@dataclass(frozen=True, slots=True)
class UnlabelledRecord:
    """All that a method may know of a test image beside its pixels.

    age is in years. None means missing.
    """

    image_id: str
    age: float | None = None
    sex: str | None = None
    localization: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a dataset. None means missing.

    group_id joins what lesion and patient ids leave apart, or stands in for both.
    image_size is "600x450", of the image's file and upright; known only where somebody looked.
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


def unlabelled_records(table: pd.DataFrame) -> tuple[UnlabelledRecord, ...]:
    """Rows of a table with the columns of UnlabelledRecord; missing values become None."""
    columns = [table[field.name].tolist() for field in fields(UnlabelledRecord)]
    return tuple(
        UnlabelledRecord(image_id, *(None if pd.isna(value) else value for value in rest))
        for image_id, *rest in zip(*columns, strict=True)
    )


@dataclass(frozen=True)
class Dataset:
    """A dataset's roster, one row an image, sorted by image id.

    name      short lower-case name, as protocols and folders use it ("ham10000")
    title     name for people ("HAM10000")
    classes   class names in the order of every probability column
    table     DataFrame with the columns of Record; missing values are None (age: NaN)
    synthetic whether the images were drawn by a program
    native_size (width, height) in pixels of the dataset as its authors publish it, if known
    licence, citation  one line each, shown wherever the data is
    malignant classes that a view of malignant against benign joins; none where nobody says which

    Raises DataError for class names that are no plain words, duplicate image ids, labels outside
    `classes`, or a lesion with two diagnoses.
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
        for late in ("group_id", "image_size"):
            if late not in self.table.columns:
                object.__setattr__(self, "table", self.table.assign(**{late: None}))
        missing = [column for column in COLUMNS if column not in self.table.columns]
        if missing:
            raise DataError(f"{self.name}: the manifest lacks the columns {listing(missing)}")
        table = self.table.loc[:, list(COLUMNS)].sort_values("image_id", kind="stable")
        table = table.reset_index(drop=True)
        object.__setattr__(self, "table", table)
        strange = [label for label in self.malignant if label not in self.classes]
        if strange:
            raise DataError(f"{self.name}: malignant classes it has not: {listing(strange)}")
        self._refuse_odd_classes()
        self._refuse_formulas()
        self._refuse_duplicates()
        self._refuse_unknown_labels()
        self._refuse_conflicting_diagnoses()

    @classmethod
    def from_records(
        cls, name: str, classes: tuple[str, ...], records: Iterable[Record], **rest: Any
    ) -> Dataset:
        """Build a manifest from single records, as tests and small sources do."""
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
        """What never parts (N,) of str: the group id, else patient, lesion or image id."""
        groups = self.table["group_id"]
        for column in ("patient_id", "lesion_id", "image_id"):
            groups = groups.where(groups.notna(), self.table[column])
        return groups.to_numpy(dtype=object)

    @property
    def unit(self) -> str:
        """What a group is: "patient" where such ids are, else "lesion", "group" or "image"."""
        known = self.table.notna().any()
        named = (unit for unit in ("patient", "lesion", "group") if known[f"{unit}_id"])
        return next(named, "image")

    @property
    def ungrouped(self) -> int:
        """Images with neither patient, lesion nor group id; each is a group of its own."""
        return int(self.table[["patient_id", "lesion_id", "group_id"]].isna().all(axis=1).sum())

    @cached_property
    def roster_sha256(self) -> str:
        """Hash of who is in the dataset, whatever the file dialect, row order or resolution.

        sha256 over the UTF-8 lines `image_id,native_group,label` + newline, sorted by image_id.
        """
        digest = hashlib.sha256()
        labels = self.table["label"]
        for image_id, group, label in zip(self.image_ids, self.native_groups, labels, strict=True):
            digest.update(f"{image_id},{group},{label}\n".encode())
        return digest.hexdigest()

    def unlabelled(self, rows: np.ndarray) -> tuple[UnlabelledRecord, ...]:
        """The rows as a method may see them: no label, no diagnosis type, no source, no group."""
        visible = [field.name for field in fields(UnlabelledRecord)]
        return unlabelled_records(self.table.iloc[rows].loc[:, visible])

    def _refuse_odd_classes(self) -> None:
        """Their names head columns and name pictures, wherever they come from."""
        odd = [f"{name!r} {fault}" for name in self.classes if (fault := class_fault(name))]
        if odd:
            raise DataError(f"{self.name}: names of classes: {listing(odd)}; rename them")

    def _refuse_formulas(self) -> None:
        """Ids go into tables that people open in spreadsheets, which would calculate these."""
        for column in ("image_id", "lesion_id", "patient_id", "group_id"):
            ids = self.table[column].dropna().astype(str)
            odd = ids[ids.str.startswith(FORMULA)].unique().tolist()
            if odd:
                raise DataError(
                    f"{self.name}: {column}s that a spreadsheet takes for formulas: "
                    f"{listing([repr(each) for each in odd])}; rename them"
                )

    def _refuse_duplicates(self) -> None:
        ids = self.table["image_id"]
        twice = ids[ids.duplicated()].unique().tolist()
        if twice:
            raise DataError(
                f"{self.name}: image ids that stand in more than one row: {listing(twice)}; "
                "keep one row an image in the metadata"
            )

    def _refuse_unknown_labels(self) -> None:
        unknown = self.table[~self.table["label"].isin(self.classes)]
        if len(unknown):
            named = [f"{row.label!r} ({row.image_id})" for row in unknown.itertuples()]
            raise DataError(
                f"{self.name}: unknown diagnoses {listing(named)}; "
                f"known are {', '.join(self.classes)}"
            )

    def _refuse_conflicting_diagnoses(self) -> None:
        known = self.table[self.table["lesion_id"].notna()]
        counts = known.groupby("lesion_id", sort=True)["label"].nunique()
        torn = counts[counts > 1].index.tolist()
        if torn:
            raise DataError(
                f"{self.name}: lesions with two diagnoses: {listing(torn)}; "
                "correct the metadata, or give the images lesion ids of their own"
            )
