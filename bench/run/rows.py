"""Rows of the leaderboard: own and committed records with their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.io import sha256_of
from bench.job import Job, RunRecord, different_parts
from bench.leaderboard import RowFacts
from bench.predictions import RowPredictions, TrainingKey
from bench.run import results
from bench.run.results import StoredJob

UNDECLARED = "undeclared"
OVERLAPPING = (
    *("ham10000", "ham10k", "hmnist", "dermamnist", "medmnist"),
    *("isic", "bcn20000", "bcn20k", "msk"),
)
"""Names of datasets (letters and digits alone) that share images with the test images: HAM10000 in
all forms, DermaMNIST included, and collections that contain or overlap it."""


def fault_of_pretraining(declared: str) -> str:
    """Why a row with this declared pretraining data is not ranked, "" if it is.

    "none" declares training from scratch.
    """
    data = declared.strip().lower()
    if data in {"", UNDECLARED}:
        return "its pretraining data is not declared"
    letters = "".join(character for character in data if character.isalnum())
    if any(word in letters for word in OVERLAPPING):
        return f"its pretraining data ({data}) overlaps the test images"
    return ""


BESIDE_OWN = " (committed)"
"""Suffix of a committed row's name if an own row has the same name."""


@dataclass(frozen=True)
class Expected:
    """What a record must match to appear on a leaderboard.

    seeds  the protocol's seeds; the numbers of a row are of these trainings
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
    own_jobs: Sequence[StoredJob],
    committed_jobs: Sequence[StoredJob],
    expected: Expected,
    passports: Mapping[str, str],
) -> list[tuple[RowPredictions, RowFacts]]:
    """The rows of an own and of the committed results folder, as `scan_jobs` gives them.

    Records of one name with different row ids (other code, threads, weights or pixels) are never
    pooled. In one folder, the row id with the most folds is the row, and a note counts the rest; a
    committed row that differs from the own one is named "<row> (committed)".

    A damaged fold counts as missing: `results.damaged_folds` names it.
    """
    own, public = _chosen(own_jobs, expected), _chosen(committed_jobs, expected)
    committed = frozenset(job.folder for job in committed_jobs)
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
    """The runs of one row id that make the row, and the excluded runs.

    differing  what the first excluded run differs in
    """

    row_id: str
    runs: dict[TrainingKey, _Run]
    excluded: int
    differing: str


def _chosen(jobs: Sequence[StoredJob], expected: Expected) -> dict[str, _Choice]:
    choices = {}
    for name, runs in _by_row(jobs, expected).items():
        by_id: dict[str, list[_Run]] = {}
        for run in runs:
            by_id.setdefault(run.record.job.row_id, []).append(run)
        row_id, kept = max(
            by_id.items(), key=lambda item: (len(item[1]), max(r.record.finished for r in item[1]))
        )
        slots = {run.record.job.slot: run for run in kept}
        others = [run for run in runs if run.record.job.row_id != row_id]
        differing = different_parts(kept[0].record.job, others[0].record.job) if others else ""
        choices[name] = _Choice(row_id, slots, len(others), differing)
    return choices


def _by_row(jobs: Sequence[StoredJob], expected: Expected) -> dict[str, list[_Run]]:
    rows: dict[str, list[_Run]] = {}
    for folder, record in results.whole_records(jobs):
        job = record.job
        if (job.roster_sha256, job.roles_sha256) == (expected.roster_sha256, expected.roles_sha256):
            rows.setdefault(job.row, []).append(_Run(folder, record))
    return rows


def _row(
    name: str,
    choice: _Choice,
    expected: Expected,
    passports: Mapping[str, str],
    committed: frozenset[Path],
) -> tuple[RowPredictions, RowFacts]:
    first = next(iter(choice.runs.values())).record.job
    test, val = (
        {
            slot: results.read_predictions(run.folder / name, expected.classes)
            for slot, run in choice.runs.items()
            if name in run.record.files
        }
        for name in (results.PREDICTIONS, f"val_{results.PREDICTIONS}")
    )
    row = RowPredictions(name, first.method, "trained", test, val)
    return row, _facts(choice, passports.get(first.method, ""), committed, expected)


def _facts(
    choice: _Choice, passport: str, committed: frozenset[Path], expected: Expected
) -> RowFacts:
    runs = list(choice.runs.values())
    records = [run.record for run in runs]
    first = records[0]
    precision = first.facts.get("precision")
    members = first.job.members
    notes = _notes(records)
    if choice.excluded:
        notes.append(f"{choice.excluded} folds that differ in {choice.differing} are left out")
    if any(record.git_dirty for record in records):
        notes.append("made by code with changes that are not committed")
    notes += _differing_machines(records)
    mixed = _mixed_code(records)
    notes += [mixed] if mixed else []
    badges = ["from scratch"] if first.facts.get("initial_weights") == "random" else []
    badges += ["mixed code"] if mixed else []
    public = [run.record.job.slot for run in runs if run.folder in committed]
    if len(public) == len(runs):
        badges.append("committed")
    elif public:
        notes.append(_committed_note(public, [run.record.job.slot for run in runs]))
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
            **({"precision": str(precision)} if precision else {}),
            "threads": str(first.job.threads),
            **_learning(first),
            "commit": ", ".join(dict.fromkeys(record.git_commit for record in records)),
            "finished": max(record.finished for record in records),
        },
        hashes={
            "row": first.job.row_id,
            "roster": first.job.roster_sha256,
            "roles": first.job.roles_sha256,
            "pixels": first.job.pixels_sha256,
            "weights": first.job.weights_sha256 or "none",
            **{name: value for name, value in _further_hashes(first).items() if value},
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


def _further_hashes(record: RunRecord) -> dict[str, str]:
    job = record.job
    return {
        "metadata": job.metadata_sha256,
        "inputs": job.inputs_sha256,
        "engine": record.engine_sha256,
    }


def _mixed_code(records: Sequence[RunRecord]) -> str:
    """A note with the commits and their folds if different code of the bench made the folds."""
    if len({record.engine_sha256 for record in records}) == 1:
        return ""
    folds: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda record: record.job.slot):
        commit = f"{record.git_commit[:9] or 'unknown'}{' with changes' * record.git_dirty}"
        engine = f", source {record.engine_sha256[:8]}" if record.engine_sha256 else ""
        name = f"seed {record.job.seed} fold {record.job.column}"
        folds.setdefault(f"{commit}{engine}", []).append(name)
    parts = (f"{code} ({', '.join(names)})" for code, names in folds.items())
    return f"made by different code of the bench: {'; '.join(parts)}"


def _learning(record: RunRecord) -> dict[str, str]:
    """How many of the model's parameters learn, if the record has it."""
    learning, every = (record.facts.get(f"{key}parameters") for key in ("learning_", ""))
    if not isinstance(learning, int) or not isinstance(every, int):
        return {}
    return {"learning parameters": f"{learning} of {every}"}


def _committed_note(public: Sequence[TrainingKey], every: Sequence[TrainingKey]) -> str:
    """The folds of an own row that are committed; with seed and repeat if there are several."""
    places: dict[str, list[str]] = {}
    for slot in sorted(public):
        seed = f" of seed {slot.seed}" if len({each.seed for each in every}) > 1 else ""
        repeat = f" of repeat {slot.repeat}" if len({each.repeat for each in every}) > 1 else ""
        places.setdefault(f"{seed}{repeat}", []).append(str(slot.fold))
    names = [
        f"fold{'s' if folds[1:] else ''} {_enumerated(folds)}{where}"
        for where, folds in places.items()
    ]
    return (
        f"{_enumerated(names)} {'are the committed ones' if public[1:] else 'is the committed one'}"
    )


def _enumerated(words: Sequence[str]) -> str:
    """`1`, `1 and 2`, `1, 2 and 3`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _recipe(job: Job) -> dict[str, Any]:
    """The options of a row's recipe; of an ensemble only the pretraining data of its members."""
    options = job.recipe.model_dump()
    return {"pretraining_data": options["pretraining_data"]} if job.members else options


def _histories(runs: Sequence[_Run]) -> dict[str, Mapping[str, tuple[float, ...]]]:
    """The learning curves of the trainings whose history matches its hash in the record."""
    histories: dict[str, Mapping[str, tuple[float, ...]]] = {}
    for run in runs:
        path = run.folder / results.HISTORY
        sha256 = run.record.files.get(path.name)
        if sha256 is not None and path.is_file() and sha256_of(path) == sha256:
            job = run.record.job
            histories[f"seed {job.seed} fold {job.column}"] = results.read_history(path)
    return histories


def _notes(records: Sequence[RunRecord]) -> list[str]:
    """The notes of the jobs, each once, without training warnings, which are listed separately."""
    warnings = {(record.id, text) for record in records for text in _warnings(record).values()}
    notes = [note for job in records for note in job.notes if (job.id, note) not in warnings]
    return list(dict.fromkeys(notes))


def _guards(records: Sequence[RunRecord]) -> dict[str, str] | None:
    """Each training warning of a row with the number of its jobs; None if none were recorded.

    Shows the text of the first job, since the texts contain numbers of their fold.
    """
    if not any("guards" in record.facts for record in records):
        return None
    texts: dict[str, list[str]] = {}
    for record in records:
        for name, text in _warnings(record).items():
            texts.setdefault(name, []).append(text)
    return {
        name: first + (f" (one of {len(rest) + 1} jobs that say so)" if rest else "")
        for name, (first, *rest) in texts.items()
    }


def _warnings(record: RunRecord) -> dict[str, str]:
    """The training warnings of a job by name, those of its stages included (`teacher_guards`)."""
    stages = [
        value
        for name, value in record.facts.items()
        if name.endswith("guards") and isinstance(value, Mapping)
    ]
    return {str(name): str(text) for stage in stages for name, text in stage.items()}


def _differing_machines(records: Sequence[RunRecord]) -> list[str]:
    """A note for each property of machine or software that differs between the row's folds."""
    places = {
        "devices": {record.device for record in records},
        "processors": {str(record.host.get("processor")) for record in records},
        "versions of torch": {record.versions.get("torch", "?") for record in records},
    }
    return [
        f"made on several {what}: {', '.join(sorted(values))}"
        for what, values in places.items()
        if len(values) > 1
    ]


def _counted(records: Sequence[RunRecord], seeds: Sequence[int]) -> Sequence[RunRecord]:
    """The trainings with one of these seeds; all trainings if there are none."""
    return [record for record in records if record.job.seed in seeds] or records


def _cost(records: Sequence[RunRecord]) -> dict[str, float]:
    """The cost of these trainings: sums of times, maxima of memory, means of the rest."""
    cost: dict[str, float] = {
        "jobs": len(records),
        "wall_seconds": round(sum(record.wall_seconds for record in records), 1),
        "peak_memory_bytes": max(record.peak_memory_bytes for record in records),
    }
    for name, combine in (
        ("train_seconds", sum),
        ("parameters", fmean),
        ("learning_parameters", fmean),
        ("images_per_second", fmean),
        ("epochs", fmean),
        ("gpu_peak_memory_bytes", max),
        ("utilisation", fmean),
    ):
        facts = [record.facts.get(name) for record in records]
        values = [float(value) for value in facts if isinstance(value, int | float)]
        if len(values) == len(records):
            cost[name] = round(combine(values), 3 if name == "utilisation" else 1)
    return cost


def _why_unranked(record: RunRecord) -> str:
    """Why a row is not ranked, "" if it is; the engine itself records random initial weights."""
    if record.facts.get("initial_weights") == "random":
        return ""
    data = record.facts.get("pretraining_data") or record.job.recipe.pretraining_data or UNDECLARED
    return fault_of_pretraining(str(data))
