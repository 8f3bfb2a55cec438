"""HAM10000 as people have it: Kaggle's or Dataverse's metadata, read as a Manifest.

Tschandl, Rosendahl & Kittler 2018, doi:10.1038/sdata.2018.161. Kaggle serves comma-separated
`HAM10000_metadata.csv` (7 columns), Dataverse `HAM10000_metadata` (8 columns, with `dataset`) or
the same as a quoted `.tab`. No image is needed to read it.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import DataError, listing
from bench.manifest import COLUMNS, Manifest, Record

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
LICENCE = "CC BY-NC-SA 4.0"
CITATION = (
    "Tschandl, P., Rosendahl, C. & Kittler, H. The HAM10000 dataset, a large collection of "
    "multi-source dermatoscopic images of common pigmented skin lesions. Sci. Data 5, 180161 "
    "(2018). doi:10.1038/sdata.2018.161"
)
FILE_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
FOLDERS_DEEP = 3
NEEDED = ("image_id", "dx")
GROUPING = ("patient_id", "lesion_id")
MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "unknown"})
OLDEST = 120.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a metadata file: where it stands, and its cells by column."""

    where: str
    cells: dict[str, str]

    def identifier(self, column: str) -> str | None:
        """An id as text, `NA` and `007` as they stand; None where the cell is empty."""
        return self.cells.get(column, "") or None

    def word(self, column: str) -> str | None:
        """A word in lower case; None where it is missing or `unknown`."""
        word = self.cells.get(column, "").lower()
        return None if word in MISSING else word

    def age(self, column: str = "age") -> float | None:
        """Age in years; None where it is missing."""
        word = self.word(column)
        if word is None:
            return None
        try:
            age = float(word)
        except ValueError:
            age = math.nan
        if not 0 <= age <= OLDEST:
            raise DataError(
                f"{self.where}: {column} is {word!r}; give years from 0 to {OLDEST:.0f}, or nothing"
            )
        return age

    def record(self) -> Record:
        """The line as a Record."""
        image_id = self.identifier("image_id")
        if image_id is None:
            raise DataError(f"{self.where}: image_id is empty; every row needs one")
        return Record(
            image_id=image_id,
            label=self.cells["dx"].lower(),
            lesion_id=self.identifier("lesion_id"),
            patient_id=self.identifier("patient_id"),
            age=self.age(),
            sex=self.word("sex"),
            localization=self.word("localization"),
            dx_type=self.word("dx_type"),
            source=self.word("dataset"),
        )


def read_ham10000(folder: Path) -> Manifest:
    """The manifest of the HAM10000 metadata in `folder` or up to three folders below.

    Raises DataError that names the file, and the line where there is one.
    """
    found = find_metadata(folder)
    manifests = {path: _read(path) for path in found}
    first = manifests[found[0]]
    if len({manifest.roster_sha256 for manifest in manifests.values()}) > 1:
        raise DataError(
            f"{folder}: metadata files that contradict each other: {listing(found)}; keep one"
        )
    return first


def find_metadata(folder: Path) -> list[Path]:
    """Every HAM10000 metadata file in or below `folder`, the nearest first.

    Raises DataError where the folder is missing or holds none.
    """
    found = find_files(folder, FILE_NAMES)
    if not found:
        raise DataError(
            f"{folder}: no metadata found; looked for {', '.join(FILE_NAMES)} here and up to "
            f"{FOLDERS_DEEP} folders below; put the metadata of HAM10000 beside its images"
        )
    return found


def find_files(folder: Path, file_names: Sequence[str]) -> list[Path]:
    """Files of these names, in any case, in or below `folder`, the nearest first.

    Raises DataError where the folder is missing.
    """
    if not folder.is_dir():
        fault = "is a file; give the folder it lies in" if folder.is_file() else "no such folder"
        raise DataError(f"{folder}: {fault}")
    names = {name.lower(): rank for rank, name in enumerate(file_names)}
    found = [
        (depth, names[name.lower()], Path(parent) / name)
        for depth, parent, files in _walk(folder)
        for name in files
        if name.lower() in names
    ]
    return [path for _, _, path in sorted(found)]


def parse_metadata(text: str, where: str) -> Manifest:
    """Read the text of a metadata file: comma, tab or semicolon, quoted or not.

    `where` is for messages. Raises DataError that names the line, column or offenders.
    """
    records = [line.record() for line in read_lines(text, where, _header)]
    return manifest_of(
        records,
        where,
        name="ham10000",
        title="HAM10000",
        classes=CLASSES,
        native_size=(600, 450),
        licence=LICENCE,
        citation=CITATION,
    )


def manifest_of(records: list[Record], where: str, **facts: Any) -> Manifest:
    """The manifest of a file's records. Raises DataError that names the file."""
    if not records:
        raise DataError(f"{where}: no rows below the header; use the complete original metadata")
    table = pd.DataFrame(
        [asdict(record) for record in records], columns=list(COLUMNS), dtype=object
    )
    table["age"] = table["age"].astype(np.float64)
    try:
        return Manifest(table=table, **facts)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _walk(folder: Path) -> Iterator[tuple[int, str, list[str]]]:
    for parent, folders, files in os.walk(folder, followlinks=True):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(folders) if depth < FOLDERS_DEEP else []
        yield depth, parent, files


def _read(path: Path) -> Manifest:
    return parse_metadata(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a file. Raises DataError where it cannot be read, or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def read_lines(
    text: str, where: str, checked: Callable[[list[str], str], list[str]]
) -> Iterator[Line]:
    """The lines of a table with a header: comma, tab or semicolon, quoted or not.

    `checked` is given the header's cells, and gives back the columns' names or raises.
    """
    text = text.removeprefix("\ufeff")
    head = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",\t;", key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if header is None:
                header = checked(cells, where)
                continue
            here = f"{where}: line {rows.line_num}"
            if len(cells) != len(header):
                raise DataError(f"{here} has {len(cells)} cells, the header has {len(header)}")
            yield Line(here, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{where}: line {rows.line_num}: {error}") from None
    if header is None:
        raise DataError(f"{where}: the file is empty; use the complete original metadata")


def _header(cells: list[str], where: str) -> list[str]:
    header = [cell.lower() for cell in cells]
    missing = [column for column in NEEDED if column not in header]
    if not any(column in header for column in GROUPING):
        missing.append("lesion_id (or patient_id)")
    if missing:
        raise DataError(
            f"{where}: missing columns: {listing(missing)}; the header has {listing(header)}"
        )
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise DataError(f"{where}: columns that stand there twice: {listing(twice)}")
    return header
