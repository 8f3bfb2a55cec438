"""Metadata as text: comma, tab or semicolon, quoted or not, read line by line and never guessed.

Cells stay text: `NA` and `007` are ids.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.data.faults import Fault, Report
from bench.errors import DataError, listing
from bench.files import read_file, waiting_kind

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
            Fault("encoding", where, f"not UTF-8 text{name} (byte {error.start}); save it as UTF-8")
        )
        text = content.decode("utf-16" if known else "cp1252", "replace")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        report(
            Fault("nul", f"{where}: line {line}", f"{text.count(chr(0))} NUL bytes; save it anew")
        )
        text = text.replace("\0", "")
    return text


def control_fault(line: Line, columns: Iterable[str]) -> Fault | None:
    """The first of these cells of a line that holds a control character, if one does."""
    for column in columns:
        if CONTROL.search(line.cells[column]):
            what = f"column {column}: {line.cells[column]!a} holds a control character; "
            return Fault("control", line.where, f"{what}remove it")
    return None


def read_header(path: Path) -> tuple[str, ...]:
    """The lower-case column names of a file; nothing where it is no text or cannot be read."""
    if waiting_kind(path):
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
            report(Fault("width", here, words))
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
        report(Fault("quoting", f"{where}: line {rows.line_num}", str(error)))
