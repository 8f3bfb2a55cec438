"""The ablation's table from records as trainings leave them, on the synthetic set's roles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import f1_score

from baselines.efficientnet_phase4 import METHOD
from bench.data.open import DatasetSpec
from bench.io import sha256_of
from bench.job import Job, RunRecord, to_json
from bench.predictions import Predictions
from bench.run import results
from bench.run.planner import row_name
from bench.workflows.open import open_bench
from benchmarks import ablation

BUDGET = {"image_size": 24, "epochs": 3}
ROWS = {
    "as it stands": (0.5, 5, {}, None),
    "without mixing": (0.8, 5, {"cutmix_prob": 0.0, "mixup_prob": 0.0}, {"guard": "spoke"}),
    "averaging without warm-up": (0.3, 5, {"ema_warmup": False}, None),
    "without sampler": (0.9, 2, {"sampler_power": 0.0}, {}),
    "lr=0.1": (0.4, 5, {"lr": 0.1}, {}),
}


@dataclass
class Made:
    folder: object
    probs: dict


@pytest.fixture(scope="module")
def bench():
    return open_bench("groupkfold5", DatasetSpec())


@pytest.fixture(scope="module")
def made(bench, tmp_path_factory):
    """A results folder: of each row so many folds, right in so many of ten images."""
    root, manifest = tmp_path_factory.mktemp("results"), bench.source.manifest
    rng, kept = np.random.default_rng(0), {}
    for name, (skill, folds, switches, guards) in ROWS.items():
        variant = BUDGET | switches
        for fold in range(folds):
            rows = bench.roles.rows(fold, "test")
            labels = manifest.labels[rows]
            called = np.where(rng.random(len(rows)) < skill, labels, rng.integers(0, 7, len(rows)))
            probs = np.eye(7, dtype=np.float32)[called] * 0.3 + np.float32(0.1)
            predictions = Predictions(bench.roles.image_ids[rows], probs, manifest.classes)
            finish(root, bench, variant, fold, predictions, guards)
            kept[name, fold] = (labels, called)
    return Made(root, kept)


def finish(root, bench, variant, fold, predictions, guards):
    manifest = bench.source.manifest
    job = Job(
        protocol="groupkfold5", dataset=manifest.name, row=row_name(METHOD.name, variant),
        method=METHOD.name, variant=variant, recipe=METHOD.recipe.with_overrides(variant),
        method_source="aa", roles_sha256=bench.roles_sha256, classes=manifest.classes,
        roster_sha256=manifest.roster_sha256, pixels_sha256="p", seed=0, repeat=0, fold=fold,
        column=fold, threads=1,
    )  # fmt: skip
    folder = results.job_folder(root, job, 1)
    folder.mkdir(parents=True)
    results.write_predictions(folder / results.PREDICTIONS, predictions)
    facts = {"initial_weights": "random"} | ({} if guards is None else {"guards": guards})
    record = RunRecord(
        id=job.id, job=job, started="2026-01-01", finished="2026-01-01", wall_seconds=1,
        cpu_seconds=1, peak_memory_bytes=1, resumed=0, host={}, versions={}, git_commit="",
        git_dirty=False, device="cpu", facts=facts, notes=[], command="",
        files={results.PREDICTIONS: sha256_of(folder / results.PREDICTIONS)},
    )  # fmt: skip
    (folder / "record.json").write_text(to_json(record))


@pytest.fixture(scope="module")
def lines(bench, made):
    _, found = ablation.lines(bench, made.folder, METHOD.name, None)
    return {line.name: line for line in found}


def pooled_f1(made, name):
    folds = [made.probs[name, fold] for fold in range(5)]
    truth, called = (np.concatenate(side) for side in zip(*folds, strict=True))
    return f1_score(truth, called, average="macro")


def test_values_and_differences_are_scikit_learns_over_all_folds(made, lines):
    stands = pooled_f1(made, "as it stands")
    for name in ("without mixing", "averaging without warm-up"):
        value, (difference, low, high) = lines[name].value, lines[name].difference
        assert value.value == pytest.approx(pooled_f1(made, name))
        assert difference == pytest.approx(pooled_f1(made, name) - stands)
        assert low < difference < high
        assert (low > 0) == (name == "without mixing")
    assert np.isnan(lines["as it stands"].difference[0])


def test_an_arm_is_called_by_what_it_changes(lines):
    unnamed = row_name(METHOD.name, BUDGET | {"lr": 0.1})
    assert set(lines) == {*ROWS, unnamed} - {"lr=0.1"}
    assert lines[unnamed].changed == "lr=0.1"
    assert lines["without mixing"].changed == "cutmix_prob=0 mixup_prob=0"
    assert lines["averaging without warm-up"].changed == "ema_warmup=false"


def test_guards_that_did_not_watch_are_heard_afterwards(lines):
    assert lines["without mixing"].guards == ("guard",)
    assert "lagging average" in lines["averaging without warm-up"].guards
    assert "lagging average" not in lines["as it stands"].guards
    assert "double balance" in lines["as it stands"].guards


def test_the_table_gives_no_number_of_an_unfinished_arm(made, capsys):
    assert ablation.main(["--results", str(made.folder)]) == 0
    told = capsys.readouterr().out
    rows = [line for line in told.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 4
    assert "Unfinished, without a number: without sampler (2 of 5 folds)." in told
    assert "Not begun: as the original notebook, without class weights" in told
    base = row_name(METHOD.name, BUDGET)
    assert f"`{base}`" in told
    assert "Not begun" not in ablation.table(base, (), 5, planned=())


def test_every_arms_command_is_one_the_recipe_knows(capsys):
    assert ablation.main(["--results", "r", "--commands"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(ablation.ARMS) + 1
    for command, switches in zip(printed[1:], ablation.ARMS.values(), strict=True):
        settings = [word for word in command.split() if "=" in word]
        given = dict(setting.split("=") for setting in settings)
        assert METHOD.recipe.with_overrides(given) == METHOD.recipe.with_overrides(
            {**ablation.BUDGET, **switches}
        )


def test_without_the_recipe_as_it_stands_there_is_no_table(tmp_path, capsys):
    assert ablation.main(["--results", str(tmp_path)]) == 2
    assert "train an arm first" in capsys.readouterr().err
