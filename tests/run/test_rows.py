"""Results: what is done is known by its record; rows are joined, never pooled, never trusted."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bench.errors import ResultsError
from bench.job import Job, JobFile, JobLocation, RunRecord, engine_sha256, to_json
from bench.method import Recipe
from bench.predictions import Predictions, TrainingKey
from bench.run import results
from bench.run.rows import Expected, collect_rows
from bench.run.status import unfinished
from tests.conftest import CLASSES

EXPECTED = Expected("p", "small", CLASSES, "roster", "roles", seeds=(0,))


def make_job(fold: int, **changes) -> Job:
    values = {
        "protocol": "p", "dataset": "small", "row": "m", "method": "m", "recipe": Recipe(),
        "method_source": "aa", "roles_sha256": "roles", "classes": CLASSES,
        "roster_sha256": "roster", "pixels_sha256": "dd", "seed": 0, "repeat": 0, "fold": fold,
        "column": fold, "threads": 1,
    }  # fmt: skip
    return Job(**(values | changes))


def finish(root: Path, job: Job, *, facts: dict | None = None, day: int = 1) -> Path:
    """Leave what a finished job leaves."""
    folder = results.job_folder(root, job, 1)
    place = JobLocation(
        method_file="m.py",
        store="s",
        fold_table="t",
        weights=None,
        folder=str(folder),
        device="cpu",
    )
    results.prepare(JobFile(id=job.id, command="python bench.py run", job=job, place=place))
    ids = np.array([f"i{job.fold}{n}" for n in range(4)], dtype=object)
    probs = np.full((4, 3), 1 / 3) + np.array([job.fold * 0.01, 0, -job.fold * 0.01])
    results.write_predictions(folder / "predictions.parquet", Predictions(ids, probs, CLASSES))
    record = RunRecord(
        id=job.id, job=job, started="2026-01-01T00:00:00+00:00",
        finished=datetime(2026, 1, day, tzinfo=UTC).isoformat(), wall_seconds=2.0, cpu_seconds=1.0,
        peak_memory_bytes=100 + job.fold, resumed=0, host={"cores": 2}, versions={"torch": "2"},
        git_commit="c", git_dirty=False, device="cpu",
        facts={"initial_weights": "random", "train_seconds": 1.5} | (facts or {}), notes=["a note"],
        command="python bench.py run", files=results.files_beside_record(folder),
    )  # fmt: skip
    (folder / "record.json").write_text(to_json(record))
    return folder


def collect(own: Path, committed: Path = Path("none")):
    jobs = (results.scan_jobs(root, "p", "small") for root in (own, committed))
    return collect_rows(*jobs, EXPECTED, {"m": "m: passport"})


def test_a_job_is_done_when_its_own_record_and_predictions_are_there(tmp_path):
    job = make_job(0)
    folder = results.job_folder(tmp_path, job, 1)
    assert not results.is_done(folder, job)
    finish(tmp_path, job)
    assert results.is_done(folder, job)
    assert not results.is_done(folder, make_job(0, method_source="bb"))
    (folder / "predictions.parquet").write_bytes(b"other")
    assert not results.is_done(folder, job)


@pytest.mark.parametrize("content", ["", "{", '{"id": 1}', "\x00"])
def test_a_record_cut_short_is_no_record(tmp_path, content):
    folder = finish(tmp_path, make_job(0))
    (folder / "record.json").write_text(content)
    assert not results.is_done(folder, make_job(0))
    assert collect(tmp_path) == []


def test_preparing_another_job_removes_what_the_old_one_left(tmp_path):
    folder = finish(tmp_path, make_job(0))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.pt").write_bytes(b"state")
    finish(tmp_path, make_job(0, method_source="bb"))
    assert not (folder / "checkpoints").exists()


def test_preparing_the_same_job_keeps_its_checkpoints(tmp_path):
    folder = finish(tmp_path, make_job(0))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.pt").write_bytes(b"state")
    finish(tmp_path, make_job(0))
    assert (folder / "checkpoints" / "last.pt").exists()


def test_a_row_joins_its_folds_and_sums_its_cost(tmp_path):
    for fold in (0, 1):
        finish(tmp_path, make_job(fold))
    ((row, facts),) = collect(tmp_path, tmp_path / "none")
    assert row.folds == (0, 1)
    assert row.test[TrainingKey(0, 0, 1)].image_ids[0] == "i10"
    assert facts.cost["train_seconds"] == 3
    assert facts.cost["peak_memory_bytes"] == 101
    assert facts.badges == ("from scratch",)
    assert facts.notes == ("a note",)
    assert facts.guards is None
    assert facts.passport == "m: passport"


def test_a_cost_is_that_of_the_protocols_seeds_or_of_all_where_there_is_none_of_them(tmp_path):
    for seed in (1, 2):
        finish(tmp_path, make_job(0, seed=seed))
    ((_, facts),) = collect(tmp_path)
    assert (facts.cost["jobs"], facts.cost["train_seconds"]) == (2, 3)
    finish(tmp_path, make_job(0))
    ((row, facts),) = collect(tmp_path)
    assert row.seeds == (0, 1, 2)
    assert (facts.cost["jobs"], facts.cost["train_seconds"], facts.cost["wall_seconds"]) == (
        1, 1.5, 2,
    )  # fmt: skip


def test_records_of_other_code_are_left_out_and_said(tmp_path):
    finish(tmp_path, make_job(0), day=1)
    finish(tmp_path, make_job(1), day=1)
    finish(tmp_path, make_job(2, pixels_sha256="other"), day=2)
    ((row, facts),) = collect(tmp_path)
    assert row.folds == (0, 1)
    assert "1 folds that differ in pixels are left out" in facts.notes


def test_own_folds_are_joined_with_committed_ones_of_the_same_row_only(tmp_path):
    own, committed = tmp_path / "own", tmp_path / "committed"
    finish(own, make_job(0))
    finish(committed, make_job(1))
    ((row, facts),) = collect(own, committed)
    assert row.folds == (0, 1)
    assert "committed" not in facts.badges
    finish(committed, make_job(1, method_source="bb"))
    (mine, _), (theirs, _) = collect(own, committed)
    assert (mine.name, mine.folds) == ("m", (0,))
    assert (theirs.name, theirs.folds) == ("m (committed)", (1,))
    ((row, facts),) = collect(tmp_path / "none", committed)
    assert row.folds == (1,)
    assert "committed" in facts.badges


def test_folds_that_the_committed_row_supplies_are_named(tmp_path):
    own, committed = tmp_path / "own", tmp_path / "committed"
    for fold in range(4):
        finish(committed, make_job(fold))
    finish(own, make_job(0))
    finish(own, make_job(1))
    ((row, facts),) = collect(own, committed)
    assert row.folds == (0, 1, 2, 3)
    assert "folds 2 and 3 are the committed ones" in facts.notes
    finish(own, make_job(2))
    ((_, facts),) = collect(own, committed)
    assert "fold 3 is the committed one" in facts.notes
    finish(committed, make_job(1, seed=1))
    ((_, facts),) = collect(own, committed)
    assert "fold 3 of seed 0 and fold 1 of seed 1 are the committed ones" in facts.notes
    for mine, theirs in ((own, tmp_path / "none"), (tmp_path / "none", committed)):
        ((_, facts),) = collect(mine, theirs)
        assert not any("the committed one" in note for note in facts.notes)


def test_folds_of_different_machines_are_said_to_be(tmp_path):
    finish(tmp_path, make_job(0))
    folder = finish(tmp_path, make_job(1))
    record = json.loads((folder / "record.json").read_text()) | {"device": "NVIDIA H100"}
    (folder / "record.json").write_text(json.dumps(record))
    ((_, facts),) = collect(tmp_path)
    assert "made on several devices: NVIDIA H100, cpu" in facts.notes


def test_facts_that_are_no_numbers_cost_nothing(tmp_path):
    finish(tmp_path, make_job(0), facts={"epochs": "ten", "parameters": None})
    ((_, facts),) = collect(tmp_path)
    assert not {"epochs", "parameters"} & set(facts.cost)


def test_a_row_states_the_precision_of_its_trainings(tmp_path):
    finish(tmp_path, make_job(0), facts={"precision": "fp16-mixed"})
    ((_, facts),) = collect(tmp_path)
    assert facts.environment["precision"] == "fp16-mixed"


def test_a_row_has_the_number_of_learning_and_of_all_parameters(tmp_path):
    finish(tmp_path, make_job(0), facts={"parameters": 1_000_000, "learning_parameters": 3591})
    ((_, facts),) = collect(tmp_path)
    assert (facts.cost["learning_parameters"], facts.cost["parameters"]) == (3591, 1_000_000)
    assert facts.environment["learning parameters"] == "3591 of 1000000"


def test_a_finished_job_of_other_code_is_not_replaced_unasked(tmp_path):
    folder = finish(tmp_path, make_job(0))
    results.refuse_replacing([(folder, make_job(0)), (tmp_path / "new", make_job(1))])
    with pytest.raises(ResultsError, match="--replace"):
        results.refuse_replacing([(folder, make_job(0, threads=2))])


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"method_source": "bb"}, "code of the method"),
        ({"weights_sha256": "w"}, "weights"),
        ({"threads": 2, "devices": 2}, "threads and devices"),
        ({"pixels_sha256": "x"}, "pixels"),
        ({"metadata_sha256": "x"}, r"metadata \(age, sex, site\)"),
        ({"inputs_sha256": "x", "recipe": Recipe(epochs=1), "threads": 3},
         "recipe, threads and input files of the method"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_differs_and_nothing_else(tmp_path, changes, parts):
    folder = finish(tmp_path, make_job(0))
    with pytest.raises(ResultsError, match=f"differ from this run in {parts} \\(first"):
        results.refuse_replacing([(folder, make_job(0, **changes))])


def by_engine(folder: Path, engine: str, commit: str) -> Path:
    """Write other source code of the bench into a record."""
    path = folder / "record.json"
    record = json.loads(path.read_text()) | {"engine_sha256": engine, "git_commit": commit}
    path.write_text(json.dumps(record))
    return folder


def test_a_row_of_folds_by_different_code_is_marked_with_the_commits(tmp_path):
    for fold in range(3):
        old = fold < 2
        by_engine(
            finish(tmp_path, make_job(fold)), *("aa", "44734cae5x") if old else ("bb", "010a8d")
        )
    ((row, facts),) = collect(tmp_path)
    assert row.folds == (0, 1, 2)
    assert "mixed code" in facts.badges
    (mark,) = [note for note in facts.notes if "different code of the bench" in note]
    assert "44734cae5, source aa (seed 0 fold 0, seed 0 fold 1)" in mark
    assert "010a8d, source bb (seed 0 fold 2)" in mark
    assert facts.environment["commit"] == "44734cae5x, 010a8d"


def test_a_row_of_one_code_or_of_records_without_it_has_no_mark(tmp_path):
    for fold in range(2):
        by_engine(finish(tmp_path / "one", make_job(fold)), "aa", f"commit{fold}")
        finish(tmp_path / "none", make_job(fold))
    for place in ("one", "none"):
        ((_, facts),) = collect(tmp_path / place)
        assert "mixed code" not in facts.badges
        assert not any("code of the bench" in note for note in facts.notes)


def test_a_row_of_other_code_of_the_bench_is_not_continued_unasked(tmp_path):
    waiting = [make_job(1), make_job(2)]
    results.refuse_mixing(tmp_path, waiting)
    by_engine(finish(tmp_path, make_job(0)), engine_sha256(), "now")
    results.refuse_mixing(tmp_path, waiting)
    by_engine(finish(tmp_path, make_job(1)), "older", "44734cae5x")
    with pytest.raises(ResultsError, match=r"1 finished folds.*commit 44734cae5;.*--mix-code"):
        results.refuse_mixing(tmp_path, [make_job(2)])
    finish(tmp_path, make_job(1))  # a record from before source code was recorded
    with pytest.raises(ResultsError, match="--mix-code"):
        results.refuse_mixing(tmp_path, [make_job(2)])
    results.refuse_mixing(tmp_path, [])


def test_replacing_does_the_folds_of_other_code_of_the_bench_again(tmp_path):
    folder = by_engine(finish(tmp_path, make_job(0)), "older", "c")
    job_file = results.open_job(folder / "job.json")
    asks = job_file.model_copy(
        update={"place": job_file.place.model_copy(update={"engine_sha256": engine_sha256()})}
    )
    assert results.is_finished(job_file)
    assert not results.is_finished(asks)
    by_engine(folder, engine_sha256(), "c")
    assert results.is_finished(asks)


def test_a_changed_method_gets_a_row_beside_the_old_one(tmp_path):
    old, new = make_job(0), make_job(0, method_source="bb")
    assert results.version_row(tmp_path, old) == "m"
    finish(tmp_path, old)
    assert results.version_row(tmp_path, old) == "m"
    assert results.version_row(tmp_path, new) == "m~2"
    finish(tmp_path, new.model_copy(update={"row": "m~2"}))
    assert results.version_row(tmp_path, new) == "m~2"
    assert results.version_row(tmp_path, make_job(0, method_source="cc")) == "m~3"
    assert results.version_row(tmp_path, make_job(1)) == "m"  # the first version again
    names = [row.name for row, _ in collect(tmp_path)]
    assert names == ["m", "m~2"]


def test_a_record_without_predictions_is_not_done(tmp_path):
    folder = finish(tmp_path, make_job(0))
    record = json.loads((folder / "record.json").read_text()) | {"files": {}}
    (folder / "record.json").write_text(json.dumps(record))
    assert not results.is_done(folder, make_job(0))


def test_an_unreadable_record_is_named(tmp_path):
    folder = finish(tmp_path, make_job(0))
    text = (folder / "record.json").read_text()
    for damage in (text[:200], text.replace('"seed": 0', '"seed": 1'), '{"id": "x"}'):
        (folder / "record.json").write_text(damage)
        (fault,) = results.damaged_folds(results.scan_jobs(tmp_path, "p", "small"))
        assert "record.json" in fault
        assert collect(tmp_path) == []


def test_records_of_another_roster_or_other_roles_are_no_rows(tmp_path):
    finish(tmp_path, make_job(0, roster_sha256="other"))
    finish(tmp_path, make_job(1, roles_sha256="other"))
    assert collect(tmp_path) == []


def change_predictions(folder):
    ids = np.array(["i10", "i11", "i12", "i13"], dtype=object)
    better = Predictions(ids, np.tile([1.0, 0.0, 0.0], (4, 1)), CLASSES)
    results.write_predictions(folder / "predictions.parquet", better)


def lose_predictions(folder):
    (folder / "predictions.parquet").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [(change_predictions, "does not match its hash"), (lose_predictions, "is missing")],
)
def test_a_fold_whose_predictions_are_not_what_was_made_counts_as_missing(
    tmp_path, damage, message
):
    for fold in range(2):
        finish(tmp_path, make_job(fold))
    damage(tmp_path / "p" / "small" / "m" / "seed0" / "fold1")
    ((row, _),) = collect(tmp_path)
    assert row.folds == (0,)
    jobs = results.scan_jobs(tmp_path, "p", "small")
    (fault,) = results.damaged_folds(jobs)
    assert f"fold1/predictions.parquet: {message}" in fault
    assert "counts as missing" in fault
    (state,) = unfinished(tmp_path, jobs)["m"]
    assert state.startswith("seed0/fold1 damaged: ")
    assert "run again" in state


def test_predictions_are_hashed_once_for_rows_states_and_faults(tmp_path, monkeypatch):
    for fold in range(2):
        finish(tmp_path, make_job(fold))
    hashed = []
    digest = results.sha256_of
    monkeypatch.setattr(results, "sha256_of", lambda path: hashed.append(path) or digest(path))
    jobs = results.scan_jobs(tmp_path, "p", "small")
    assert len(collect_rows(jobs, [], EXPECTED, {})) == 1
    assert (unfinished(tmp_path, jobs), results.damaged_folds(jobs)) == ({}, [])
    assert len(hashed) == len(set(hashed)) == 2


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ("ImageNet-1k", ""),
        ("undeclared", "not declared"),
        ("ISIC 2019", "overlaps"),
        ("HAM10000 and ImageNet", "overlaps"),
        ("Ham 10.000", "overlaps"),
        ("DermaMNIST", "overlaps"),
        ("BCN-20000", "overlaps"),
    ],
)
def test_undeclared_or_overlapping_pretraining_is_not_ranked(tmp_path, declared, why):
    facts = {"initial_weights": "w.pth", "pretraining_data": declared}
    finish(tmp_path, make_job(0, weights_sha256="w"), facts=facts)
    ((_, facts),) = collect(tmp_path)
    assert (why in facts.unranked) if why else facts.unranked == ""


@pytest.mark.parametrize(("declared", "ranked"), [(None, False), ("none", True)])
def test_a_method_that_trains_itself_is_ranked_where_it_declares_what_it_has_seen(
    tmp_path, declared, ranked
):
    job = make_job(0, recipe=Recipe(pretraining_data=declared))
    finish(tmp_path, job, facts={"initial_weights": None})
    ((_, facts),) = collect(tmp_path)
    assert (facts.unranked == "") is ranked


def test_a_record_holds_no_path_of_the_machine(tmp_path):
    folder = finish(tmp_path, make_job(0))
    text = (folder / "record.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["files"].keys() == {"job.json", "predictions.parquet"}


def test_a_guard_that_spoke_in_several_jobs_is_shown_once_and_counted(tmp_path):
    for fold in range(2):
        finish(
            tmp_path, make_job(fold), facts={"guards": {"never predicted": f"nv, of {fold + 7}"}}
        )
    teacher = {"teacher: other looks": "teacher: darker"}
    finish(tmp_path, make_job(2), facts={"guards": {}, "teacher_guards": teacher})
    ((_, facts),) = collect(tmp_path)
    warnings = {"never predicted": "nv, of 7 (one of 2 jobs that say so)"}
    assert facts.guards == warnings | teacher
    assert facts.notes == ("a note",)


def test_an_ensemble_names_its_members_and_claims_neither_recipe_nor_cost(tmp_path):
    joined = {"ensemble of": "a + b@12345678", "pool": "linear"}
    recipe = Recipe(model="ensemble", pretraining_data="none")
    for fold in range(2):
        finish(tmp_path, make_job(fold, variant=joined, recipe=recipe))
    ((_, facts),) = collect(tmp_path)
    assert facts.members == ("a", "b@12345678")
    assert facts.recipe == {"pretraining_data": "none"}
    assert facts.cost == {}
