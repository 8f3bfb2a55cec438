"""Checkpoints that a user means: files, or folders of results in which they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import ResultsError
from bench.files import sha256_of

SUFFIX = ".safetensors"


def best_checkpoint(folder: Path, record: Any) -> Path | None:
    """A job's best checkpoint, if it is there. Raises ResultsError where it is another."""
    kind = "best_ema" if record.facts.get("selected_weights") == "ema" else "best"
    path = folder / "checkpoints" / f"{kind}{SUFFIX}"
    if not path.is_file():
        return None
    stated = record.files.get(path.relative_to(folder).as_posix())
    if stated != sha256_of(path):
        raise ResultsError(
            f"{path}: is not the file that the record beside it was written for; "
            f"remove {folder} and run again"
        )
    return path


def meant_checkpoints(given: Sequence[Path]) -> list[Path]:
    """The files meant: each as it stands; of a folder, the best of every finished job below it,
    else the checkpoints that lie in it.

    Raises ResultsError for what is neither, or a folder without any.
    """
    return [found for path in given for found in _meant(path)]


def _meant(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ResultsError(
            f"{path}: no such checkpoint; give a best{SUFFIX}, or a folder of results that holds "
            "such files"
        )
    found = list(_of_jobs(path)) or sorted(path.glob(f"*{SUFFIX}"))
    if not found:
        raise ResultsError(
            f"{path}: holds no checkpoint of a finished job; train one first (python bench.py run)"
        )
    return found


def _of_jobs(folder: Path) -> Iterator[Path]:
    from bench.run.results import read_record, visible

    for mark in visible(folder, "**/record.json"):
        record = read_record(mark.parent)
        best = None if record is None else best_checkpoint(mark.parent, record)
        if best is not None:
            yield best
