"""Atomic files and folders, hashes, sanitised text, deferred signals and thread pools.

`replace_folder` uses three temporary names beside the folder:

    <parent>/.<name>.new    the new content while it is written
    <parent>/.<name>.old    the old content between two renames
    <parent>/.<name>.lock   held during the replacement

The next call repairs the state that an interrupted call left.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TypeVar

from filelock import FileLock, Timeout

from bench.errors import ResultsError


@dataclass(frozen=True, slots=True)
class Download:
    """A downloadable file of a published site.

    name      path in the site
    source    file with the content
    place     seed and fold of its training, "" for a submission
    """

    name: str
    source: Path
    row: str
    place: str
    sha256: str
    size: int


SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""Kinds of directory entries that can block a reader for ever."""
MOST_BYTES = 4 * 2**30
"""Limit for a file that is read whole; a table of a million rows has a tenth of it."""
MOST_TEXT = 64 * 2**20
"""Limit for a JSON file; the leaderboard of 200 methods has a quarter of it."""
SCRATCH = re.compile(r"\..+\.\d+\.tmp")
"""Names of hidden temporary files; they contain the id of the process that writes them."""


def special_file_kind(path: Path) -> str:
    """The name of a path in SPECIAL_FILES; "" for files, folders and missing paths."""
    try:
        return SPECIAL_FILES.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError:
        return ""


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file.

    Raises OSError that names the path, also if the file has more than `most` bytes, or is a pipe,
    a socket or a device; these are not opened.
    """
    kind = special_file_kind(path)
    if kind:
        raise OSError(errno.EINVAL, f"is {kind}, not a file; give a file", str(path))
    if path.stat().st_size > most:
        message = f"is larger than {most >> 20} MiB, the largest size that is read"
        raise OSError(errno.EFBIG, message, str(path))
    return path.read_bytes()


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The UTF-8 text of a file. Raises as `read_file` does, and UnicodeDecodeError."""
    return read_file(path, most).decode("utf-8")


def refuse_unwritable(path: Path) -> None:
    """Raise OSError that names the obstacle if no file can be written at `path`.

    Creates no file and no folder; use it before long work.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def scratch_for(path: Path) -> Path:
    """The temporary path where this process writes the new content of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def is_scratch(path: Path) -> bool:
    """Whether a path has a name that `scratch_for` makes."""
    return SCRATCH.fullmatch(path.name) is not None


def remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link (never its target)."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file; after any interruption it has the complete old or the complete new content.

    Raises OSError that names `path`, not the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_for(path)
    try:
        with scratch.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
        _sync_renames(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        scratch.unlink(missing_ok=True)


def _sync_renames(folder: Path) -> None:
    """Flush the renames in a folder to disk; Windows has no such call."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def safe_name(words: Sequence[str], longest: int = 120) -> str:
    """A file name from untrusted names, joined by `-vs-`.

    Unsafe characters become `_`; then, or if the name is too long or ambiguous, a hash of the
    names is appended.
    """
    plain = "-vs-".join(re.sub(r"[^A-Za-z0-9@_.-]|^\W", "_", word) for word in words)
    ambiguous = any("-vs-" in word for word in words)
    if not plain or plain != "-vs-".join(words) or len(plain) > longest or ambiguous:
        suffix = hashlib.sha256("\0".join(words).encode("utf-8", "backslashreplace"))
        plain = f"{plain[: longest - 9]}-{suffix.hexdigest()[:8]}"
    return plain


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


Content = bytes | Path
"""The content of a file, or the path of a file with this content."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Number of files that are new, changed, removed and unchanged; total size in bytes."""

    new: int
    changed: int
    removed: int
    same: int
    size: int


def replace_folder(folder: Path, files: Mapping[str, Content]) -> Changes:
    """Replace the whole content of a folder by these files, keyed by their path in it.

    After any interruption the folder has the complete old or new content, or the next call (or
    `recover_folder`) restores the old one. Unchanged files keep their inode and times. Raises
    ResultsError if the folder cannot be written, or another process is writing it.
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
        raise ResultsError(f"{folder}: another process is writing it; wait until it ends") from None
    except OSError as error:
        raise ResultsError(f"{folder}: cannot be written: {error.strerror}") from None


def recover_folder(folder: Path) -> None:
    """Restore the old content if `replace_folder` was interrupted between its two renames."""
    folder = folder.resolve()
    old = _beside(folder, "old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)


def files_in(folder: Path) -> list[str]:
    """The relative paths of all files in a folder, links included, sorted."""
    return sorted(
        Path(parent, name).relative_to(folder).as_posix()
        for parent, folders, names in os.walk(folder)
        for name in [*names, *(name for name in folders if Path(parent, name).is_symlink())]
    )


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _replace(folder: Path, files: Mapping[str, Content]) -> Changes:
    recover_folder(folder)
    new, old = _beside(folder, "new"), _beside(folder, "old")
    for scratch in (new, old):
        shutil.rmtree(scratch, ignore_errors=True)
    try:
        changes = _fill(new, folder, files)
        if folder.exists() and any(folder.iterdir()):
            folder.rename(old)
        new.rename(folder)
    finally:
        recover_folder(folder)
        for scratch in (new, old):
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
            _link(there, target)
            continue
        counts["changed" if name in before else "new"] += 1
        with target.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    new.mkdir(exist_ok=True)
    return Changes(**counts, removed=len(before - set(files)), size=size)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file; copy it with its times on file systems without links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a cell that a spreadsheet treats as a formula."""


def text_cell(text: str) -> str:
    """A text as a spreadsheet cell; a text that looks like a formula gets an apostrophe first."""
    formula = text.startswith(FORMULA) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if formula else text


def class_fault(name: str) -> str:
    """The fault of a class name, "" if there is none; it is used in columns and file names."""
    if not name.strip():
        return "is empty"
    if name in {".", ".."} or "/" in name or "\\" in name:
        return "is a path"
    if not name.isprintable():
        return "has a control character"
    return "is a formula to a spreadsheet" if text_cell(name) != name else ""


def strip_control(text: str) -> str:
    """A text for a terminal: control characters except line breaks become U+FFFD."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredSignal:
    """A signal that arrived while signals were deferred; false if there was none."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def __bool__(self) -> bool:
        return self.number is not None

    def hold(self, number: int, _frame: FrameType | None) -> None:
        """Keep a signal for later. A second signal is not deferred; it ends the process at once."""
        self._restore()
        self.number = number

    def deliver(self) -> None:
        """Raise the deferred signal with its original handler. Do nothing if there is none."""
        if self.number is not None:
            number, self.number = self.number, None
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


@contextmanager
def defer_signals() -> Iterator[DeferredSignal]:
    """Defer SIGINT and SIGTERM in the block; a pending signal is delivered at its end.

    Outside the main thread Python allows no handlers: signals are not deferred there.
    """
    deferred = DeferredSignal()
    if threading.current_thread() is not threading.main_thread():
        yield deferred
        return
    for number in SIGNALS:
        signal.signal(number, deferred.hold)
    try:
        yield deferred
    finally:
        deferred._restore()  # noqa: SLF001 - of this module
    deferred.deliver()


MARKER = "sha256"


def ensure_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Create a folder by `fill` unless its content matches the hash in its marker file.

    The folder gets its name by one rename. An interrupted call leaves a `drawing-...` folder, which
    no reader uses and the next call removes.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if _is_whole(folder):
            return
        for stale in (folder, *folder.parent.glob(f"drawing-{folder.name}-*")):
            shutil.rmtree(stale, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"drawing-{folder.name}-", dir=folder.parent))
        try:
            fill(scratch)
            (scratch / MARKER).write_text(_content_sha256(scratch), encoding="ascii")
            scratch.rename(folder)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / MARKER).read_text(encoding="ascii") == _content_sha256(folder)
    except (OSError, UnicodeDecodeError):
        return False


def _content_sha256(folder: Path) -> str:
    """Hash of the path and content of every file except the marker."""
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MARKER:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            content.update(f"{path.relative_to(folder).as_posix()},{digest}\n".encode())
    return content.hexdigest()


Item = TypeVar("Item")
Result = TypeVar("Result")
BATCH = 4096
"""The largest number of queued calls; a million queued calls take a gigabyte."""


def thread_pool() -> ThreadPoolExecutor:
    """A pool with one thread per core."""
    return ThreadPoolExecutor(max_workers=os.cpu_count())


def map_on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results of `work` in the order of the items; raises the exceptions of `work`."""
    remaining = iter(items)
    with thread_pool() as pool:
        while batch := list(islice(remaining, BATCH)):
            yield from pool.map(work, batch)
