"""Read the table of a submission: CSV or Parquet, image ids and their spelling."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from bench.errors import PredictionError, listing
from bench.io import read_file
from bench.run.results import read_parquet

MAX_BYTES = 1 << 30
IMAGE_COLUMNS = ("image_id", "image", "isic_id")
"""The column of the image ids as we call it, the ISIC challenges, the ISIC Archive."""

PARQUET = b"PAR1"
UTF_16 = ("UTF-16 text, not UTF-8", "save it as UTF-8")
OTHERS = {
    b"\x1f\x8b": ("packed by gzip", "unpack it (gunzip) and submit what is in it"),
    b"BZh": ("packed by bzip2", "unpack it (bunzip2) and submit what is in it"),
    b"\xfd7zXZ": ("packed by xz", "unpack it (unxz) and submit what is in it"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "unpack it (unzstd) and submit what is in it"),
    b"PK\x03\x04": (
        "a zip archive or a workbook",
        "unpack it, or save its sheet as CSV, and submit that",
    ),
    b"\xff\xfe": UTF_16,
    b"\xfe\xff": UTF_16,
}
"""What a file is by how it begins, and what to do about it."""

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
LOOKED_AT = 1000
"""Bytes within which text in UTF-16 without a mark shows: it holds zeros, UTF-8 none."""


def read_submission_table(path: Path) -> pd.DataFrame:
    """All cells as text (CSV) or as they are typed (Parquet), by the number of their row.

    A CSV file's header is row 1; Parquet has none, its first row is 1. Raises PredictionError.
    """
    try:
        content = read_file(path, MAX_BYTES)
    except OSError as error:
        raise PredictionError(f"{path}: {error.strerror}") from None
    if content.startswith(PARQUET):
        return _parquet(content, str(path))
    return _csv(_text(content, str(path)), str(path))


def _parquet(content: bytes, where: str) -> pd.DataFrame:
    table = read_parquet(content, where)
    for name in table.index.names:
        if name in IMAGE_COLUMNS and name not in table.columns:
            raise PredictionError(
                f"{where}: {name} is the table's index, not a column; write it with reset_index()"
            )
    return table.set_axis(pd.RangeIndex(1, len(table) + 1), axis=0)


def _text(content: bytes, where: str) -> str:
    for mark, (what, cure) in OTHERS.items():
        if content.startswith(mark):
            raise PredictionError(f"{where}: is {what}; {cure}")
    if b"\0" in content[:LOOKED_AT]:
        raise PredictionError(f"{where}: holds zero bytes, as UTF-16 does; {UTF_16[1]}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictionError(
            f"{where}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def _csv(text: str, where: str) -> pd.DataFrame:
    _refuse_other_separators(text, where)
    rows = _rows(text, where)
    if len(rows) < 2:  # noqa: PLR2004 - a header and something below it
        raise PredictionError(f"{where}: no rows below a header")
    (_, header), *below = rows
    # pandas fills short rows and shifts long ones without a word
    for number, row in below:
        if len(row) != len(header):
            raise PredictionError(
                f"{where}: row {number} has {len(row)} cells, the header has {len(header)}; give "
                "every row a cell for each column"
            )
    return pd.DataFrame(
        [row for _, row in below],
        index=[number for number, _ in below],
        columns=[name.strip() for name in header],
    )


def _refuse_other_separators(text: str, where: str) -> None:
    """Raise PredictionError for a header that something else than commas separates."""
    header = text.lstrip().split("\n", 1)[0].strip()
    for mark, name in SEPARATORS.items():
        if mark in header and "," not in header:
            raise PredictionError(
                f"{where}: is separated by {name}; write commas, and points in numbers"
            )


def _rows(text: str, where: str) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, with their numbers."""
    number, rows = 0, []
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), 1):
            if row:
                rows.append((number, row))
    except csv.Error as error:
        raise PredictionError(
            f"{where}: not a CSV table: row {number + 1} {_fault(str(error), text)}"
        ) from None
    return rows


def _fault(error: str, text: str) -> str:
    """What is wrong with a row that Python cannot read, in words that lead to the place."""
    if "end of data" in error or ("field limit" in error and '"' in text):
        return 'has a quote (") that is not closed; close it, or remove it'
    if "field limit" in error:
        return f"has a cell of more than {csv.field_size_limit()} characters; give ids and numbers"
    return f"has a quote in a wrong place ({error}); mend its quotes"


ENDING = re.compile(r"\.(?:jpe?g|png)$", re.IGNORECASE)
FEW = 3
"""Offenders that are named where all have one fault."""
LONGEST = 80


def refuse_rows_without_id(ids: pd.Series, where: str) -> None:
    """Raise PredictionError that names the rows whose image id is empty."""
    empty = ids.isna() | (ids.astype(str).str.strip() == "")
    if empty.any():
        told = listing([f"row {number}" for number in ids.index[empty]], FEW)
        raise PredictionError(f"{where}: no image id in {told}; give it, or remove the row")


def refuse_other_spelling(ids: pd.Series, known: Sequence[str], where: str) -> None:
    """Raise PredictionError where ids are the dataset's but for what people and programs change.

    To say of each that it is unknown, and of each image that it is missing, would hide the cure.
    """
    count = Counter(map(_plain, known))
    meant = {_plain(name): name for name in known if count[_plain(name)] == 1}
    strange = [each for each in ids[~ids.isin(known)] if _plain(each) in meant]
    if not strange:
        return
    cures = {cure for each in strange for cure in _cures(each, meant[_plain(each)])}
    told = [f"{each[:LONGEST]!a} for {meant[_plain(each)]}" for each in strange]
    raise PredictionError(
        f"{where}: image ids that differ from the dataset's in spelling alone ({len(strange)} of "
        f"{len(ids)}): {listing(told, FEW)}; give ids {' and '.join(sorted(cures))}"
    )


def _plain(image_id: str) -> str:
    """An id without what people and programs change in it."""
    return ENDING.sub("", image_id.strip().casefold())


def _cures(given: str, meant: str) -> Iterator[str]:
    """What to do about an id that is another only in spelling."""
    bare = given.strip()
    if given != bare:
        yield "without white space around them"
    theirs, own = ("".join(ENDING.findall(each)) for each in (bare, meant))
    other_ending = theirs.lower() != own.lower()
    if other_ending:
        yield f"with {own}" if own else f"without {theirs}"
    stems = bare.removesuffix(theirs), meant.removesuffix(own)
    if stems[0] != stems[1] or (theirs != own and not other_ending):
        yield "in the dataset's letter case"
