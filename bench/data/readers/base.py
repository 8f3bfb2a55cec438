"""What a dataset reader is: files it may read, tables, and records made of rows.

Cells stay text: `NA` and `007` are ids.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.data.issues import Issue, Report
from bench.dataset import COLUMNS, Dataset, Record
from bench.errors import DataError, listing
from bench.io import read_file, special_file_kind

MARKS = {"utf-16": (b"\xff\xfe", b"\xfe\xff"), "utf-8-sig": (b"\xef\xbb\xbf",)}
HEAD_BYTES = 1 << 18
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters and line breaks: unseen in a name, and two names that look alike differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: where it stands, and its cells by lower-case column name."""

    where: str
    cells: dict[str, str]


def read_text(path: Path, report: Report) -> str:
    """The text of a file; what cannot be read as it should is reported, then read as it may be.

    Raises DataError where the file cannot be opened.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    return decode_text(content, str(path), report)


def decode_text(content: bytes, where: str, report: Report) -> str:
    """UTF-8 text, with or without a byte-order mark; anything else is reported."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        known = content.startswith(MARKS["utf-16"]) and len(content) % 2 == 0
        name = " but UTF-16" if known else ""
        report(
            Issue("encoding", where, f"not UTF-8 text{name} (byte {error.start}); save it as UTF-8")
        )
        text = content.decode("utf-16" if known else "cp1252", "replace")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        report(
            Issue("nul", f"{where}: line {line}", f"{text.count(chr(0))} NUL bytes; save it anew")
        )
        text = text.replace("\0", "")
    return text


def control_fault(line: Line, columns: Iterable[str]) -> Issue | None:
    """The first of these cells of a line that holds a control character, if one does."""
    for column in columns:
        if CONTROL.search(line.cells[column]):
            what = f"column {column}: {line.cells[column]!a} holds a control character; "
            return Issue("control", line.where, f"{what}remove it")
    return None


def read_header(path: Path) -> tuple[str, ...]:
    """The lower-case column names of a file; nothing where it is no text or cannot be read."""
    if special_file_kind(path):
        return ()
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        text = decode_text(head, str(path), lambda _: None)
        return tuple(next(_rows(text, str(path), lambda _: None))[1])
    except (OSError, UnicodeError, StopIteration):
        return ()


def read_lines(text: str, where: str, report: Report) -> tuple[tuple[str, ...], Iterator[Line]]:
    """The lower-case column names of a table, and its lines.

    Lines that are wider or narrower than the header are reported and left out. Raises DataError
    where there is no header, or one that names a column twice.
    """
    rows = _rows(text, where, report)
    header = next(rows, (0, []))[1]
    if not header:
        raise DataError(f"{where}: the file is empty; use the complete original metadata")
    twice = sorted(column for column, count in Counter(header).items() if column and count > 1)
    if twice:
        raise DataError(f"{where}: columns that stand there twice: {listing(twice)}")
    return tuple(header), _lines(header, rows, where, report)


def _lines(
    header: list[str], rows: Iterator[tuple[int, list[str]]], where: str, report: Report
) -> Iterator[Line]:
    for number, cells in rows:
        here = f"{where}: line {number}"
        if len(cells) != len(header):
            words = f"has {len(cells)} cells, the header has {len(header)}"
            report(Issue("width", here, words))
            continue
        yield Line(here, dict(zip(header, cells, strict=True)))


def _rows(text: str, where: str, report: Report) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank with its line number; the first in lower case."""
    text = text.removeprefix("\ufeff")
    head = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",\t;", key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    first = True
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield rows.line_num, [cell.lower() for cell in cells] if first else cells
                first = False
    except csv.Error as error:
        report(Issue("quoting", f"{where}: line {rows.line_num}", str(error)))


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
class ImageList:
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

    def manifest(self) -> Dataset:
        """The Manifest of the records. Raises DataError that names the file and the fault."""
        if not self.records:
            raise DataError(
                f"{self.where}: no rows below the header; use the complete original metadata"
            )
        try:
            return Dataset(
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

    def classes_found(self) -> ImageList:
        """The same with the classes that its records have, sorted, where no list is fixed."""
        return replace(self, classes=tuple(sorted({record.label for record in self.records})))


def image_list_of(manifest: Dataset) -> ImageList:
    """The roster that a manifest's rows make."""
    table = manifest.table[list(COLUMNS)].astype(object).where(manifest.table.notna(), None)
    return ImageList(
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
            report(Issue("no id", line.where, "image_id is empty; every row needs one"))
        elif not label:
            words = f"{image_id} has no label; take its row out of the metadata"
            report(Issue("no label", line.where, words))
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
    report(Issue("age", where, f"age is {word!r}; give years from 0 to {OLDEST:.0f}, or nothing"))
    return None


FOLDERS_DEEP = 3
SUFFIXES = frozenset({".csv", ".tab", ".tsv"})
BARE_NAMES = frozenset({"ham10000_metadata"})
"""Files without a suffix that hold metadata."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table in a folder: its file, and its lower-case column names."""

    path: Path
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name in lower case."""
        return self.path.name.lower()

    def has(self, *columns: str) -> bool:
        """Whether all these columns are there."""
        return set(columns) <= set(self.columns)

    def lines(self, report: Report) -> Iterator[Line]:
        """The lines of the table."""
        return read_lines(read_text(self.path, report), str(self.path), report)[1]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one kind of dataset.

    looked_for  what a folder must hold, for messages
    fits   (sheets of a folder, columns the user named) -> those of the sheets it would read
    read   (these sheets, columns the user named, report) -> the roster
    """

    name: str
    looked_for: str
    fits: Callable[[Sequence[TableFile], Mapping[str, str]], tuple[TableFile, ...]]
    read: Callable[[Sequence[TableFile], Mapping[str, str], Report], ImageList]


def find_tables(folder: Path) -> list[TableFile]:
    """Every table in a folder or up to three folders below, the nearest first.

    Raises DataError where the folder is missing.
    """
    if not folder.is_dir():
        kind = "a file" if folder.is_file() else special_file_kind(folder)
        raise DataError(
            f"{folder}: {f'is {kind}; give the folder it lies in' if kind else 'no such folder'}"
        )
    found = [
        (len(Path(parent).relative_to(folder).parts), Path(parent, name))
        for parent, names in walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES or name.lower() in BARE_NAMES  # noqa: PTH122
    ]
    return [TableFile(path, read_header(path)) for _, path in sorted(found)]


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A folder and those up to three below, each with the names of its files."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        deep = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(folders) if deep < FOLDERS_DEEP else []
        yield parent, names


def need_columns(sheet: TableFile, *columns: str) -> None:
    """Raise DataError where a sheet lacks columns."""
    missing = [column for column in columns if column not in sheet.columns]
    if missing:
        raise DataError(
            f"{sheet.path}: missing columns: {listing(missing)}; "
            f"the header has {listing(sheet.columns)}"
        )
