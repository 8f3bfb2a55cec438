"""Ensembles of existing rows, stored as rows with records.

An ensemble trains nothing. Its record contains the hashes of its members and the weights of each
fold, so its predictions can be reproduced from theirs.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import PredictionError, listing
from bench.io import write_atomically
from bench.job import BETWEEN, MEMBERS, Job, RunRecord, digest, to_json
from bench.leaderboard import RowFacts
from bench.method import Recipe
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.run import results
from bench.run.rows import UNDECLARED
from bench.run.worker import bench_facts


@dataclass(frozen=True)
class EnsembleFit:
    """Predictions of an ensemble for one seed and fold, and the weight of each member by row."""

    test: Predictions
    val: Predictions
    weights: Mapping[str, float]


def shared_slots(rows: Sequence[RowPredictions]) -> list[TrainingKey]:
    """The folds of the seeds that are complete in all members.

    Raises PredictionError without such a seed, or if a member lacks predictions of val.
    """
    for row in rows:
        if set(row.test) - set(row.val):
            raise PredictionError(
                f"{row.name}: has no predictions of val ({row.kind}), which select the weights; "
                "leave it out"
            )
    every = set.union(*(set(row.test) for row in rows))
    lacking = {row.name: every - set(row.test) for row in rows}
    broken = {slot.seed for slots in lacking.values() for slot in slots}
    shared = sorted(slot for slot in every if slot.seed not in broken)
    if not shared:
        gaps = [f"{name} lacks {_places(slots)}" for name, slots in lacking.items() if slots]
        raise PredictionError(
            f"no seed is complete in all members: {'; '.join(gaps)}; run the missing folds, or "
            "leave a member out"
        )
    return shared


def _places(slots: AbstractSet[TrainingKey]) -> str:
    """Seeds and folds as text: `seed 0 fold 3, 4, seed 1 fold 0`."""
    folds: dict[str, list[str]] = {}
    for slot in sorted(slots):
        place = f"seed {slot.seed}{f' repeat {slot.repeat}' if slot.repeat else ''}"
        folds.setdefault(place, []).append(str(slot.fold))
    return listing([f"{place} fold {', '.join(each)}" for place, each in folds.items()])


def is_ensemble(folder: Path) -> bool:
    """Whether all records of a row's folder are of an ensemble."""
    marks = results.visible(folder, "seed*/**/record.json")
    records = [results.read_record(path.parent) for path in marks]
    return bool(records) and all(each and each.job.members for each in records)


def ensemble_job(
    base: Mapping[str, str],
    name: str,
    pool: str,
    members: Mapping[str, RowFacts],
    classes: tuple[str, ...],
) -> Job:
    """The job of an ensemble's records; `write_ensemble` sets seed, repeat and fold.

    base  protocol, dataset, roster_sha256, roles_sha256
    """
    made_by = {row: facts.hashes["row"] for row, facts in members.items()}
    pixels = sorted({facts.hashes["pixels"] for facts in members.values()})
    return Job(
        **base,
        row=name,
        method=name,
        variant={MEMBERS: BETWEEN.join(members), "pool": pool},
        recipe=Recipe(model="ensemble", pretraining_data=_declared(members)),
        method_source=digest({"pool": pool, "members": made_by}),
        classes=classes,
        pixels_sha256=pixels[0] if len(pixels) == 1 else digest(pixels),
        seed=0,
        repeat=0,
        fold=0,
        column=0,
        threads=1,
    )


def write_ensemble(
    root: Path,
    repeats: int,
    folds: int,
    job: Job,
    made: Mapping[TrainingKey, EnsembleFit],
    command: str,
) -> Path:
    """Write predictions and records of all folds; returns the folder of the row."""
    row = root / job.protocol / job.dataset / job.row
    if is_ensemble(row):
        shutil.rmtree(row)
    host, versions, (commit, dirty) = bench_facts()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    note = _note(job, list(made.values()))
    for slot, each in made.items():
        column = slot.repeat * folds + slot.fold
        own = job.model_copy(update={**slot._asdict(), "column": column})
        folder = results.job_folder(root, own, repeats)
        folder.mkdir(parents=True, exist_ok=True)
        results.write_predictions(folder / results.PREDICTIONS, each.test)
        results.write_predictions(folder / f"val_{results.PREDICTIONS}", each.val)
        record = RunRecord(
            id=own.id,
            job=own,
            started=now,
            finished=now,
            wall_seconds=0,
            cpu_seconds=0,
            peak_memory_bytes=0,
            resumed=0,
            host=host,
            versions=versions,
            git_commit=commit,
            git_dirty=dirty,
            device="cpu",
            facts={"weights": {row: round(w, 6) for row, w in each.weights.items()}},
            notes=[note],
            command=command,
            files=results.files_beside_record(folder),
        )
        write_atomically(folder / "record.json", to_json(record).encode())
    return row


def _note(job: Job, made: Sequence[EnsembleFit]) -> str:
    """A note with the members and the range of their weights."""
    ranges = []
    for row in made[0].weights:
        weights = [each.weights[row] for each in made]
        ranges.append(f"{row} {min(weights):.2f} to {max(weights):.2f}")
    return (
        f"ensemble ({job.variant['pool']} pool), nothing was trained; weights by fold, chosen on "
        f"val alone: {', '.join(ranges)}; its cost is its members'"
    )


def _declared(members: Mapping[str, RowFacts]) -> str:
    """Pretraining data of all members; undeclared if one does not declare it."""
    seen = set()
    for facts in members.values():
        declared = facts.recipe.get("pretraining_data") or UNDECLARED
        seen.add("none" if "from scratch" in facts.badges else str(declared))
    if UNDECLARED in seen:
        return UNDECLARED
    return ", ".join(sorted(seen - {"none"})) or "none"
