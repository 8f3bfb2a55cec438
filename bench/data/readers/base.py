"""Base of the dataset readers: CSV and TSV tables, image lists, and records from table rows.

Cells stay text; `NA` and `007` are valid ids.
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
"""Control characters and line breaks; they are invisible, and make similar names differ."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table: file and line for messages, and cells by lower-case column name."""

    where: str
    cells: dict[str, str]


def read_text(path: Path, report: Report) -> str:
    """The text of a file; encoding faults are reported, and the text is decoded as far as possible.

    Raises DataError if the file cannot be opened.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    return decode_text(content, str(path), report)


def decode_text(content: bytes, where: str, report: Report) -> str:
    """Decode UTF-8 text with or without a byte-order mark; report other encodings and NUL bytes."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = content.startswith(MARKS["utf-16"]) and len(content) % 2 == 0
        name = " but UTF-16" if utf16 else ""
        report(
            Issue("encoding", where, f"not UTF-8 text{name} (byte {error.start}); save it as UTF-8")
        )
        text = content.decode("utf-16" if utf16 else "cp1252", "replace")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        what = f"{text.count(chr(0))} NUL bytes; save the file again as text"
        report(Issue("nul", f"{where}: line {line}", what))
        text = text.replace("\0", "")
    return text


def control_fault(line: TableRow, columns: Iterable[str]) -> Issue | None:
    """The issue of the first of these cells that has a control character; None without one."""
    for column in columns:
        if CONTROL.search(line.cells[column]):
            what = f"column {column}: {line.cells[column]!a} has a control character; "
            return Issue("control", line.where, f"{what}remove it")
    return None


def read_header(path: Path) -> tuple[str, ...]:
    """The lower-case column names of a file; empty if it is not readable text."""
    if special_file_kind(path):
        return ()
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        text = decode_text(head, str(path), lambda _: None)
        return tuple(next(read_rows(text, str(path), lambda _: None))[1])
    except (OSError, UnicodeError, StopIteration):
        return ()


def read_lines(text: str, where: str, report: Report) -> tuple[tuple[str, ...], Iterator[TableRow]]:
    """The lower-case column names of a table, and its rows.

    Rows with another number of cells than the header are reported and skipped. Raises DataError if
    the header is missing or names a column twice.
    """
    rows = read_rows(text, where, report)
    header = next(rows, (0, []))[1]
    if not header:
        raise DataError(f"{where}: the file is empty; use the complete original metadata")
    repeated = sorted(column for column, count in Counter(header).items() if column and count > 1)
    if repeated:
        raise DataError(f"{where}: columns that occur twice: {listing(repeated)}; rename them")
    return tuple(header), _table_rows(header, rows, where, report)


def _table_rows(
    header: list[str], rows: Iterator[tuple[int, list[str]]], where: str, report: Report
) -> Iterator[TableRow]:
    for number, cells in rows:
        row_where = f"{where}: line {number}"
        if len(cells) == len(header):
            yield TableRow(row_where, dict(zip(header, cells, strict=True)))
        else:
            what = f"has {len(cells)} cells, the header has {len(header)}"
            report(Issue("width", row_where, what))


def read_rows(text: str, where: str, report: Report) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank; the first row in lower case.

    The delimiter is the comma, tab or semicolon that is most frequent in the header.
    """
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
CATEGORIES = ("sex", "localization", "dx_type", "source")

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
"""Known column names of each field of a Record, except the label."""


@dataclass(frozen=True)
class ImageList:
    """The unchecked image list of a metadata file; the audit also reads faulty ones.

    where      file or folder of the metadata, for messages
    malignant  malignant classes; names that are not in `classes` are ignored
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

    def dataset(self) -> Dataset:
        """The checked Dataset of the records. Raises DataError that names file and fault."""
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
        """The same list with the sorted labels of its records as classes."""
        return replace(self, classes=tuple(sorted({record.label for record in self.records})))


def image_list_of(dataset: Dataset) -> ImageList:
    """The image list of a dataset."""
    table = dataset.table[list(COLUMNS)].astype(object).where(dataset.table.notna(), None)
    return ImageList(
        name=dataset.name,
        title=dataset.title,
        classes=dataset.classes,
        records=tuple(Record(*row) for row in table.itertuples(index=False, name=None)),
        where=dataset.name,
        malignant=dataset.malignant,
    )


def columns_of(header: Iterable[str]) -> dict[str, str]:
    """The column of each field of a Record, by the known column names."""
    names = set(header)
    chosen = {}
    for field, known in FIELDS.items():
        column = next((column for column in known if column in names), None)
        if column is not None:
            chosen[field] = column
    return chosen


def read_records(
    lines: Iterable[TableRow],
    columns: Mapping[str, str],
    report: Report,
    *,
    lower_labels: bool = True,
) -> Iterator[Record]:
    """The records of table rows; rows without an id or a label are reported and skipped.

    columns  column of each field of a Record; includes "image_id" and "label"
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
            what = f"{image_id} has no label; remove its row from the metadata"
            report(Issue("no label", line.where, what))
        else:
            label = label.lower() if lower_labels else label
            yield Record(image_id, label, **metadata_fields(cells, line.where, report))


def metadata_fields(cells: Mapping[str, str], where: str, report: Report) -> dict[str, Any]:
    """The fields of a Record except image id and label, from cells by field.

    Ids are unchanged; categories become lower case; missing values and `unknown` become None.
    """
    values: dict[str, Any] = {field: cells[field] or None for field in IDS if field in cells}
    values |= {field: _category(cells[field]) for field in CATEGORIES if field in cells}
    if "age" in cells:
        values["age"] = _age(cells["age"], where, report)
    return values


def _category(cell: str) -> str | None:
    value = cell.lower()
    return None if value in MISSING else value


def _age(cell: str, where: str, report: Report) -> float | None:
    """Age in years; None if missing."""
    value = _category(cell)
    if value is None:
        return None
    try:
        age = float(value)
    except ValueError:
        age = math.nan
    if 0 <= age <= OLDEST:
        return age
    report(
        Issue(
            "age", where, f"age is {value!r}; use years from 0 to {OLDEST:.0f}, or leave it empty"
        )
    )
    return None


FOLDERS_DEEP = 3
SUFFIXES = frozenset({".csv", ".tab", ".tsv"})
BARE_NAMES = frozenset({"ham10000_metadata"})
"""Names of metadata files without a suffix."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table file and its lower-case column names."""

    path: Path
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name in lower case."""
        return self.path.name.lower()

    def has(self, *columns: str) -> bool:
        """Whether the table has all these columns."""
        return set(columns) <= set(self.columns)

    def lines(self, report: Report) -> Iterator[TableRow]:
        """The rows of the table."""
        return read_lines(read_text(self.path, report), str(self.path), report)[1]


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader of one kind of dataset.

    looked_for  the files or columns that a folder must have, for messages
    fits   (tables of a folder, columns named by the user) -> the tables that it can read
    read   (these tables, columns named by the user, report) -> the image list
    """

    name: str
    looked_for: str
    fits: Callable[[Sequence[TableFile], Mapping[str, str]], tuple[TableFile, ...]]
    read: Callable[[Sequence[TableFile], Mapping[str, str], Report], ImageList]


def find_tables(folder: Path) -> list[TableFile]:
    """All tables in a folder and up to three levels below, the nearest first.

    Raises DataError if the folder does not exist.
    """
    if not folder.is_dir():
        kind = "a file" if folder.is_file() else special_file_kind(folder)
        fault = f"is {kind}; give the folder that contains it" if kind else "no such folder"
        raise DataError(f"{folder}: {fault}")
    paths = [
        (len(Path(parent).relative_to(folder).parts), Path(parent, name))
        for parent, names in walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES or name.lower() in BARE_NAMES  # noqa: PTH122
    ]
    return [TableFile(path, read_header(path)) for _, path in sorted(paths)]


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A folder and its subfolders up to three levels deep, each with its file names."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(folders) if depth < FOLDERS_DEEP else []
        yield parent, names


def need_columns(table_file: TableFile, *columns: str) -> None:
    """Raise DataError if a table lacks columns."""
    missing = [column for column in columns if column not in table_file.columns]
    if missing:
        raise DataError(
            f"{table_file.path}: missing columns: {listing(missing)}; "
            f"the header has {listing(table_file.columns)}"
        )
