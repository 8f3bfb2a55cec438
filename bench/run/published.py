"""Files of a results folder that pages link to or a site publishes.

The folder may be from elsewhere: a file that is no page of ours is passed over.
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
