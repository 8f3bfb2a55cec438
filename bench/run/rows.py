"""Rows: records of a results folder and committed records, with their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.io import sha256_of
from bench.job import Job, RunRecord
from bench.leaderboard import RowFacts
from bench.predictions import RowPredictions, TrainingKey
from bench.run import results

UNDECLARED = "undeclared"
OVERLAPPING = (
    *("ham10000", "ham10k", "hmnist", "dermamnist", "medmnist"),
    *("isic", "bcn20000", "bcn20k", "msk"),
)
"""What in a declaration, its letters and digits alone, means that test images may have been seen:
HAM10000 in all its forms, DermaMNIST's among them, and collections that it went into or shares
images with."""


def fault_of_pretraining(declared: str) -> str:
    """Why a row whose weights were made from this data takes no part in the ranking, "" if it does.

    "none" declares a training from scratch.
    """
    said = declared.strip().lower()
    if said in {"", UNDECLARED}:
        return "its pretraining data is not declared"
    letters = "".join(character for character in said if character.isalnum())
    if any(word in letters for word in OVERLAPPING):
        return f"its pretraining data ({said}) overlaps the test images"
    return ""


BESIDE_OWN = " (committed)"
"""What a committed row's name ends in where it stands beside one of the user's own."""


@dataclass(frozen=True)
class Expected:
    """What a record must have been made for to stand on a leaderboard.

    seeds  the protocol's: whose trainings a row's numbers are of
    """

    protocol: str
    dataset: str
    classes: tuple[str, ...]
    roster_sha256: str
    roles_sha256: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class _Run:
    folder: Path
    record: RunRecord


def collect_rows(
    results_folder: Path, committed: Path, expected: Expected, passports: Mapping[str, str]
) -> list[tuple[RowPredictions, RowFacts]]:
    """Every row of the results folder and of the committed ones.

    Records of one name that were made by different code, threads, weights or pixels (their row ids
    differ) are never pooled. Of one folder, the ones with the most slots stand for the row, and the
    rest is counted in a note; a committed row that differs from the user's own keeps its place as
    "<row> (committed)".

    A fold whose predictions are damaged counts as missing: `results.damaged_folds` names them.
    """
    own, public = _chosen(results_folder, expected), _chosen(committed, expected)
    rows = []
    for name, choice in own.items():
        published = public.get(name)
        if published is not None and published.row_id == choice.row_id:
            choice.runs.update({s: r for s, r in published.runs.items() if s not in choice.runs})
            del public[name]
        rows.append(_row(name, choice, expected, passports, committed))
    for name, choice in public.items():
        shown = f"{name}{BESIDE_OWN}" if name in own else name
        rows.append(_row(shown, choice, expected, passports, committed))
    return sorted(rows, key=lambda row: row[0].name)


@dataclass(frozen=True)
class _Choice:
    """The runs of one row id that stand for a row, and how many of others were left out."""

    row_id: str
    runs: dict[TrainingKey, _Run]
    strangers: int


def _chosen(root: Path, expected: Expected) -> dict[str, _Choice]:
    choices = {}
    for name, runs in _by_row(root, expected).items():
        by_id: dict[str, list[_Run]] = {}
        for run in runs:
            by_id.setdefault(run.record.job.row_id, []).append(run)
        row_id, kept = max(
            by_id.items(), key=lambda item: (len(item[1]), max(r.record.finished for r in item[1]))
        )
        slots = {run.record.job.slot: run for run in kept}
        choices[name] = _Choice(row_id, slots, len(runs) - len(kept))
    return choices


def _by_row(root: Path, expected: Expected) -> dict[str, list[_Run]]:
    rows: dict[str, list[_Run]] = {}
    for folder, record in results.whole_records(root, expected.protocol, expected.dataset):
        job = record.job
        if (job.roster_sha256, job.roles_sha256) == (expected.roster_sha256, expected.roles_sha256):
            rows.setdefault(job.row, []).append(_Run(folder, record))
    return rows


def _row(
    name: str,
    choice: _Choice,
    expected: Expected,
    passports: Mapping[str, str],
    committed: Path,
) -> tuple[RowPredictions, RowFacts]:
    runs = list(choice.runs.values())
    first = runs[0].record.job
    test, val = (
        {
            slot: results.read_predictions(run.folder / name, expected.classes)
            for slot, run in choice.runs.items()
            if name in run.record.files
        }
        for name in (results.PREDICTIONS, f"val_{results.PREDICTIONS}")
    )
    row = RowPredictions(name, first.method, "trained", test, val)
    return row, _facts(runs, passports.get(first.method, ""), choice.strangers, committed, expected)


def _facts(
    runs: list[_Run], passport: str, strangers: int, committed: Path, expected: Expected
) -> RowFacts:
    records = [run.record for run in runs]
    first = records[0]
    members = first.job.members
    notes = _notes(records)
    if strangers:
        notes.append(
            f"{strangers} folds made by other code, threads, weights or pixels are left out"
        )
    if any(record.git_dirty for record in records):
        notes.append("made by code with changes that are not committed")
    notes += _differing_machines(records)
    badges = ["from scratch"] if first.facts.get("initial_weights") == "random" else []
    public = [run.record.job.slot for run in runs if run.folder.is_relative_to(committed)]
    if len(public) == len(runs):
        badges.append("committed")
    elif public:
        notes.append(_told_committed(public, [run.record.job.slot for run in runs]))
    return RowFacts(
        variant=first.job.variant,
        badges=tuple(badges),
        notes=tuple(notes),
        guards=_guards(records),
        cost={} if members else _cost(_counted(records, expected.seeds)),
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
        recipe=_recipe(first.job),
        members=members,
        history=_histories(runs),
    )


def _told_committed(public: Sequence[TrainingKey], every: Sequence[TrainingKey]) -> str:
    """Which folds of a row of one's own are the committed ones; seed and repeat where it has
    several.
    """
    places: dict[str, list[str]] = {}
    for slot in sorted(public):
        seed = f" of seed {slot.seed}" if len({each.seed for each in every}) > 1 else ""
        repeat = f" of repeat {slot.repeat}" if len({each.repeat for each in every}) > 1 else ""
        places.setdefault(f"{seed}{repeat}", []).append(str(slot.fold))
    told = [
        f"fold{'s' if folds[1:] else ''} {_enumerated(folds)}{where}"
        for where, folds in places.items()
    ]
    return (
        f"{_enumerated(told)} {'are the committed ones' if public[1:] else 'is the committed one'}"
    )


def _enumerated(words: Sequence[str]) -> str:
    """`1`, `1 and 2`, `1, 2 and 3`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _recipe(job: Job) -> dict[str, Any]:
    """The row's switches; of an ensemble, which trained nothing, what its members' weights saw."""
    switches = job.recipe.model_dump()
    return {"pretraining_data": switches["pretraining_data"]} if job.members else switches


def _histories(runs: Sequence[_Run]) -> dict[str, Mapping[str, tuple[float, ...]]]:
    """The learning curves of the trainings whose history is still what the record vouches for."""
    found: dict[str, Mapping[str, tuple[float, ...]]] = {}
    for run in runs:
        path = run.folder / results.HISTORY
        stated = run.record.files.get(path.name)
        if stated is not None and path.is_file() and sha256_of(path) == stated:
            slot = run.record.job.slot
            found[f"seed {slot.seed} fold {run.record.job.column}"] = results.read_history(path)
    return found


def _notes(records: Sequence[RunRecord]) -> list[str]:
    """What was noted, each once, but for what guards said: that stands apart."""
    told = {(record.id, sentence) for record in records for sentence in _said(record).values()}
    notes = [note for record in records for note in record.notes if (record.id, note) not in told]
    return list(dict.fromkeys(notes))


def _guards(records: Sequence[RunRecord]) -> dict[str, str] | None:
    """The first thing that each guard said, and in how many jobs it spoke; None: nobody watched.

    Its sentences hold numbers of their fold, so they differ.
    """
    if not any("guards" in record.facts for record in records):
        return None
    by_guard: dict[str, list[str]] = {}
    for record in records:
        for guard, sentence in _said(record).items():
            by_guard.setdefault(guard, []).append(sentence)
    return {
        guard: sentences[0]
        + (f" (one of {len(sentences)} jobs that say so)" if sentences[1:] else "")
        for guard, sentences in by_guard.items()
    }


def _said(record: RunRecord) -> dict[str, str]:
    """What the guards of a training said, by guard; those of its stages, too (`teacher_guards`)."""
    told = [
        value
        for name, value in record.facts.items()
        if name.endswith("guards") and isinstance(value, Mapping)
    ]
    return {str(guard): str(sentence) for said in told for guard, sentence in said.items()}


def _differing_machines(records: Sequence[RunRecord]) -> list[str]:
    """A note where the row's folds were not all made on one kind of machine by one software."""
    places = {
        "devices": {record.device for record in records},
        "processors": {str(record.host.get("processor")) for record in records},
        "versions of torch": {record.versions.get("torch", "?") for record in records},
    }
    return [
        f"made on several {what}: {', '.join(sorted(found))}"
        for what, found in places.items()
        if len(found) > 1
    ]


def _counted(records: Sequence[RunRecord], seeds: Sequence[int]) -> Sequence[RunRecord]:
    """The trainings that a row's numbers are of: those of these seeds, else all that it has."""
    return [record for record in records if record.job.seed in seeds] or records


def _cost(records: Sequence[RunRecord]) -> dict[str, float]:
    """What the trainings of the protocol's seeds took, or all where there is none of them.

    Sums over these jobs for times, the largest peak memory, means for the rest: a cost stands
    beside numbers of these seeds alone, and further seeds make no method dearer.
    """
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
        ("gpu_peak_memory_bytes", max),
        ("utilisation", fmean),
    ):
        told = [record.facts.get(name) for record in records]
        values = [float(value) for value in told if isinstance(value, int | float)]
        if len(values) == len(records):
            cost[name] = round(combine(values), 3 if name == "utilisation" else 1)
    return cost


def _why_unranked(record: RunRecord) -> str:
    """The bench's engine vouches for random weights; of all others somebody says what they saw."""
    if record.facts.get("initial_weights") == "random":
        return ""
    told = record.facts.get("pretraining_data") or record.job.recipe.pretraining_data or UNDECLARED
    return fault_of_pretraining(str(told))
