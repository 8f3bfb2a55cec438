"""Training: exact over interruptions, and every switch does what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.method import OWN_MODEL, Recipe
from bench.train import checkpoint, fit, fit_predict
from bench.train.loop import TrainingError
from bench.train.models import build_model
from tests.conftest import CLASSES
from tests.train.conftest import Killed, RecordingJournal, interrupt_after

EVERYTHING = Recipe(
    image_size=16,
    epochs=4,
    batch_size=8,
    dropout=0.2,
    lr=5e-3,
    schedule="plateau",
    plateau_patience=0,
    warmup_epochs=0.5,
    grad_clip=1.0,
    sampler_power=0.5,
    class_weight_power=0.5,
    cutmix_prob=0.4,
    mixup_prob=0.4,
    mix_off_epochs=1,
    rotation=30,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.05,
    ema_decay=0.9,
    early_stopping=3,
)


@pytest.mark.parametrize("model", ["custom_cnn", "resnet18"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_an_interrupted_training_ends_in_the_same_bits(make_task, monkeypatch, model, epochs):
    recipe = EVERYTHING.with_overrides({"model": model})
    unbroken = make_task(recipe, "unbroken")
    expected = fit_predict(unbroken)
    broken = make_task(recipe, "broken")
    with monkeypatch.context() as context, pytest.raises(Killed):
        interrupt_after(context, epochs)
        fit_predict(broken)
    again = make_task(recipe, "broken")
    assert (fit_predict(again).probs == expected.probs).all()
    assert (again.journal.val.probs == unbroken.journal.val.probs).all()
    for mine, theirs in zip(again.journal.rows, unbroken.journal.rows, strict=True):
        assert {k: v for k, v in mine.items() if k != "seconds"} == {
            k: v for k, v in theirs.items() if k != "seconds"
        }


def kill_at_save(monkeypatch, number: int) -> None:
    """End the next training at its n-th checkpoint, before that is written."""
    keep, count = checkpoint.save_last, iter(range(1, 10_000))

    def save(folder, state):
        if next(count) == number:
            raise Killed
        keep(folder, state)

    monkeypatch.setattr(checkpoint, "save_last", save)


@pytest.mark.parametrize(
    "switches", [{}, {"accumulate": 2}, {"lookahead": True, "optimizer": "sgd"}]
)
def test_a_training_interrupted_within_its_epochs_ends_in_the_same_bits(
    make_task, monkeypatch, switches
):
    recipe = EVERYTHING.with_overrides({"epochs": 3} | switches)
    unbroken = make_task(recipe, "unbroken")
    expected = fit_predict(unbroken)
    broken = replace(make_task(recipe, "broken"), checkpoint_seconds=0)
    for number in (2, 3, 4):
        with monkeypatch.context() as context, pytest.raises(Killed):
            kill_at_save(context, number)
            fit_predict(broken)
    again = replace(broken, journal=RecordingJournal())
    assert (fit_predict(again).probs == expected.probs).all()
    for kind in ("best", "best_ema"):
        mine, theirs = (
            load_file(task.folder / f"{kind}.safetensors") for task in (again, unbroken)
        )
        assert all((mine[name] == theirs[name]).all() for name in theirs)
    untimed = [{k: v for k, v in r.items() if k != "seconds"} for r in unbroken.journal.rows]
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in again.journal.rows] == untimed
    assert again.journal.notes == unbroken.journal.notes


def test_a_training_resumed_elsewhere_says_what_has_changed(make_task, monkeypatch):
    task = make_task(EVERYTHING)
    with monkeypatch.context() as context, pytest.raises(Killed):
        interrupt_after(context, 1)
        fit_predict(task)
    last = checkpoint.load_last(task.folder).state
    last["environment"]["torch"] = "1.0"
    checkpoint.save_last(task.folder, last)
    again = replace(task, journal=RecordingJournal())
    fit_predict(again)
    (note,) = again.journal.notes
    assert "torch 1.0 became" in note
    assert again.journal.facts["guards"] == {"environment": note}


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(make_task, monkeypatch):
    expected = fit_predict(make_task(EVERYTHING, "unbroken")).probs
    broken = make_task(EVERYTHING, "broken")
    with monkeypatch.context() as context, pytest.raises(Killed):
        interrupt_after(context, 3)
        fit_predict(broken)
    last = broken.folder / "last.pt"
    last.write_bytes(last.read_bytes()[:-100])
    again = make_task(EVERYTHING, "broken")
    assert (fit_predict(again).probs == expected).all()
    assert "last.pt was damaged" in again.journal.notes[0]


def test_it_learns_what_can_be_learnt(make_task):
    recipe = Recipe(image_size=16, epochs=12, batch_size=8, lr=5e-3, early_stopping=12)
    task = make_task(recipe)
    predictions = fit_predict(task)
    truth = [int(i.split("_")[1]) % 3 for i in predictions.image_ids]
    assert (predictions.probs.argmax(axis=1) == truth).mean() >= 0.9
    assert set(predictions.image_ids) == set(task.test.image_ids)
    assert task.journal.facts["selected_epoch"] >= 1


def test_a_choice_between_raw_and_averaged_weights_is_the_better_on_val(make_task):
    task = make_task(EVERYTHING)
    fit_predict(task)
    scores = [max(row["val_macro_f1"], row["ema_val_macro_f1"]) for row in task.journal.rows]
    assert task.journal.facts["val_score"] == max(scores)
    assert task.journal.facts["selected_epoch"] == int(np.argmax(scores)) + 1


def test_training_stops_when_val_has_not_improved_for_long_enough(make_task):
    task = make_task(Recipe(image_size=16, epochs=50, batch_size=8, lr=5e-3, early_stopping=2))
    fit_predict(task)
    scores = [row["val_macro_f1"] for row in task.journal.rows]
    assert len(scores) < 50
    assert int(np.argmax(scores)) == len(scores) - 3


def test_a_loss_that_is_not_finite_stops_the_job_and_keeps_the_last_good_state(make_task):
    task = make_task(Recipe(image_size=16, epochs=3, optimizer="sgd", lr=1e38, batch_size=8))
    with pytest.raises(TrainingError, match="lower lr"):
        fit_predict(task)
    assert not (task.folder / "last.pt").exists()


def test_a_pretrained_recipe_without_weights_says_that_it_starts_from_scratch(make_task):
    recipe = Recipe(
        model="resnet18", pretrained="timm/resnet18.a1_in1k", pretraining_data="ImageNet-1k",
        image_size=16, epochs=1, batch_size=8, freeze_epochs=1,
    )  # fmt: skip
    task = make_task(recipe)
    fit_predict(task)
    assert task.journal.facts["initial_weights"] == "random"
    assert "from scratch" in task.journal.notes[0]


def test_a_frozen_body_keeps_its_weights_while_the_head_learns(make_task, tmp_path):
    import timm

    torch.manual_seed(3)
    body = timm.create_model("resnet18", num_classes=10)
    path = tmp_path / "resnet18.pth"
    torch.save(body.state_dict(), path)
    recipe = Recipe(
        model="resnet18", pretrained="x", pretraining_data="none", image_size=16, epochs=1,
        batch_size=8, freeze_epochs=1,
    )  # fmt: skip
    task = make_task(recipe, weights=path)
    fit_predict(task)
    after = load_file(task.folder / "best.safetensors")
    body_names = [name for name in body.state_dict() if not name.startswith("fc.")]
    assert all((after[name] == body.state_dict()[name]).all() for name in body_names)
    assert after["fc.weight"].shape == (len(CLASSES), 512)


@pytest.mark.parametrize("interrupted", [False, True])
def test_no_frozen_tensor_of_ones_own_model_moves(make_task, monkeypatch, interrupted):
    """The linear probe of the case frozen-backbone-thawed; averaged and resumed as well."""
    start = {}

    def probe(classes):
        model = build_model(Recipe(model="resnet18"), classes, None).requires_grad_(False)
        model.fc.requires_grad_(True)
        for name, value in model.state_dict().items():  # the engine may build it more than once
            start.setdefault(name, value.clone())
        return model

    recipe = Recipe(model=OWN_MODEL, image_size=16, epochs=2, batch_size=8, lr=1e-2, ema_decay=0.9)
    task = make_task(recipe)
    if interrupted:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            interrupt_after(patch, 1)
            fit.fit_predict(task, probe)
    fit.fit_predict(task, probe)
    body = [name for name in start if not name.startswith("fc.")]
    for kind in ("best", "best_ema"):
        end = load_file(task.folder / f"{kind}.safetensors")
        moved = [name for name in body if not torch.equal(end[name], start[name])]
        assert moved == []  # batch-norm statistics included
        assert not torch.equal(end["fc.weight"], start["fc.weight"])
    learning = 512 * len(task.classes) + len(task.classes)
    assert task.journal.facts["learning_parameters"] == learning
    assert task.journal.facts["parameters"] == sum(
        value.numel() for name, value in start.items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )  # fmt: skip
