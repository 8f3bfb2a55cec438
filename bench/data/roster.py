"""From lines of metadata to records, and from records to a Manifest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bench.data.faults import Fault, Report
from bench.data.tables import Line, control_fault
from bench.errors import DataError
from bench.manifest import COLUMNS, Manifest, Record

MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "unknown"})
OLDEST = 120.0
IDS = ("lesion_id", "patient_id", "group_id")
WORDS = ("sex", "localization", "dx_type", "source")

FIELDS: dict[str, tuple[str, ...]] = {
    "image_id": ("image_id", "isic_id", "image_name", "image"),
    "lesion_id": ("lesion_id",),
    "patient_id": ("patient_id",),
    "group_id": ("group_id",),
    "age": ("age", "age_approx"),
    "sex": ("sex",),
    "localization": (
        "localization",
        "anatom_site_general",
        "anatom_site_general_challenge",
        "anatom_site_1",
    ),
    "dx_type": ("dx_type", "diagnosis_confirm_type"),
    "source": ("dataset", "source"),
}
"""What the columns of a Record are called by those who publish such data, without the label."""


@dataclass(frozen=True)
class Roster:
    """What a source says of its images, not yet proven: the audit reads faulty ones, too.

    where  the file or folder it comes from, for messages
    malignant  classes that are, of those that it has
    """

    name: str
    title: str
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    where: str
    native_size: tuple[int, int] | None = None
    licence: str = ""
    citation: str = ""
    malignant: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """The records as a DataFrame with the columns of Record, in their order."""
        columns = {name: [getattr(record, name) for record in self.records] for name in COLUMNS}
        table = pd.DataFrame(columns, dtype=object)
        table["age"] = table["age"].astype(np.float64)
        return table

    def manifest(self) -> Manifest:
        """The Manifest of the records. Raises DataError that names the file and the fault."""
        if not self.records:
            raise DataError(
                f"{self.where}: no rows below the header; use the complete original metadata"
            )
        try:
            return Manifest(
                name=self.name,
                title=self.title,
                classes=self.classes,
                table=self.table(),
                native_size=self.native_size,
                licence=self.licence,
                citation=self.citation,
                malignant=tuple(label for label in self.malignant if label in self.classes),
            )
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from None

    def classes_found(self) -> Roster:
        """The same with the classes that its records have, sorted, where no list is fixed."""
        return replace(self, classes=tuple(sorted({record.label for record in self.records})))


def roster_of(manifest: Manifest) -> Roster:
    """The roster that a manifest's rows make."""
    table = manifest.table[list(COLUMNS)].astype(object).where(manifest.table.notna(), None)
    return Roster(
        name=manifest.name,
        title=manifest.title,
        classes=manifest.classes,
        records=tuple(Record(*row) for row in table.itertuples(index=False, name=None)),
        where=manifest.name,
        malignant=manifest.malignant,
    )


def columns_of(header: Iterable[str]) -> dict[str, str]:
    """Which column of a header holds which field of a Record, by the names in use."""
    names = set(header)
    chosen = {}
    for field, known in FIELDS.items():
        column = next((column for column in known if column in names), None)
        if column is not None:
            chosen[field] = column
    return chosen


def read_records(
    lines: Iterable[Line], columns: Mapping[str, str], report: Report, *, lower_labels: bool = True
) -> Iterator[Record]:
    """The records of a table's lines; lines without an id or a label are reported and left out.

    columns  the column that holds each field of a Record, "image_id" and "label" among them
    """
    for line in lines:
        cells = {field: line.cells[column] for field, column in columns.items()}
        image_id, label = cells.pop("image_id"), cells.pop("label")
        hidden = control_fault(line, columns.values())
        if hidden:
            report(hidden)
        elif not image_id:
            report(Fault("no id", line.where, "image_id is empty; every row needs one"))
        elif not label:
            words = f"{image_id} has no label; take its row out of the metadata"
            report(Fault("no label", line.where, words))
        else:
            label = label.lower() if lower_labels else label
            yield Record(image_id, label, **details(cells, line.where, report))


def details(cells: Mapping[str, str], where: str, report: Report) -> dict[str, Any]:
    """The fields of a Record beside image id and label, from cells by field.

    Ids stay as they stand; words become lower case; what is missing or `unknown` becomes None.
    """
    found: dict[str, Any] = {field: cells[field] or None for field in IDS if field in cells}
    found |= {field: _word(cells[field]) for field in WORDS if field in cells}
    if "age" in cells:
        found["age"] = _age(cells["age"], where, report)
    return found


def _word(cell: str) -> str | None:
    word = cell.lower()
    return None if word in MISSING else word


def _age(cell: str, where: str, report: Report) -> float | None:
    """Age in years; None where it is missing."""
    word = _word(cell)
    if word is None:
        return None
    try:
        age = float(word)
    except ValueError:
        age = math.nan
    if 0 <= age <= OLDEST:
        return age
    report(Fault("age", where, f"age is {word!r}; give years from 0 to {OLDEST:.0f}, or nothing"))
    return None
