"""Files of a results folder that pages link to or a site publishes.

Files that are not pages of the bench are ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from bench.errors import ResultsError
from bench.io import Download, read_text, safe_name, sha256_of
from bench.leaderboard import LEAKAGE_METER, ComparisonReport, Leaderboard
from bench.run import results
from bench.run.results import BOARD, LEADERBOARD
from bench.run.submissions import all_submissions

KEPT = ("record.json", "predictions.parquet", "val_predictions.parquet", "history.csv")
"""Published files of a job's folder; never its checkpoints, logs or images."""
FOLDER = "results"
LONGEST = 100


def boards_in(root: Path) -> list[tuple[str, str]]:
    """Protocol and dataset of every leaderboard with a row in a results folder, in path order."""
    boards = {folder.relative_to(root).parts[:2] for folder in results.job_folders(root)}
    boards |= {
        path.relative_to(root).parts[:2] for path in results.visible(root, "*/*/*/submission.json")
    }
    return sorted((protocol, dataset) for protocol, dataset in boards)


def downloads(
    roots: Sequence[Path], protocol: str, dataset: str, roles_sha256: str
) -> list[Download]:
    """Records and predictions of every row of a leaderboard; the first folder with a file counts.

    A file of folder number N that differs is published as `<row>.N`. Raises ResultsError for a file
    that does not match its hash in the record.
    """
    by_name: dict[str, Download] = {}
    for number, root in enumerate(roots, start=1):
        for file in [
            *_of_jobs(root, protocol, dataset, roles_sha256),
            *_of_submissions(root, protocol, dataset, roles_sha256),
        ]:
            first = by_name.get(_name(protocol, dataset, file, 1))
            same = first is None or first.sha256 == file.sha256
            name = _name(protocol, dataset, file, 1 if same else number)
            by_name.setdefault(name, replace(file, name=name))
    return sorted(by_name.values(), key=lambda file: file.name)


def _name(protocol: str, dataset: str, file: Download, number: int) -> str:
    row = safe_name([file.row], LONGEST) + (f".{number}" if number > 1 else "")
    return f"{FOLDER}/{protocol}/{dataset}/{row}/{file.name}"


def _of_jobs(root: Path, protocol: str, dataset: str, roles: str) -> Iterator[Download]:
    for folder, record in results.records(root, protocol, dataset):
        if record.job.roles_sha256 != roles:
            continue
        inside = Path(*folder.relative_to(root / protocol / dataset).parts[1:]).as_posix()
        for name in KEPT:
            path = folder / name
            if not path.is_file():
                continue
            sha256 = sha256_of(path)
            if name in record.files and record.files[name] != sha256:
                raise ResultsError(
                    f"{path}: does not match its hash in {results.RECORD}; remove {folder} and run "
                    "again"
                )
            yield Download(
                f"{inside}/{name}",
                path,
                record.job.row,
                inside,
                sha256,
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
                sha256_of(path),
                path.stat().st_size,
            )


COMPARISONS = "compare/*/comparison.json"
Result = TypeVar("Result", Leaderboard, ComparisonReport)


def compared_pages(leaderboard: Path, there: Collection[str]) -> list[tuple[str, str]]:
    """Address and title of every comparison page in a leaderboard's folder, sorted by title.

    there  the rows of the leaderboard; a comparison with another row is left out
    """
    pages = [
        (f"compare/{quote(path.parent.name)}/index.html", report.title)
        for path, report in _read_all(leaderboard, COMPARISONS, ComparisonReport)
        if path.with_name("index.html").is_file() and set(report.rows) <= set(there)
    ]
    return sorted(pages, key=lambda page: page[1])


def stored_comparisons(leaderboard: Path) -> list[ComparisonReport]:
    """Every comparison in a leaderboard's folder, as it was written."""
    return [report for _, report in _read_all(leaderboard, COMPARISONS, ComparisonReport)]


def leakage_meters(leaderboard: Path, roster_sha256: str) -> Iterator[tuple[str, Leaderboard]]:
    """Leakage meters on the same data: their address from the leaderboard's page, and results."""
    dataset, root = leaderboard.parent.name, leaderboard.parents[2]
    pattern = f"*/{escape(dataset)}/{LEADERBOARD}/{BOARD}"
    for path, board in _read_all(root, pattern, Leaderboard):
        same = board.dataset.roster_sha256 == roster_sha256
        meter = board.arms is not None and board.arms.kind == LEAKAGE_METER
        if same and meter and path.parent != leaderboard:
            parts = (path.parents[2].name, dataset, LEADERBOARD, "index.html")
            yield "/".join(("../../..", *map(quote, parts))), board


def _read_all(folder: Path, pattern: str, kind: type[Result]) -> Iterator[tuple[Path, Result]]:
    """Every result below a folder, in path order; files of another kind are skipped."""
    for path in sorted(folder.glob(pattern)):
        try:
            yield path, kind.from_json(read_text(path))
        except (OSError, UnicodeDecodeError, ResultsError):
            continue
