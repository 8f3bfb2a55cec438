"""What a reader of one kind of dataset is, and the files it may read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.faults import Report
from bench.data.roster import Roster
from bench.data.tables import Line, read_header, read_lines, read_text
from bench.errors import DataError, listing
from bench.files import waiting_kind

FOLDERS_DEEP = 3
SUFFIXES = frozenset({".csv", ".tab", ".tsv"})
BARE_NAMES = frozenset({"ham10000_metadata"})
"""Files without a suffix that hold metadata."""


@dataclass(frozen=True, slots=True)
class Sheet:
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
    fits: Callable[[Sequence[Sheet], Mapping[str, str]], tuple[Sheet, ...]]
    read: Callable[[Sequence[Sheet], Mapping[str, str], Report], Roster]


def find_sheets(folder: Path) -> list[Sheet]:
    """Every table in a folder or up to three folders below, the nearest first.

    Raises DataError where the folder is missing.
    """
    if not folder.is_dir():
        kind = "a file" if folder.is_file() else waiting_kind(folder)
        raise DataError(
            f"{folder}: {f'is {kind}; give the folder it lies in' if kind else 'no such folder'}"
        )
    found = [
        (len(Path(parent).relative_to(folder).parts), Path(parent, name))
        for parent, names in walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES or name.lower() in BARE_NAMES  # noqa: PTH122
    ]
    return [Sheet(path, read_header(path)) for _, path in sorted(found)]


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A folder and those up to three below, each with the names of its files."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        deep = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(folders) if deep < FOLDERS_DEEP else []
        yield parent, names


def need_columns(sheet: Sheet, *columns: str) -> None:
    """Raise DataError where a sheet lacks columns."""
    missing = [column for column in columns if column not in sheet.columns]
    if missing:
        raise DataError(
            f"{sheet.path}: missing columns: {listing(missing)}; "
            f"the header has {listing(sheet.columns)}"
        )
