"""Two results folders made one; contradictions are refused before anything is copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import OFFENDERS_SHOWN, ResultsError
from bench.run import results


@dataclass(frozen=True, slots=True)
class Merged:
    """How many jobs (and submissions) were copied, and how many were there already, equal."""

    copied: int
    equal: int
    unfinished: int


def merge_results(source: Path, target: Path) -> Merged:
    """Copy every finished job and submission of `source` into `target`.

    A job is copied whole into a folder beside its place and renamed, so an interruption leaves
    either all of it or nothing. Raises ResultsError where both folders hold something else at one
    place; then nothing is copied.
    """
    finished, unfinished = _finished(source)
    contradictions, wanted, equal = [], [], 0
    for folder in finished:
        place = target / folder.relative_to(source)
        verdict = _compare(folder, place)
        if _holds_links(folder):
            verdict = f"{folder} holds a link; a results folder is files alone"
        if verdict == "equal":
            equal += 1
        elif verdict:
            contradictions.append(f"{place}: {verdict}")
        else:
            wanted.append((folder, place))
    if contradictions:
        shown = "\n".join(f"  - {each}" for each in contradictions[:OFFENDERS_SHOWN])
        raise ResultsError(
            f"{source} contradicts {target} in {len(contradictions)} places; nothing was copied:\n"
            f"{shown}\nkeep one of each, or merge into another folder"
        )
    for folder, place in wanted:
        _copy(folder, place)
    return Merged(len(wanted), equal, unfinished)


def _holds_links(folder: Path) -> bool:
    """Whether a folder from elsewhere would bring in what lies outside of it."""
    return any(path.is_symlink() for path in [folder, *folder.rglob("*")])


def _finished(root: Path) -> tuple[Sequence[Path], int]:
    """Folders of finished jobs and of submissions, and how many jobs are not finished."""
    folders = list(results.job_folders(root))
    done = [folder for folder in folders if results.read_record(folder) is not None]
    submitted = sorted(path.parent for path in root.glob("*/*/*/submission.json"))
    return [*done, *submitted], len(folders) - len(done)


def _compare(folder: Path, place: Path) -> str:
    """What contradicts, "equal", or "" where the place is free or holds an unfinished job."""
    if (folder / "submission.json").exists():
        return _compare_submissions(folder, place)
    mine, theirs = results.read_record(folder), results.read_record(place)
    if results.is_locked(place):
        return "a job is running there"
    if mine is None or theirs is None:
        return ""
    if mine.id != theirs.id:
        return "holds a job of other code, threads, weights or pixels"
    if mine.files.get(results.PREDICTIONS) != theirs.files.get(results.PREDICTIONS):
        return "the same job gave other predictions there"
    return "equal"


def _compare_submissions(folder: Path, place: Path) -> str:
    if not place.exists():
        return ""
    own, other = folder / "submission.json", place / "submission.json"
    if other.exists() and own.read_bytes() == other.read_bytes():
        return "equal"
    return "another row has this name"


def _copy(folder: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        shutil.copytree(folder, scratch, ignore=shutil.ignore_patterns(results.LOCK, ".*.tmp"))
        if place.exists():  # an unfinished job of the same place
            shutil.rmtree(place)
        scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
