"""Each training warning appears where its fault is caused, and only there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import f1_score

from bench.errors import MethodError
from bench.method import Recipe
from bench.train import checkpoint, diagnostics, fabric, fit_predict
from bench.train.loop import Training, TrainingError
from bench.train.models import build_model
from bench.train.optim import build_ema
from tests.conftest import ROOT

CLASSES = ("mel", "nv", "vasc")
LABELS = np.repeat([0, 1, 2], [40, 640, 20])
SHORT = Recipe(image_size=16, epochs=1, batch_size=8, lr=1e-3)


def warnings(task) -> dict[str, str]:
    return task.journal.facts.get("guards", {})


def test_balancing_twice_is_said_with_the_prior_that_it_leaves():
    asked = {"sampler_power": 1.0, "class_weight_power": 1.0, "class_weight_prior": "natural"}
    sentence = diagnostics.double_balance(LABELS, CLASSES, Recipe(**asked))
    assert "overbalanced" in sentence
    # drawn 1/3 each, weighted by 1/prior: vasc 700/20, mel 700/40, nv 700/640, to sum 1
    by_hand = np.array([1 / 40, 1 / 640, 1 / 20])
    for name, share in zip(CLASSES, by_hand / by_hand.sum(), strict=True):
        assert f"{name} {share:.2g} (" in sentence
    gentle = Recipe(sampler_power=0.5, class_weight_power=0.5)
    assert "overbalanced" not in diagnostics.double_balance(LABELS, CLASSES, gentle)
    assert "both balance" in diagnostics.double_balance(LABELS, CLASSES, gentle)


@pytest.mark.parametrize(
    "switches",
    [{}, {"sampler_power": 1}, {"class_weight_power": 1},
     {"sampler_power": 1, "class_weight_power": 1}],
)  # fmt: skip
def test_one_balance_alone_is_fine(switches):
    assert diagnostics.double_balance(LABELS, CLASSES, Recipe(**switches)) == ""


def test_an_average_that_cannot_catch_up_is_said_before_and_after(make_task):
    recipe = SHORT.with_overrides({"ema_decay": 0.999, "ema_warmup": "false"})
    task = make_task(recipe)
    fit_predict(task)
    assert "contain 100% of the initial ones" in warnings(task)["lagging average"]


def test_the_share_of_the_start_is_what_the_average_really_holds():
    model = torch.nn.Linear(1, 1, bias=False)
    for warmup in (False, True):
        ema = build_ema(model, Recipe(ema_decay=0.99, ema_warmup=warmup))
        torch.nn.init.ones_(model.weight)
        ema.update(model, 1)
        torch.nn.init.zeros_(model.weight)
        for step in range(2, 101):
            ema.update(model, step)
        left = ema.module.weight.item()
        sentence = diagnostics.lagging_average(ema.get_decay, 100, "then")
        assert (f"contain {left:.0%} of" in sentence) if left > 0.05 else sentence == ""


def test_the_paired_bootstrap_is_scikit_learns_f1_on_the_same_resampled_groups():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 25, 80).astype(str)
    labels = rng.integers(0, 3, 80)
    first, second = rng.random((2, 80, 3))
    found = diagnostics.paired_difference(labels, groups, first, second, np.random.default_rng(1))
    names = np.unique(groups)
    drawn = np.random.default_rng(1).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=diagnostics.RESAMPLES
    )

    def f1(probs, rows):
        return f1_score(
            labels[rows], probs[rows].argmax(1), labels=[0, 1, 2], average="macro", zero_division=0
        )

    members = {name: np.flatnonzero(groups == name) for name in names}
    differences = []
    for counts in drawn[:150]:
        rows = np.concatenate([np.tile(members[n], c) for n, c in zip(names, counts, strict=True)])
        differences.append(f1(first, rows) - f1(second, rows))
    everything = np.arange(80)
    assert found[0] == pytest.approx(f1(first, everything) - f1(second, everything))
    low, high = np.quantile(differences, [0.025, 0.975])
    assert found[1:] == pytest.approx((low, high), abs=0.04)


def test_averaged_and_raw_weights_apart_are_said_only_beyond_chance():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    groups = np.repeat(np.arange(150), 2)
    right = np.eye(3)[labels]
    some = right.copy()
    some[:6] = np.roll(some[:6], 1, axis=1)
    wrong = np.where(rng.random(300)[:, None] < 0.5, np.roll(right, 1, axis=1), right)
    sentence = diagnostics.average_differs(labels, groups, wrong, right, rng)
    assert "worse" in sentence
    assert "150 groups" in sentence
    few = slice(0, 12)
    assert diagnostics.average_differs(labels[few], groups[few], some[few], right[few], rng)
    noise = right + rng.normal(0, 0.9, (2, 300, 3))
    assert diagnostics.average_differs(labels, groups, *noise, rng) == ""


def test_an_average_kept_at_its_start_is_said_to_be_worse(make_task):
    recipe = SHORT.with_overrides(
        {"epochs": 8, "lr": 5e-3, "ema_decay": 0.9999, "ema_warmup": "false"}
    )
    task = make_task(recipe)
    fit_predict(task)
    assert "significantly worse than the raw ones" in warnings(task)["averaged and raw apart"]
    assert "lagging average" in warnings(task)
    for sentence in warnings(task).values():
        assert task.journal.notes.count(sentence) == 1


def test_classes_never_predicted_are_named(make_task):
    probs = np.array([[0.6, 0.4, 0], [0.6, 0.4, 0]])
    assert diagnostics.never_predicted("val", probs, CLASSES).endswith("nv, vasc")
    assert diagnostics.never_predicted("val", np.eye(3), CLASSES) == ""
    task = make_task(SHORT.with_overrides({"class_loss_scale": "mel:1000"}))
    fit_predict(task)
    assert "nv" in warnings(task)["never predicted on val"]
    assert "nv" in warnings(task)["never predicted on test"]


def test_val_and_test_that_were_transformed_differently_are_said(make_task):
    task = make_task(SHORT)
    assert diagnostics.different_parts(task.val.images, task.test.images) == ""
    for pixels in (task.test.images.pixels // 4, task.test.images.pixels[:, ::2, ::2]):
        changed = replace(task.test, images=replace(task.test.images, pixels=pixels))
        assert diagnostics.different_parts(task.val.images, changed.images)
    dark = replace(task.test.images, pixels=task.test.images.pixels // 4)
    task = replace(task, test=replace(task.test, images=dark))
    fit_predict(task)
    assert "preprocessed differently" in warnings(task)["other looks"]


def test_a_saved_checkpoint_that_does_not_score_what_was_logged_is_said(make_task, monkeypatch):
    task = make_task(SHORT.with_overrides({"epochs": 6, "lr": 5e-3}))
    run = Training.run

    def spoil(self):
        best = run(self)
        path = self.task.folder / "best.safetensors"
        header = checkpoint.read_raw_metadata(path)
        checkpoint.load_best(path, self.model)
        self.model.head.weight.data.neg_()
        checkpoint.save_best(path, self.model, header)
        return best

    monkeypatch.setattr(Training, "run", spoil)
    fit_predict(task)
    assert "differs from the trained weights" in warnings(task)["saved best"]


def test_a_good_training_hears_no_guard(make_task):
    task = make_task(Recipe(image_size=16, epochs=12, batch_size=8, lr=5e-3, ema_decay=0.9))
    fit_predict(task)
    assert warnings(task) == {}
    assert task.journal.notes == []


def test_weights_that_do_not_match_pass_only_by_name_and_are_said(make_task, tmp_path):
    torch.manual_seed(0)
    state = dict(build_model(Recipe(model="resnet18"), 3, None).state_dict())
    stem = state.pop("conv1.weight")
    state["neck.bias"] = torch.zeros(1)
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    recipe = SHORT.with_overrides({"model": "resnet18", "pretrained": "x"})
    with pytest.raises(MethodError, match=r"conv1.weight is missing.*unmatched_weights"):
        build_model(recipe, 3, path)
    with pytest.raises(MethodError, match="neck.bias is unknown"):
        build_model(recipe.with_overrides({"unmatched_weights": "conv1.*"}), 3, path)
    named = recipe.with_overrides({"unmatched_weights": "conv1.*, neck.*"})
    model = build_model(named, 3, path)
    assert (model.conv1.weight != stem).any()
    assert (model.layer1[0].conv1.weight == state["layer1.0.conv1.weight"]).all()
    task = make_task(named, weights=path)
    fit_predict(task)
    assert "conv1.weight is missing" in warnings(task)["unmatched weights"]


@pytest.mark.parametrize("seconds", [0, 60])
def test_weights_that_are_not_finite_are_never_kept(make_task, monkeypatch, seconds):
    task = replace(make_task(SHORT.with_overrides({"epochs": 3})), checkpoint_seconds=seconds)
    take_step = Training._take_step

    def spoil(self):
        take_step(self)
        if self.progress.step == 6:
            next(self.model.parameters()).data[0] = torch.nan

    monkeypatch.setattr(Training, "_take_step", spoil)
    with pytest.raises(TrainingError, match=r"(not finite|loss is nan).*last good state is kept"):
        fit_predict(task)
    kept = checkpoint.load_last(task.folder).state
    assert all(value.isfinite().all() for value in kept["model"].values())
    assert kept["step"] == (5 if seconds == 0 else 4)


def test_out_of_memory_tells_what_would_fit_and_changes_nothing(make_task, monkeypatch):
    task = make_task(SHORT.with_overrides({"batch_size": 16}))
    forward = torch.nn.Conv2d.forward

    def narrow(self, images):
        if len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", narrow)
    with pytest.raises(TrainingError, match=r"batch_size=16; 4 fits.*batch_size=4.*accumulate=4"):
        fit_predict(task)
    assert not (task.folder / "last.pt").exists()


def test_other_errors_are_not_taken_for_a_lack_of_memory(make_task, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(torch.nn.Conv2d, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        fit_predict(make_task(SHORT))
    with pytest.raises(RuntimeError, match="shapes differ"):
        fabric.largest_batch(broken, 8)
    assert "smaller image_size" in fabric.advice(8, 0)


STARVED = """
import resource, torch
from bench.train import fabric
grown = torch.zeros(1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 420 * 2**20,) * 2)
def step(size):
    torch.zeros(size, 2**20).add_(1)
try:
    step(512)
except RuntimeError as error:
    assert fabric.ran_out(error), error
    print(fabric.largest_batch(step, 512))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
def test_a_processor_that_runs_out_of_memory_is_understood():
    """4 MiB an image, 420 MiB to be had: 64 fit and 128 do not."""
    done = subprocess.run(
        [sys.executable, "-c", STARVED], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "64", done.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("lr", [1e38, 1e12])
def test_a_clipped_training_that_is_not_finite_stops_as_any_other(make_task, lr):
    recipe = SHORT.with_overrides({"optimizer": "sgd", "lr": lr, "grad_clip": 1.0, "epochs": 3})
    task = make_task(recipe)
    with pytest.raises(TrainingError, match=r"last good state is kept; lower lr$"):
        fit_predict(task)
    assert not (task.folder / "last.pt").exists()


def test_a_gradient_too_large_to_measure_is_not_skipped_in_silence(make_task, monkeypatch):
    """A norm that overflows would clip the step to nothing, and loss and weights stay finite."""
    backward = Training._take_step

    def enlarge(self):
        for parameter in self.model.parameters():
            parameter.grad.mul_(0).add_(1e30)
        backward(self)

    monkeypatch.setattr(Training, "_take_step", enlarge)
    with pytest.raises(TrainingError, match="the gradient's norm is inf"):
        fit_predict(make_task(SHORT.with_overrides({"grad_clip": 1.0})))


def narrow_evaluation(monkeypatch, most):
    """Let a convolution in evaluation mode run out of memory on more images than that."""
    forward = torch.nn.Conv2d.forward

    def narrow(self, images):
        if not self.training and len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", narrow)


def test_memory_that_runs_out_in_evaluation_tells_how_many_images_fit(make_task, monkeypatch):
    task = make_task(SHORT)
    narrow_evaluation(monkeypatch, 4)
    with pytest.raises(MethodError, match=r"predicting 12 images at once; 3 fit.*_batch=3$"):
        fit_predict(task)
    fit_predict(make_task(SHORT.with_overrides({"evaluation_batch": 3}), "fewer"))
    narrow_evaluation(monkeypatch, 0)
    with pytest.raises(MethodError, match="with any smaller number; set a smaller image_size"):
        fit_predict(make_task(SHORT, "none"))


def test_the_advised_accumulation_keeps_the_step_as_large_as_it_was():
    assert fabric.advice(32, 8, 2).endswith("accumulate=8 for the same images per step")


def test_the_prior_that_is_told_is_the_one_that_a_perfect_model_would_learn():
    """Bayes: posterior ~ likelihood x prior, weighed, its logits less tau times the log prior."""
    recipe = Recipe(
        sampler_power=0.5, class_weight_power=0.3, logit_adjustment=0.6, class_loss_scale={"mel": 3}
    )
    drawn = np.array([40, 640, 20]) ** 0.5 / np.sum(np.array([40, 640, 20]) ** 0.5)
    counted = drawn * drawn**-0.3 * np.array([3, 1, 1])
    logits = np.log(counted) - 0.6 * np.log(drawn)
    by_hand = np.exp(logits) / np.exp(logits).sum()
    sentence = diagnostics.double_balance(LABELS, CLASSES, recipe)
    assert sentence.startswith(
        "sampler, class weights and logit adjustment all balance: predictions"
    )
    for name, share in zip(CLASSES, by_hand, strict=True):
        assert f"{name} {share:.2g} (" in sentence


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({"class_weight_power": 1, "logit_adjustment": 1}, "class weights and logit adjustment"),
        ({"sampler_power": 0.5, "logit_adjustment": 1}, "sampler and logit adjustment both"),
        ({"sampler_power": 1, "logit_adjustment": 1}, ""),
        ({"logit_adjustment": 1}, ""),
    ],
)
def test_a_logit_adjustment_is_an_answer_too(switches, said):
    found = diagnostics.double_balance(LABELS, CLASSES, Recipe(**switches))
    assert found.startswith(said)
    assert bool(found) is bool(said)
