"""Contrastive pretraining by its definition; prototypes are class means; both end to end."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from bench.errors import MethodError
from bench.method import Recipe
from bench.train import fit_predict, sampling
from bench.train.contrastive import VIEWS, ContrastiveLoss, head_of, start_prototypes
from bench.train.evaluate import Scale
from bench.train.models import build_model
from bench.train.predictor import load_classifier
from tests.conftest import CLASSES
from tests.train.conftest import Killed, interrupt_after

RECIPE = Recipe(image_size=16, epochs=2, batch_size=12, lr=5e-3)


def by_definition(features, labels, temperature):
    """Khosla et al. 2020, equation 2: outside the logarithm, over anchors that have fellows."""
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        fellows = [p for p in others if labels[p] == labels[i]]
        whole = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
        shares = [np.log(np.exp(z[i] @ z[p] / temperature) / whole) for p in fellows]
        losses += [-np.mean(shares)] if fellows else []
    return np.mean(losses)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_the_papers(seed):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(12, 6)), rng.integers(0, 3, 12)
    targets = functional.one_hot(torch.from_numpy(labels), 3).float()
    for temperature in (0.07, 0.1, 1.0):
        found = VIEWS * ContrastiveLoss(temperature)(torch.from_numpy(features), targets, 0).item()
        assert found == pytest.approx(by_definition(features, labels, temperature), rel=1e-4)


@pytest.mark.parametrize("model", ["custom_cnn", "resnet18"])
def test_prototypes_are_the_mean_directions_of_the_training_images(make_task, model):
    task = make_task(RECIPE.with_overrides({"model": model, "head": "prototypes"}))
    net = build_model(task.recipe, len(CLASSES), None).eval()
    start_prototypes(task, net, Scale.of(net, torch.device("cpu")))
    head = head_of(net)[1]
    scale = Scale.of(net, torch.device("cpu"))
    caught = []
    hook = head.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    with torch.no_grad():
        net(scale.normalise(scale.unit(task.train.images.take(np.arange(len(task.train))))))
    hook.remove()
    unit = functional.normalize(caught[0]).numpy()
    means = np.stack([unit[task.train.labels == c].mean(axis=0) for c in range(len(CLASSES))])
    assert np.allclose(head.weight.detach().numpy(), means, atol=1e-5)


@pytest.mark.parametrize(
    "switches",
    [{"supcon_epochs": 2}, {"head": "prototypes"}, {"supcon_epochs": 2, "head": "prototypes"}],
)
def test_it_trains_and_its_checkpoint_predicts_alone(make_task, switches):
    task = make_task(RECIPE.with_overrides({"epochs": 3, **switches}))
    predictions = fit_predict(task)
    assert np.allclose(predictions.probs.sum(axis=1), 1, atol=1e-5)
    assert task.journal.facts["val_score"] > 0.5
    if "supcon_epochs" in switches:
        assert 1 <= task.journal.facts["supcon_epoch"] <= 2
        assert task.journal.facts["supcon_val_score"] > 0.5
    assert [row["epoch"] for row in task.journal.rows] == [1, 2, 3]
    member = load_classifier(task.folder / "best.safetensors")
    images = task.test.images.take(np.arange(len(task.test)))
    assert np.allclose(member.prepared_probs(images), predictions.probs, atol=1e-5)


def test_an_interrupted_pretraining_goes_on_to_the_same_bits(make_task, monkeypatch):
    recipe = RECIPE.with_overrides({"supcon_epochs": 2, "head": "prototypes", "rotation": 90})
    whole = fit_predict(make_task(recipe, "whole"))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(Killed):
            fit_predict(make_task(recipe, "broken"))
    assert np.array_equal(fit_predict(make_task(recipe, "broken")).probs, whole.probs)


def test_a_model_without_one_layer_for_a_head_is_refused():
    with pytest.raises(MethodError, match="is one layer"):
        head_of(torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_rates_by_name_hold_for_the_body_in_the_pretraining_too(make_task):
    scales = {"stages.0.*": 1e-9, "head.*": 2.0}
    switches = {"supcon_epochs": 1, "epochs": 1, "lr_scales": scales, "weight_decay": 0}
    task = make_task(RECIPE.with_overrides(switches))
    fit_predict(task)
    torch.manual_seed(sampling.derived_seed(0, 0, sampling.WEIGHTS))
    start = build_model(task.recipe, len(CLASSES), None).state_dict()
    after = load_file(task.folder / "best.safetensors")
    assert torch.allclose(after["stages.0.0.weight"], start["stages.0.0.weight"], atol=1e-6)
    assert not torch.allclose(after["stages.1.0.weight"], start["stages.1.0.weight"], atol=1e-4)
    wrong = make_task(RECIPE.with_overrides(switches | {"lr_scales": {"stem": 0.1}}), "wrong")
    with pytest.raises(MethodError, match="lr_scales: no parameter matches 'stem'"):
        fit_predict(wrong)
    assert not (wrong.folder / "supcon").exists()


def test_warnings_of_the_pretraining_are_recorded(make_task):
    task = make_task(RECIPE.with_overrides({"supcon_epochs": 1, "epochs": 1}))
    dark = replace(task.test.images, pixels=task.test.images.pixels // 4)
    task = replace(task, test=replace(task.test, images=dark))
    fit_predict(task)
    said = task.journal.facts["supcon_guards"]
    assert said["supcon: other looks"] in task.journal.notes
    assert said["supcon: other looks"].startswith("supcon: val and test images ")
