"""Rows: the records of a results folder and of the committed one, joined to what is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.errors import ResultsError
from bench.estimates import RowFacts
from bench.files import sha256_of
from bench.job import RunRecord
from bench.predictions import Predictions, RowPredictions
from bench.run import results

OVERLAPPING = ("ham10000", "isic", "bcn20000", "msk")
"""Words in a declaration of pretraining data that mean that test images may have been seen."""


@dataclass(frozen=True)
class Expected:
    """What a record must have been made for to stand on a leaderboard."""

    protocol: str
    dataset: str
    classes: tuple[str, ...]
    roster_sha256: str
    roles_sha256: str


@dataclass(frozen=True)
class _Run:
    folder: Path
    record: RunRecord


def collect_rows(
    folders: Sequence[Path], expected: Expected, passports: Mapping[str, str], committed: Path
) -> list[tuple[RowPredictions, RowFacts]]:
    """Every row found in the results folders; an earlier folder wins over a later one.

    Records of one row that were made by different code or data (their row ids differ) are never
    pooled: the ones of the first folder, and in it the newest, stand for the row.
    """
    chosen: dict[str, dict[Any, _Run]] = {}
    strangers: dict[str, int] = {}
    for root in folders:
        for name, runs in _by_row(root, expected).items():
            newest = max(runs, key=lambda run: run.record.finished).record.job.row_id
            have = chosen.setdefault(name, {})
            wanted = next(iter(have.values())).record.job.row_id if have else newest
            for run in runs:
                if run.record.job.row_id == wanted:
                    have.setdefault(run.record.job.slot, run)
                else:
                    strangers[name] = strangers.get(name, 0) + 1
    return [
        _row(list(runs.values()), expected, passports, strangers.get(name, 0), committed)
        for name, runs in sorted(chosen.items())
    ]


def _by_row(root: Path, expected: Expected) -> dict[str, list[_Run]]:
    rows: dict[str, list[_Run]] = {}
    for folder, record in results.records(root, expected.protocol, expected.dataset):
        job = record.job
        if (job.roster_sha256, job.roles_sha256) == (expected.roster_sha256, expected.roles_sha256):
            rows.setdefault(job.row, []).append(_Run(folder, record))
    return rows


def _row(
    runs: list[_Run],
    expected: Expected,
    passports: Mapping[str, str],
    strangers: int,
    committed: Path,
) -> tuple[RowPredictions, RowFacts]:
    first = runs[0].record.job
    test = {run.record.job.slot: _predictions(run, "predictions", expected) for run in runs}
    val = {
        run.record.job.slot: _predictions(run, "val_predictions", expected)
        for run in runs
        if "val_predictions.parquet" in run.record.files
    }
    row = RowPredictions(first.row, first.method, "trained", test, val)
    return row, _facts(runs, passports.get(first.method, ""), strangers, committed)


def _predictions(run: _Run, name: str, expected: Expected) -> Predictions:
    path = run.folder / f"{name}.parquet"
    stated = run.record.files.get(path.name)
    if not path.is_file() or sha256_of(path) != stated:
        raise ResultsError(
            f"{path}: is not the file that the record beside it was written for; "
            f"remove {run.folder} and run again"
        )
    return results.read_predictions(path, expected.classes)


def _facts(runs: list[_Run], passport: str, strangers: int, committed: Path) -> RowFacts:
    records = [run.record for run in runs]
    first = records[0]
    notes = list(dict.fromkeys(note for record in records for note in record.notes))
    if strangers:
        notes.append(
            f"{strangers} records of other code, weights or pixels are left out of this row"
        )
    if any(record.git_dirty for record in records):
        notes.append("made by code with changes that are not committed")
    badges = ["from scratch"] if first.facts.get("initial_weights") == "random" else []
    if all(run.folder.is_relative_to(committed) for run in runs):
        badges.append("committed")
    return RowFacts(
        variant=first.job.variant,
        badges=tuple(badges),
        notes=tuple(notes),
        cost=_cost(records),
        command=first.command,
        passport=passport,
        environment={
            **first.versions,
            **{name: str(value) for name, value in first.host.items()},
            "device": first.device,
            "threads": str(first.job.threads),
            "commit": first.git_commit,
            "finished": max(record.finished for record in records),
        },
        hashes={
            "row": first.job.row_id,
            "roster": first.job.roster_sha256,
            "roles": first.job.roles_sha256,
            "pixels": first.job.pixels_sha256,
            "weights": first.job.weights_sha256 or "none",
            **{
                f"seed{record.job.seed}/fold{record.job.column} predictions": record.files[
                    "predictions.parquet"
                ]
                for record in records
            },
        },
        unranked=_why_unranked(first),
    )


def _cost(records: Sequence[RunRecord]) -> dict[str, float]:
    """Sums over all jobs of the row for times, the largest peak memory, means for the rest."""
    cost: dict[str, float] = {
        "jobs": len(records),
        "wall_seconds": round(sum(record.wall_seconds for record in records), 1),
        "peak_memory_bytes": max(record.peak_memory_bytes for record in records),
    }
    for name, combine in (
        ("train_seconds", sum),
        ("parameters", fmean),
        ("images_per_second", fmean),
        ("epochs", fmean),
    ):
        values = [float(r.facts[name]) for r in records if name in r.facts]
        if len(values) == len(records):
            cost[name] = round(combine(values), 1)
    return cost


def _why_unranked(record: RunRecord) -> str:
    if not record.job.weights_sha256:
        return ""
    declared = str(record.facts.get("pretraining_data", "undeclared")).lower()
    if declared == "undeclared":
        return "its pretraining data is not declared"
    if any(word in declared for word in OVERLAPPING):
        return f"its pretraining data ({declared}) overlaps the test images"
    return ""
