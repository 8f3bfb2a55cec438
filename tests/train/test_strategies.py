"""Every strategy of a recipe trains, and is exact over an interruption."""

import pytest
import torch
from safetensors.torch import load_file

from bench.method import Recipe
from bench.train import fit_predict
from bench.train.models import build_model, layers
from tests.train.conftest import Killed, interrupt_after

LDAM_DRW = Recipe(
    image_size=16, epochs=3, batch_size=8, accumulate=2, lr=5e-3, optimizer="adam", lookahead=True,
    schedule="one_cycle", sampler="class_aware", sampler_power=0.5, rare_augment=1.0, loss="ldam",
    class_weight_beta=0.99, class_weight_from=2, scale=0.1, auto_augment="rand", erasing_prob=0.5,
    rotation=20, hue=0.05, tta="flips", temperature=True,
)  # fmt: skip
FOCAL = Recipe(
    image_size=16, epochs=3, batch_size=8, accumulate=3, lr=5e-3, optimizer="rmsprop",
    layer_decay=0.8, loss="focal", logit_adjustment=1.0, class_loss_scale={"mel": 2.0},
    auto_augment="trivial", mixup_prob=0.5, ema_decay=0.9, tta="dihedral",
)  # fmt: skip
THAWING = Recipe(
    model="resnet18", pretrained="x", image_size=16, epochs=4, batch_size=16, lr=1e-3,
    freeze_epochs=1, unfreeze_epochs=2, body_lr_scale=0.1,
)  # fmt: skip


@pytest.fixture
def resnet_weights(tmp_path):
    torch.manual_seed(3)
    path = tmp_path / "resnet18.pth"
    torch.save(build_model(Recipe(model="resnet18"), 10, None).state_dict(), path)
    return path


@pytest.mark.parametrize("recipe", [LDAM_DRW, FOCAL, THAWING], ids=["ldam_drw", "focal", "thawing"])
def test_an_interrupted_training_ends_in_the_same_bits(
    make_task, monkeypatch, recipe, resnet_weights
):
    weights = resnet_weights if recipe.pretrained else None
    expected = fit_predict(make_task(recipe, "unbroken", weights))
    with monkeypatch.context() as context, pytest.raises(Killed):
        interrupt_after(context, 1)
        fit_predict(make_task(recipe, "broken", weights))
    assert (fit_predict(make_task(recipe, "broken", weights)).probs == expected.probs).all()


def test_a_stage_that_has_not_thawed_keeps_its_weights(make_task, resnet_weights):
    recipe = THAWING.with_overrides({"epochs": 2, "unfreeze_epochs": 3})
    task = make_task(recipe, weights=resnet_weights)
    fit_predict(task)
    before, after = torch.load(resnet_weights), load_file(task.folder / "best.safetensors")
    model = build_model(recipe, 3, None)
    changed = {
        stage
        for name, stage in layers(model, coarse=True).items()
        if stage < 5 and (before[name] != after[name]).any()
    }
    # in the one epoch after the frozen one, only the stage below the head has thawed
    assert changed <= {4}
    assert all((before[f"bn1.{what}"] == after[f"bn1.{what}"]).all() for what in ("weight", "bias"))
    assert (before["layer1.0.bn1.running_mean"] == after["layer1.0.bn1.running_mean"]).all()


def test_accumulated_small_batches_step_as_one_large_batch(make_task):
    """Without batch norm's dependence on the batch: a model that has none."""
    switches = {
        "model": "convnext_atto", "image_size": 32, "epochs": 1, "hflip": 0, "vflip": 0,
        "drop_path": 0.0, "optimizer": "sgd", "lr": 1e-2,
    }  # fmt: skip
    large = make_task(Recipe(batch_size=36, **switches), "large")
    small = make_task(Recipe(batch_size=12, accumulate=3, **switches), "small")
    assert len(large.train) == 36
    ours, theirs = fit_predict(small), fit_predict(large)
    assert abs(ours.probs - theirs.probs).max() < 1e-4
    assert small.journal.rows[0]["train_loss"] == pytest.approx(
        large.journal.rows[0]["train_loss"], rel=1e-4
    )
