"""Options of the device, and its facts in the record, as far as a CPU can show them."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import MethodError
from bench.method import Recipe
from bench.run.local import gpu_slots
from bench.train import fabric as device
from bench.train import fit_predict, sampling
from bench.train.fabric import synchronised
from bench.train.models import build_model
from bench.train.predictor import load_classifier
from bench.train.sampling import ResidentImages, on_device

SHORT = Recipe(image_size=16, epochs=2, batch_size=8, lr=1e-3, ema_decay=0.9)


def test_deterministic_algorithms_are_asked_for_within_the_training_alone(make_task, monkeypatch):
    seen = []
    forward = nn.Linear.forward

    def recording(self, features):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return forward(self, features)

    monkeypatch.setattr(nn.Linear, "forward", recording)
    monkeypatch.delenv(device.CUBLAS, raising=False)
    plain = fit_predict(make_task(SHORT, "plain")).probs
    assert set(seen) == {False}
    seen.clear()
    same = fit_predict(make_task(SHORT.with_overrides({"deterministic": True}), "same")).probs
    assert set(seen) == {True}
    assert os.environ[device.CUBLAS] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert (plain == same).all()  # a CPU gives the same bits anyway


def test_a_compiled_model_trains_as_the_plain_one_and_leaves_plain_weights(make_task, monkeypatch):
    compiled = []

    def eagerly(self):
        """Torch's own capture of the model without the generated code, which takes a minute."""
        compiled.append(self)
        self._compiled_call_impl = torch.compile(self._call_impl, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", eagerly)
    plain = make_task(SHORT, "plain")
    expected = fit_predict(plain).probs
    task = make_task(SHORT.with_overrides({"compile": True}), "compiled")
    found = fit_predict(task).probs
    assert len(compiled) == 1
    assert found == pytest.approx(expected, abs=1e-5)
    for name in ("best.safetensors", "best_ema.safetensors"):
        assert (task.folder / name).stat().st_size == pytest.approx(
            (plain.folder / name).stat().st_size, rel=0.01
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, of its compiler
def test_a_model_compiled_to_code_trains_as_the_plain_one(make_task):
    expected = fit_predict(make_task(SHORT, "plain")).probs
    found = fit_predict(make_task(SHORT.with_overrides({"compile": True}), "compiled")).probs
    assert found == pytest.approx(expected, abs=1e-3)


def fabric(kind: str, processes: int) -> SimpleNamespace:
    return SimpleNamespace(device=torch.device(kind), world_size=processes)


@pytest.mark.parametrize("name", ["custom_cnn", "efficientnet_b0", "resnet18"])
def test_batch_norms_are_synchronised_where_several_gpus_are_asked_to(name):
    recipe = Recipe(model=name, sync_batch_norm=True)
    model = build_model(recipe, 3, None)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert synchronised(model, fabric("cuda", 1), recipe) is model
    assert synchronised(model, fabric("cuda", 2), Recipe(model=name)) is model
    with pytest.raises(MethodError, match="GPUs only"):
        synchronised(model, fabric("cpu", 2), recipe)
    shared = synchronised(model, fabric("cuda", 2), recipe)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in shared.modules()) == norms > 0
    after = shared.state_dict()
    assert list(after) == list(before)
    assert all((after[key] == before[key]).all() for key in before)


def test_images_in_a_devices_memory_are_those_of_the_store(make_task):
    images = make_task(SHORT).train.images
    resident = ResidentImages(images, torch.device("cpu"))
    positions = np.array([4, 0, 4, 2])
    assert len(resident) == len(images)
    assert (resident.take(positions).numpy() == images.take(positions)).all()
    assert on_device(images, torch.device("cpu")) is images


@pytest.mark.parametrize(("free", "stays"), [(10**9, True), (100, False)])
def test_images_go_where_there_is_room(make_task, monkeypatch, free, stays):
    images = make_task(SHORT).train.images
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10**10))
    monkeypatch.setattr(sampling, "ResidentImages", lambda *_: "resident")
    found = on_device(images, torch.device("cuda"))
    assert (found == "resident") if stays else (found is images)


def test_a_training_on_resident_images_ends_in_the_same_bits(make_task, monkeypatch):
    expected = fit_predict(make_task(SHORT, "plain")).probs
    monkeypatch.setattr(sampling, "on_device", ResidentImages)
    assert (fit_predict(make_task(SHORT, "resident")).probs == expected).all()


def test_the_record_has_speed_and_utilisation(make_task):
    task = make_task(SHORT)
    fit_predict(task)
    assert 0 < task.journal.facts["utilisation"] < 1.5
    assert task.journal.facts["images_per_second"] > 0


@pytest.mark.parametrize(
    ("answer", "share"), [("echo 37", 0.37), ("echo '[N/A]'", None), ("exit 3", None)]
)
def test_the_utilisation_of_the_driver_is_read(tmp_path, answer, share):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{answer}\n")
    smi.chmod(0o755)
    assert device.utilisation_by([str(smi)]) == share
    assert device.utilisation_by([str(tmp_path / "none")]) is None


@pytest.mark.parametrize(
    ("per_device", "per_job", "slots"),
    [
        (1, 1, ["0", "1", "2", "3"]),
        (2, 1, ["0", "1", "2", "3"] * 2),
        (1, 2, ["0,1", "2,3"]),
        (1, 3, ["0,1,2"]),
        (3, 4, ["0,1,2,3"] * 3),
    ],
)
def test_jobs_are_dealt_to_devices_in_turn(monkeypatch, per_device, per_job, slots):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert gpu_slots(per_device, per_job) == slots


@pytest.mark.parametrize("wanted", [True, False])
def test_weights_and_images_lie_in_memory_as_the_recipe_says(make_task, wanted):
    """Of every convolution, in training, evaluation and from the checkpoint alone."""
    recipe = SHORT.with_overrides({"channels_last": wanted, "tta": "dihedral", "rotation": 20})
    task = make_task(recipe)
    layouts = []

    def note(module, given):
        for tensor in (*given, module.weight):
            last = tensor.is_contiguous(memory_format=torch.channels_last)
            if last is not tensor.is_contiguous():  # of one pixel or one channel it is both
                layouts.append(last)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: note(module, given) if isinstance(module, torch.nn.Conv2d) else None
    )
    try:
        predictions = fit_predict(task)
        member = load_classifier(task.folder / "best.safetensors")
        again = member.prepared_probs(task.test.images.take(np.arange(len(task.test))))
    finally:
        handle.remove()
    assert set(layouts) == {wanted}
    assert np.array_equal(again, predictions.probs)


def test_how_images_lie_in_memory_changes_rounding_alone(make_task):
    losses = []
    for wanted in (True, False):
        one_step = {"channels_last": wanted, "batch_size": 64}
        task = make_task(SHORT.with_overrides(one_step), str(wanted))
        fit_predict(task)
        losses.append(task.journal.rows[0]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
