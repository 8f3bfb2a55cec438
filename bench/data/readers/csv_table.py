"""Reader of a folder with a CSV table: image, label and group under any column name.

`--columns image=file,label=class,group=patient_no` names the headings; a `manifest.csv` with the
headings `image`, `label` and `group` needs no naming.
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
"""What `--columns` calls the fields of a Record."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MANIFEST = "manifest.csv"


def parse_columns(text: str | None) -> dict[str, str]:
    """Lower-case column names by field of Record, from `image=file,label=class`.

    Raises DataError for a word that is no field, or stands there twice.
    """
    found: dict[str, str] = {}
    for piece in (text or "").split(","):
        if not piece.strip():
            continue
        key, equals, column = (part.strip().lower() for part in piece.partition("="))
        if key not in FIELD_OF or not equals or not column or FIELD_OF[key] in found:
            raise DataError(
                f"--columns {text}: {piece.strip()!r} is not WHAT=COLUMN; WHAT is once each one of "
                f"{', '.join(FIELD_OF)}"
            )
        found[FIELD_OF[key]] = column
    return found


def image_id_of(name: str) -> str:
    """The image id that a file name or path stands for: without folders and image suffix."""
    name = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _fits(sheets: Sequence[TableFile], columns: Mapping[str, str]) -> tuple[TableFile, ...]:
    if {"image_id", "label"} <= columns.keys():
        return tuple(sheet for sheet in sheets if sheet.has(*columns.values()))
    return tuple(s for s in sheets if s.name == MANIFEST and s.has("image", "label"))


def _read(sheets: Sequence[TableFile], columns: Mapping[str, str], report: Report) -> ImageList:
    if len(sheets) > 1:
        paths = [sheet.path for sheet in sheets]
        raise DataError(f"several files have these columns: {listing(paths)}; keep one")
    (sheet,) = sheets
    own = {FIELD_OF[key]: key for key in FIELD_OF if key in sheet.columns}
    found = columns_of(sheet.columns) | own | dict(columns)
    records = read_records(sheet.lines(report), found, report, lower_labels=False)
    return ImageList(
        name="",
        title=Path(sheet.path).parent.name,
        classes=(),
        records=tuple(replace(r, image_id=image_id_of(r.image_id)) for r in records),
        where=str(sheet.path),
        licence="not stated",
        citation="not stated",
    ).classes_found()


READER = Reader(
    "manifest",
    "manifest.csv (image, label, group), or a CSV with the columns that --columns names",
    _fits, _read,
)  # fmt: skip
