"""Reader of a folder with a CSV table of images, labels and groups.

`--columns image=file,label=class,group=patient_no` names the columns. A `manifest.csv` with the
columns `image`, `label` and `group` needs no option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.data.issues import Report
from bench.data.readers.base import ImageList, Reader, TableFile, columns_of, read_records
from bench.errors import DataError, listing

FIELD_OF = {
    "image": "image_id",
    "label": "label",
    "group": "group_id",
    "patient": "patient_id",
    "lesion": "lesion_id",
    "age": "age",
    "sex": "sex",
    "site": "localization",
    "source": "source",
}
"""The fields of a Record by their name in `--columns`."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MANIFEST = "manifest.csv"


def parse_columns(text: str | None) -> dict[str, str]:
    """Lower-case column names by field of Record, from `image=file,label=class`.

    Raises DataError for an unknown or repeated field.
    """
    columns: dict[str, str] = {}
    for piece in (text or "").split(","):
        if not piece.strip():
            continue
        key, equals, column = (part.strip().lower() for part in piece.partition("="))
        if key not in FIELD_OF or not equals or not column or FIELD_OF[key] in columns:
            raise DataError(
                f"--columns {text}: {piece.strip()!r} is not FIELD=COLUMN; use each FIELD once: "
                f"{', '.join(FIELD_OF)}"
            )
        columns[FIELD_OF[key]] = column
    return columns


def image_id_of(name: str) -> str:
    """The image id of a file name or path: without folders and image suffix."""
    name = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _fits(tables: Sequence[TableFile], columns: Mapping[str, str]) -> tuple[TableFile, ...]:
    if {"image_id", "label"} <= columns.keys():
        return tuple(table for table in tables if table.has(*columns.values()))
    return tuple(s for s in tables if s.name == MANIFEST and s.has("image", "label"))


def _read(tables: Sequence[TableFile], columns: Mapping[str, str], report: Report) -> ImageList:
    if len(tables) > 1:
        paths = [table.path for table in tables]
        raise DataError(f"several files have these columns: {listing(paths)}; keep one")
    (table,) = tables
    plain = {FIELD_OF[key]: key for key in FIELD_OF if key in table.columns}
    column_of = columns_of(table.columns) | plain | dict(columns)
    records = read_records(table.lines(report), column_of, report, lower_labels=False)
    return ImageList(
        name="",
        title=Path(table.path).parent.name,
        classes=(),
        records=tuple(replace(r, image_id=image_id_of(r.image_id)) for r in records),
        where=str(table.path),
        licence="not stated",
        citation="not stated",
    ).classes_found()


READER = Reader(
    "manifest",
    "manifest.csv (image, label, group), or a CSV with the columns that --columns names",
    _fits, _read,
)  # fmt: skip
