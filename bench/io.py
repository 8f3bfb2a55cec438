"""Atomic files and folders, hashes, sanitised text, deferred signals and thread pools.

<parent>/.<name>.new    the new content while it is written; then, for a moment, the old one
    <parent>/.<name>.old    the old content, on systems that cannot exchange two folders at once
    <parent>/.<name>.lock   held while it goes on

What is left of an interrupted run is put right by the next one.
"""

from __future__ import annotations

import ctypes
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
    """A file of a row that a site offers.

    name    its path in the site
    source  where its content lies
    place   seed and fold of its training, "" for a submission
    """

    name: str
    source: Path
    row: str
    place: str
    sha256: str
    size: int


WAITING = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What stands in a folder like a file, and may keep whoever opens it waiting for ever."""


MOST_BYTES = 4 * 2**30
"""Of a file that is read whole: a table of a million rows has a tenth of it."""


MOST_TEXT = 64 * 2**20
"""Of a JSON file: that of a leaderboard of 200 methods has a quarter of it."""


SCRATCH = re.compile(r"\..+\.\d+\.tmp")
"""Names of what is made beside its place, hidden, with the number of the process that makes it."""


def special_file_kind(path: Path) -> str:
    """What a path is in the words of WAITING; nothing for files, folders and what is not there."""
    try:
        return WAITING.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError:
        return ""


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file. Raises OSError that names it, also for one of more than so many bytes,
    and for a pipe, a socket or a device, which are not opened."""
    kind = special_file_kind(path)
    if kind:
        raise OSError(errno.EINVAL, f"is {kind}, not a file; give a file", str(path))
    if path.stat().st_size > most:
        told = f"is larger than {most >> 20} MiB, too large to be read"
        raise OSError(errno.EFBIG, told, str(path))
    return path.read_bytes()


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The UTF-8 text of a file, as `read_file` gives it. Raises UnicodeDecodeError where it is
    none."""
    return read_file(path, most).decode("utf-8")


def refuse_unwritable(path: Path) -> None:
    """Raise OSError that names what is in the way, unless a file could be written at `path`.

    Leaves nothing behind, no folder either, so it can be asked before long work.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    place = path.parent
    while not place.exists():
        place = place.parent
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from None


def scratch_for(path: Path) -> Path:
    """Where this process makes what is to lie at `path`, before it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def is_scratch(path: Path) -> bool:
    """Whether a path is named as `scratch_for` names what is half made."""
    return SCRATCH.fullmatch(path.name) is not None


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link, never what the link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that after any interruption the old or the new content is there, whole.

    Raises OSError that names the file asked for, not the one it is written into first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_for(path)
    try:
        with scratch.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
        _keep_names(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        scratch.unlink(missing_ok=True)


def _keep_names(folder: Path) -> None:
    """Have a folder's renames reach the disk, where the system can (Windows cannot)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def safe_name(words: Sequence[str], longest: int = 120) -> str:
    """Names that anyone chose as one name of a file or folder, joined by `-vs-`.

    What makes no good file name, or too long a one, is replaced and told apart by a hash.
    """
    plain = "-vs-".join(re.sub(r"[^A-Za-z0-9@_.-]|^\W", "_", word) for word in words)
    ambiguous = any("-vs-" in word for word in words)
    if not plain or plain != "-vs-".join(words) or len(plain) > longest or ambiguous:
        own = hashlib.sha256("\0".join(words).encode("utf-8", "backslashreplace")).hexdigest()[:8]
        plain = f"{plain[: longest - 9]}-{own}"
    return plain


def sha256_of(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a cell begins that a spreadsheet takes for a formula."""


def text_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that looks like it gets an apostrophe."""
    looks = text.startswith(FORMULA) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if looks else text


def class_fault(name: str) -> str:
    """Why a word cannot be a class's name, which heads columns and names pictures; or ""."""
    if not name.strip():
        return "is empty"
    if name in {".", ".."} or "/" in name or "\\" in name:
        return "is a path"
    if not name.isprintable():
        return "has a control character"
    return "is what a spreadsheet takes for a formula" if text_cell(name) != name else ""


def strip_control(text: str) -> str:
    """A text for a terminal, on as many lines: what would steer it is shown as a U+FFFD."""
    return "".join(mark if mark.isprintable() or mark == "\n" else "\ufffd" for mark in text)


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredSignal:
    """A signal that waits, if one came."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def __bool__(self) -> bool:
        return self.number is not None

    def hold(self, number: int, _frame: FrameType | None) -> None:
        """Remember a signal. A second one does not wait: whoever sends it is in a hurry."""
        self._restore()
        self.number = number

    def let_go(self) -> None:
        """Let the signal that waits do what it would have done. Nothing if there is none."""
        if self.number is not None:
            number, self.number = self.number, None
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


@contextmanager
def defer_signals() -> Iterator[DeferredSignal]:
    """Hold SIGINT and SIGTERM back within; what still waits at the end is let go then.

    Outside the main thread, where Python sets no handlers, nothing is held back.
    """
    held = DeferredSignal()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    for number in SIGNALS:
        signal.signal(number, held.hold)
    try:
        yield held
    finally:
        held._restore()  # noqa: SLF001 - of this module
    held.let_go()


MARKER = "sha256"


def ensure_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` make the folder anew unless its content is what its marker says.

    It appears under its name by one rename; a killed filling leaves a `drawing-...` folder that
    nobody reads and the next one removes.
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
    """Hash of every file's path and content but the marker's own."""
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MARKER:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            content.update(f"{path.relative_to(folder).as_posix()},{digest}\n".encode())
    return content.hexdigest()


Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = 4096
"""So many calls wait at most: a million waiting ones take a gigabyte."""


def thread_pool() -> ThreadPoolExecutor:
    """A thread a core."""
    return ThreadPoolExecutor(max_workers=os.cpu_count())


def map_on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results of `work` in the order of the items; raises what it raises."""
    waiting = iter(items)
    with thread_pool() as pool:
        while some := list(islice(waiting, AT_ONCE)):
            yield from pool.map(work, some)
