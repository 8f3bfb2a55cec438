"""Read the table of a submission (CSV or Parquet) and match its image ids."""

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
"""Names of the image id column: of the bench, of the ISIC challenges, of the ISIC Archive."""

PARQUET = b"PAR1"
UTF_16 = ("UTF-16 text, not UTF-8", "save it as UTF-8")
OTHER_FORMATS = {
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
"""Format by the first bytes of a file, and how to fix it."""

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
CHECKED_BYTES = 1000
"""Bytes searched for zeros, which UTF-16 text without a byte order mark contains."""
ENDING = re.compile(r"\.(?:jpe?g|png)$", re.IGNORECASE)
FEW = 3
"""Number of examples in a message about one kind of fault."""
LONGEST = 80


def read_submission_table(path: Path) -> pd.DataFrame:
    """The cells as text (CSV) or with their types (Parquet); the index is the row number.

    The header of a CSV file is row 1; the first row of a Parquet file is 1. Raises PredictionError.
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
    for start, (what, cure) in OTHER_FORMATS.items():
        if content.startswith(start):
            raise PredictionError(f"{where}: is {what}; {cure}")
    if b"\0" in content[:CHECKED_BYTES]:
        raise PredictionError(f"{where}: holds zero bytes, as UTF-16 does; {UTF_16[1]}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictionError(
            f"{where}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def _csv(text: str, where: str) -> pd.DataFrame:
    first_line = text.lstrip().split("\n", 1)[0].strip()
    for mark, name in SEPARATORS.items():
        if mark in first_line and "," not in first_line:
            raise PredictionError(
                f"{where}: is separated by {name}; write commas, and points in numbers"
            )
    rows = _rows(text, where)
    if len(rows) < 2:  # noqa: PLR2004 - a header and something below it
        raise PredictionError(f"{where}: no rows below a header")
    (_, header), *below = rows
    # pandas would fill short rows and shift long ones silently
    for number, row in below:
        if len(row) != len(header):
            raise PredictionError(
                f"{where}: row {number} has {len(row)} cells, the header has {len(header)}; give "
                "one cell per column in every row"
            )
    return pd.DataFrame(
        [row for _, row in below],
        index=[number for number, _ in below],
        columns=[name.strip() for name in header],
    )


def _rows(text: str, where: str) -> list[tuple[int, list[str]]]:
    """The non-empty rows with their numbers."""
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
    """The fault of a row that Python cannot read, and its fix."""
    if "end of data" in error or ("field limit" in error and '"' in text):
        return 'has a quote (") that is not closed; close or remove it'
    if "field limit" in error:
        return f"has a cell of more than {csv.field_size_limit()} characters; give ids and numbers"
    return f"has a quote in a wrong place ({error}); correct its quotes"


def refuse_rows_without_id(ids: pd.Series, where: str) -> None:
    """Raise PredictionError with the numbers of the rows without an image id."""
    empty = ids.isna() | (ids.astype(str).str.strip() == "")
    if empty.any():
        rows = listing([f"row {number}" for number in ids.index[empty]], FEW)
        raise PredictionError(f"{where}: no image id in {rows}; give it, or remove the row")


def refuse_other_spelling(ids: pd.Series, known: Sequence[str], where: str) -> None:
    """Raise PredictionError for ids that differ from the dataset's only in file ending, white space
    or letter case.

    A message per unknown and per missing image would hide this one cause.
    """
    count = Counter(map(_normalised, known))
    match = {_normalised(name): name for name in known if count[_normalised(name)] == 1}
    differing = [each for each in ids[~ids.isin(known)] if _normalised(each) in match]
    if not differing:
        return
    pairs = [(each, match[_normalised(each)]) for each in differing]
    fixes = {fix for given, expected in pairs for fix in _fixes(given, expected)}
    examples = [f"{given[:LONGEST]!a} for {expected}" for given, expected in pairs]
    raise PredictionError(
        f"{where}: image ids that differ from the dataset's in spelling alone ({len(differing)} of "
        f"{len(ids)}): {listing(examples, FEW)}; give ids {' and '.join(sorted(fixes))}"
    )


def _normalised(image_id: str) -> str:
    """An id without white space, letter case and file ending."""
    return ENDING.sub("", image_id.strip().casefold())


def _fixes(given: str, expected: str) -> Iterator[str]:
    """How to change an id into the dataset's spelling."""
    bare = given.strip()
    if given != bare:
        yield "without white space around them"
    ending, right = ("".join(ENDING.findall(each)) for each in (bare, expected))
    other_ending = ending.lower() != right.lower()
    if other_ending:
        yield f"with {right}" if right else f"without {ending}"
    same_stem = bare.removesuffix(ending) == expected.removesuffix(right)
    if not same_stem or (ending != right and not other_ending):
        yield "in the dataset's letter case"
