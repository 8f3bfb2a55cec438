"""Mixed precision: what a GPU computes natively, and fp16 with its gradient scaler, on the CPU."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from bench.method import Recipe
from bench.recipe import gpu_precision
from bench.train import checkpoint, fit, fit_predict
from bench.train import fabric as device
from bench.train.loop import Training, TrainingError
from tests.train.conftest import Killed, RecordingJournal, interrupt_after

SHORT = Recipe(
    image_size=16, epochs=3, batch_size=8, lr=1e-3, grad_clip=1.0, ema_decay=0.9, accumulate=2
)


@pytest.mark.parametrize(
    ("gpu", "capability", "precision"),
    [
        ("GTX 980", (5, 2), "32-true"), ("P100", (6, 0), "16-mixed"),
        ("GTX 1080", (6, 1), "32-true"),
        ("V100", (7, 0), "16-mixed"), ("T4", (7, 5), "16-mixed"), ("A100", (8, 0), "bf16-mixed"),
        ("RTX 4090", (8, 9), "bf16-mixed"), ("H100", (9, 0), "bf16-mixed"),
        ("B200", (10, 0), "bf16-mixed"),
    ],
)  # fmt: skip
def test_the_precision_of_a_gpu_is_what_it_computes_natively(gpu, capability, precision):
    assert gpu_precision(capability) == precision, gpu


@pytest.mark.parametrize(
    ("capabilities", "amp", "precision"),
    [([(8, 0)], True, "bf16-mixed"), ([(8, 0), (7, 5)], True, "16-mixed"),
     ([(8, 0)], False, "32-true")],
)  # fmt: skip
def test_a_task_uses_what_all_its_gpus_compute(
    make_task, monkeypatch, capabilities, amp, precision
):
    asked = []
    monkeypatch.setattr(device, "resolve_device", lambda wanted: "cuda")  # noqa: ARG005
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", capabilities.__getitem__)
    monkeypatch.setattr(
        device, "fabric_on", lambda *words: asked.append(words) or SimpleNamespace()
    )
    device.build_fabric(make_task(SHORT.with_overrides({"amp": amp})))
    assert asked == [("cuda", 1, precision)]


@pytest.fixture
def fp16(monkeypatch):
    """Trainings in fp16 on the CPU, as on a T4; gives the scalers of their processes."""
    scalers = []

    def build(task):  # noqa: ARG001
        scalers.append(torch.amp.GradScaler("cpu"))
        precision = MixedPrecision("16-mixed", "cpu", scalers[-1])
        return Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment(), precision])

    monkeypatch.setattr(fit, "build_fabric", build)
    return scalers


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lion"])
@pytest.mark.usefixtures("fp16")
def test_fp16_trains_as_float32_within_its_rounding(make_task, monkeypatch, optimizer):
    recipe = SHORT.with_overrides({"optimizer": optimizer, "lookahead": optimizer == "lion"})
    task = make_task(recipe, "fp16")
    half = fit_predict(task).probs
    assert task.journal.facts["precision"] == "fp16-mixed"
    monkeypatch.setattr(fit, "build_fabric", device.build_fabric)
    task = make_task(recipe, "float32")
    whole = fit_predict(task).probs
    assert task.journal.facts["precision"] == "float32"
    assert half == pytest.approx(whole, abs=0.05)
    assert not (half == whole).all()


def test_fp16_continues_with_the_scale_of_the_interrupted_training(make_task, fp16, monkeypatch):
    expected = fit_predict(make_task(SHORT, "unbroken")).probs
    task = make_task(SHORT, "broken")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        interrupt_after(patch, 1)
        fit_predict(task)
    # a scale of its own shows that it is stored: the next process starts with 65,536
    stored = checkpoint.load_last(task.folder).state
    checkpoint.save_last(
        task.folder, stored | {"precision": stored["precision"] | {"scale": 1024.0}}
    )
    again = fit_predict(replace(task, journal=RecordingJournal()))
    assert fp16[-1].get_scale() == 1024.0
    assert again.probs == pytest.approx(expected, abs=0.02)


def test_a_gradient_that_overflows_once_is_skipped_and_one_that_always_does_ends_the_job(
    make_task, fp16, monkeypatch
):
    count = [0]
    step = Training._take_step

    def overflowing(self, *, always):
        count[0] += 1
        if always or count[0] == 1:
            next(iter(self.model.parameters())).grad.fill_(float("inf"))
        step(self)

    monkeypatch.setattr(Training, "_take_step", lambda self: overflowing(self, always=False))
    fit_predict(make_task(SHORT, "once"))
    assert fp16[-1].get_scale() == 65536 / 2
    monkeypatch.setattr(Training, "_take_step", lambda self: overflowing(self, always=True))
    long = SHORT.with_overrides({"epochs": 20, "accumulate": 1})
    with pytest.raises(TrainingError, match=r"overflow in fp16 with every scale.*amp=false"):
        fit_predict(make_task(long, "always"))
