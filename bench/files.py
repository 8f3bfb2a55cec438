"""Files read and written whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Download:
    """A file of a row that a site offers.

    name    its path in the site
    source  where its content lies
    place   seed and fold of its training, "" for a submission
    finished  when the job ended or the submission was accepted: UTC, ISO 8601
    """

    name: str
    source: Path
    row: str
    place: str
    finished: str
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


def waiting_kind(path: Path) -> str:
    """What a path is in the words of WAITING; nothing for files, folders and what is not there."""
    try:
        return WAITING.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError:
        return ""


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file. Raises OSError that names it, also for one of more than so many bytes,
    and for a pipe, a socket or a device, which are not opened."""
    kind = waiting_kind(path)
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
