"""Files of a results folder that pages link to or a site publishes.

The folder may be from elsewhere: a file that is no page of ours is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bench.errors import ResultsError
from bench.io import Download, read_text, safe_name, sha256_of
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


T = TypeVar("T", bound="_Told")
Positive = Annotated[float, Field(gt=0)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _Compared(_Told):
    rows: Annotated[tuple[str, ...], Field(min_length=2)]
    metric: str

    @property
    def title(self) -> str:
        """Its rows, and by what they are compared."""
        return f"{' against '.join(self.rows)}, by {self.metric.replace('_', ' ')}"

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.rows)) < len(self.rows):
            raise ValueError("rows stand there twice")
        return self


class _Belief(_Told):
    rope: Positive


class _NonInferiority(_Told):
    margin: Positive


class _Pair(_Told):
    belief: _Belief | None = None
    non_inferiority: _NonInferiority | None = None


def _mapping(told: Any) -> Any:
    return told if isinstance(told, dict) else {}  # earlier versions told how many


class StoredComparison(_Compared):
    """What a comparison was asked, and what it rested on.

    family  the rows over whose pairs its p values are adjusted, each with its value of the metric,
            None where that is undefined; empty in what earlier versions wrote
    """

    family: Annotated[dict[str, float | None], BeforeValidator(_mapping)] = {}
    pairs: Annotated[tuple[_Pair, ...], Field(min_length=1)]

    @property
    def rope(self) -> float | None:
        """The region of practical equivalence; None where no test was made."""
        belief = self.pairs[0].belief
        return None if belief is None else belief.rope

    @property
    def margin(self) -> float | None:
        """The margin of non-inferiority, if one was asked for."""
        asked = self.pairs[0].non_inferiority
        return None if asked is None else asked.margin


class _Dataset(_Told):
    roster_sha256: str


class _Arms(_Told):
    kind: str


class _Board(_Told):
    dataset: _Dataset
    arms: _Arms | None


def compared_pages(leaderboard: Path, there: Collection[str]) -> list[tuple[str, str]]:
    """Address and title of every page of a comparison in a leaderboard's folder, by title: of those
    whose rows are all still there.
    """
    found = [
        (f"compare/{quote(path.parent.name)}/index.html", told.title)
        for path, told in _told(leaderboard, "compare/*/comparison.json", _Compared)
        if path.with_name("index.html").is_file() and set(told.rows) <= set(there)
    ]
    return sorted(found, key=lambda page: page[1])


def asked_comparisons(leaderboard: Path) -> list[StoredComparison]:
    """What every comparison in a leaderboard's folder was asked."""
    return [asked for _, asked in _told(leaderboard, "compare/*/comparison.json", StoredComparison)]


def leakage_meters(leaderboard: Path, roster_sha256: str) -> Iterator[tuple[str, str]]:
    """Leakage meters' pages on the same data: address from a leaderboard's page, and their JSON."""
    dataset, root = leaderboard.parent.name, leaderboard.parents[2]
    for path, told in _told(root, f"*/{escape(dataset)}/{LEADERBOARD}/{BOARD}", _Board):
        same = told.dataset.roster_sha256 == roster_sha256
        meter = told.arms is not None and told.arms.kind == "leakage-meter"
        if same and meter and path.parent != leaderboard:
            parts = (path.parents[2].name, dataset, LEADERBOARD, "index.html")
            yield "/".join(("../../..", *map(quote, parts))), read_text(path)


def _told(folder: Path, pattern: str, kind: type[T]) -> Iterator[tuple[Path, T]]:
    """Every file below a folder that can be read as what is looked for, in path order."""
    for path in sorted(folder.glob(pattern)):
        try:
            yield path, kind.model_validate_json(read_text(path))
        except (OSError, UnicodeDecodeError, ValidationError):
            continue  # no page of ours
