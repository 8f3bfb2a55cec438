"""What of a results folder a site publishes: which boards, and which files of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.errors import ResultsError
from bench.files import Download, safe_name, sha256_of
from bench.run import results
from bench.run.submissions import all_submissions

KEPT = ("record.json", "predictions.parquet", "val_predictions.parquet", "history.csv")
"""Of a job's folder; never its checkpoints, logs or pictures."""
FOLDER = "results"
LONGEST = 100


def boards_in(root: Path) -> list[tuple[str, str]]:
    """Protocol and dataset of every board of a results folder that has a row, in path order."""
    found = {folder.relative_to(root).parts[:2] for folder in results.job_folders(root)}
    found |= {
        path.relative_to(root).parts[:2] for path in results.visible(root, "*/*/*/submission.json")
    }
    return sorted((protocol, dataset) for protocol, dataset in found)


def downloads(
    roots: Sequence[Path], protocol: str, dataset: str, roles_sha256: str
) -> list[Download]:
    """Records and predictions of every row of a board; the first folder that has a file counts.

    A file of a later folder that differs lies beside it, under `<row>.2`. Raises ResultsError for
    predictions that are not what their record was written for.
    """
    found: dict[str, Download] = {}
    for number, root in enumerate(roots, start=1):
        for one in [
            *_of_jobs(root, protocol, dataset, roles_sha256),
            *_of_submissions(root, protocol, dataset, roles_sha256),
        ]:
            there = found.get(_name(protocol, dataset, one, 1))
            again = 1 if there is None or there.sha256 == one.sha256 else number
            name = _name(protocol, dataset, one, again)
            found.setdefault(name, replace(one, name=name))
    return sorted(found.values(), key=lambda one: one.name)


def _name(protocol: str, dataset: str, one: Download, number: int) -> str:
    row = safe_name([one.row], LONGEST) + (f".{number}" if number > 1 else "")
    return f"{FOLDER}/{protocol}/{dataset}/{row}/{one.name}"


def _of_jobs(root: Path, protocol: str, dataset: str, roles: str) -> Iterator[Download]:
    for folder, record in results.records(root, protocol, dataset):
        if record.job.roles_sha256 != roles:
            continue
        inside = Path(*folder.relative_to(root / protocol / dataset).parts[1:]).as_posix()
        for name in KEPT:
            path = folder / name
            if not path.is_file():
                continue
            found = sha256_of(path)
            if name in record.files and record.files[name] != found:
                raise ResultsError(
                    f"{path}: is not the file that the record beside it was written for; "
                    f"remove {folder} and run again"
                )
            yield Download(
                f"{inside}/{name}",
                path,
                record.job.row,
                inside,
                record.finished,
                found,
                path.stat().st_size,
            )


def _of_submissions(root: Path, protocol: str, dataset: str, roles: str) -> Iterator[Download]:
    for file, submission in all_submissions(root, protocol, dataset):
        if submission.roles_sha256 != roles:
            continue
        for path in (file, file.with_name("submission.json")):
            yield Download(
                path.name,
                path,
                submission.name,
                "",
                submission.accepted,
                sha256_of(path),
                path.stat().st_size,
            )
