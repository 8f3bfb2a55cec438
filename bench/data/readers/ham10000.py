"""Reader of the HAM10000 metadata of Kaggle and Dataverse.

Tschandl, Rosendahl & Kittler 2018, doi:10.1038/sdata.2018.161. Kaggle serves comma-separated
`HAM10000_metadata.csv` (7 columns), Dataverse `HAM10000_metadata` (8 columns, with `dataset`) or
the same as a quoted `.tab`. Reading needs no image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data.issues import Issue, Report, raise_blocking
from bench.data.readers.base import (
    ImageList,
    Reader,
    TableFile,
    columns_of,
    find_tables,
    read_lines,
    read_records,
    read_text,
)
from bench.dataset import Dataset, Record
from bench.errors import DataError, listing

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = ("akiec", "bcc", "mel")
"""Includes akiec: Bowen's disease is a carcinoma in situ, actinic keratosis its precursor."""
LICENCE = "CC BY-NC-SA 4.0"
CITATION = (
    "Tschandl, P., Rosendahl, C. & Kittler, H. The HAM10000 dataset, a large collection of "
    "multi-source dermatoscopic images of common pigmented skin lesions. Sci. Data 5, 180161 "
    "(2018). doi:10.1038/sdata.2018.161"
)
FILE_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
NEEDED = ("image_id", "dx")
GROUPING = ("patient_id", "lesion_id")


def fits(tables: Sequence[TableFile], _columns: Mapping[str, str]) -> tuple[TableFile, ...]:
    """The tables with a file name of the HAM10000 metadata, else those with its columns."""
    names = {name.lower(): rank for rank, name in enumerate(FILE_NAMES)}
    named = [table for table in tables if table.name in names]
    named.sort(key=lambda table: (len(table.path.parts), names[table.name]))
    return tuple(named) or tuple(s for s in tables if s.has(*NEEDED, "lesion_id"))


def read(tables: Sequence[TableFile], _columns: Mapping[str, str], report: Report) -> ImageList:
    """The image list of the first table; contradictions of other tables are reported."""
    lists = [
        parse_image_list(read_text(table.path, report), str(table.path), report) for table in tables
    ]
    if len({_identity(images.records) for images in lists}) > 1:
        paths = [table.path for table in tables]
        what = f"metadata files that contradict each other: {listing(paths)}; keep one"
        report(Issue("copies", str(paths[0].parent), what))
    return lists[0]


READER = Reader("ham10000", ", ".join(FILE_NAMES), fits, read)


def read_ham10000(folder: Path) -> Dataset:
    """The dataset of the HAM10000 metadata in or below `folder`. Raises DataError."""
    tables = fits(find_tables(folder), {})
    if not tables:
        raise DataError(f"{folder}: no metadata of HAM10000; expected one of {listing(FILE_NAMES)}")
    return read(tables, {}, raise_blocking).dataset()


def parse_metadata(text: str, where: str) -> Dataset:
    """The dataset of the text of a metadata file; `where` is for messages.

    Raises DataError that names the line, column or offenders.
    """
    return parse_image_list(text, where, raise_blocking).dataset()


def parse_image_list(text: str, where: str, report: Report) -> ImageList:
    """The image list of the text of a metadata file: comma, tab or semicolon, quoted or not."""
    header, lines = read_lines(text, where, report)
    missing = [column for column in NEEDED if column not in header]
    if not any(column in header for column in GROUPING):
        missing.append("lesion_id (or patient_id)")
    if missing:
        raise DataError(
            f"{where}: missing columns: {listing(missing)}; the header has {listing(header)}"
        )
    columns = columns_of(header) | {"image_id": "image_id", "label": "dx"}
    return ham10000(tuple(read_records(lines, columns, report)), where)


def ham10000(records: tuple[Record, ...], where: str) -> ImageList:
    """The image list of HAM10000 with these records."""
    return ImageList(
        name="ham10000",
        title="HAM10000",
        classes=CLASSES,
        records=records,
        where=where,
        native_size=(600, 450),
        licence=LICENCE,
        citation=CITATION,
        malignant=MALIGNANT,
    )


def _identity(records: Sequence[Record]) -> tuple[tuple[str, str, str | None, str | None], ...]:
    rows = {(r.image_id, r.label, r.patient_id or "", r.lesion_id or "") for r in records}
    return tuple(sorted(rows))
