"""A folder replaced as a whole: after any interruption the old content is there, or the new.

    <parent>/.<name>.new    the new content while it is written; then, for a moment, the old one
    <parent>/.<name>.old    the old content, on systems that cannot exchange two folders at once
    <parent>/.<name>.lock   held while it goes on

What is left of an interrupted run is put right by the next one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import ResultsError

EXCHANGE = 2
"""RENAME_EXCHANGE of Linux' renameat2."""
AT_FDCWD = -100
CANNOT = {errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ENOTSUP}

Content = bytes | Path
"""A file's content, or the file that holds it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How many files are new, changed, removed, and as they were; bytes of all."""

    new: int
    changed: int
    removed: int
    same: int
    size: int


def replace_folder(folder: Path, files: Mapping[str, Content]) -> Changes:
    """Make these files, by their path in it, all that a folder holds.

    Files that are the same already stay the very files that they are, with their times. Raises
    ResultsError where the folder cannot be written, or another process is at it.
    """
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_beside(folder, "lock"), timeout=0):
            try:
                return _replace(folder, files)
            finally:
                _beside(folder, "lock").unlink(missing_ok=True)
    except Timeout:
        raise ResultsError(f"{folder}: another process is writing it; wait for its end") from None
    except OSError as error:
        raise ResultsError(f"{folder}: cannot be written: {error.strerror}") from None


def put_right(folder: Path) -> None:
    """Bring back the old content where an interruption fell between two renames."""
    folder = folder.resolve()
    old = _beside(folder, "old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)


def files_in(folder: Path) -> list[str]:
    """The path of every file of a folder, links among them, sorted."""
    found = [
        Path(parent, name).relative_to(folder).as_posix()
        for parent, folders, names in os.walk(folder)
        for name in [*names, *(one for one in folders if Path(parent, one).is_symlink())]
    ]
    return sorted(found)


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _replace(folder: Path, files: Mapping[str, Content]) -> Changes:
    put_right(folder)
    new, old = _beside(folder, "new"), _beside(folder, "old")
    for scratch in (new, old):
        shutil.rmtree(scratch, ignore_errors=True)
    try:
        changes = _fill(new, folder, files)
        _swap(new, folder, old)
    finally:
        for scratch in (new, old):
            if folder.exists():
                shutil.rmtree(scratch, ignore_errors=True)
    return changes


def _fill(new: Path, folder: Path, files: Mapping[str, Content]) -> Changes:
    before = set(files_in(folder)) if folder.is_dir() else set()
    counts = {"new": 0, "changed": 0, "same": 0}
    size = 0
    for name, content in files.items():
        data = content.read_bytes() if isinstance(content, Path) else content
        size += len(data)
        target, there = new / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in before and not there.is_symlink() and there.read_bytes() == data:
            counts["same"] += 1
            _keep(there, target)
            continue
        counts["changed" if name in before else "new"] += 1
        with target.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    new.mkdir(exist_ok=True)
    return Changes(**counts, removed=len(before - set(files)), size=size)


def _keep(there: Path, target: Path) -> None:
    """The same file under another name, or a copy with its times where a disk has no links."""
    try:
        os.link(there, target)
    except OSError:
        shutil.copy2(there, target)


def _swap(new: Path, folder: Path, old: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        new.rename(folder)
    elif not exchange(new, folder):
        folder.rename(old)
        new.rename(folder)


def exchange(one: Path, two: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(two), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(two))
