"""Folders of the cache that a program fills: whole under their name, or not there at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

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
