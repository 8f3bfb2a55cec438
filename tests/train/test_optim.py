"""Optimizers and schedules: against torch's own, and by what groups of parameters get."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from bench.errors import MethodError
from bench.method import Recipe
from bench.train.models import CustomCNN, Freezing, build_model, head_names, layers
from bench.train.optim import Schedule, accumulation, build_optimizer, parameter_groups, rate_scales

OPTIMIZERS = get_args(Recipe.model_fields["optimizer"].annotation)


def some_sgd(lr=1.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(scheduler, optimizer, steps):
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_is_torchs_cosine_annealing():
    schedule = Schedule(Recipe(epochs=5, schedule="cosine"), 0, 8)
    optimizer = some_sgd()
    theirs = rates(CosineAnnealingLR(optimizer, 40), optimizer, 40)
    assert np.allclose([schedule.factor(step) for step in range(40)], theirs)


@pytest.mark.parametrize(("warmup", "share"), [(0, 0.3), (1, 0.2), (2, 0.4)])
def test_one_cycle_is_torchs(warmup, share):
    schedule = Schedule(Recipe(epochs=5, schedule="one_cycle", warmup_epochs=warmup), 0, 8)
    optimizer = some_sgd()
    cycle = OneCycleLR(optimizer, 1.0, total_steps=40, pct_start=share, cycle_momentum=False)
    theirs = rates(cycle, optimizer, 39)
    assert np.allclose([schedule.factor(step) for step in range(39)], theirs)


def test_plateau_is_torchs():
    recipe = Recipe(epochs=40, schedule="plateau", plateau_patience=2, plateau_factor=0.3)
    schedule, optimizer = Schedule(recipe, 0, 10), some_sgd()
    theirs = ReduceLROnPlateau(optimizer, "max", factor=0.3, patience=2, threshold=0, eps=0)
    for score in np.random.default_rng(0).random(40).round(1):
        schedule.epoch_ended(score)
        theirs.step(score)
        assert schedule.factor(100) == pytest.approx(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("lookahead", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_descends(name, lookahead):
    torch.manual_seed(0)
    model = build_model(Recipe(model="custom_cnn"), 3, None)
    images, labels = torch.rand(6, 3, 16, 16), torch.arange(6) % 3
    # adan and laprop begin slowly, from moments that are not corrected
    optimizer = build_optimizer(model, Recipe(optimizer=name, lookahead=lookahead), lr=3e-3)
    losses = []
    for _ in range(14):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < losses[0]


def test_lookahead_goes_half_way_back_every_six_steps():
    model = build_model(Recipe(), 3, None)
    bias = model.head.bias
    torch.nn.init.zeros_(bias)
    recipe = Recipe(optimizer="sgd", momentum=0, lookahead=True)
    optimizer = build_optimizer(model, recipe.with_overrides({"weight_decay": 0}), lr=0.1)
    for _ in range(12):
        optimizer.zero_grad()
        bias.sum().backward()
        optimizer.step()
    # the slow weights begin at the first synchronisation, after six steps of 0.1
    assert torch.allclose(bias, torch.full((3,), -0.6 - 0.3))


@pytest.mark.parametrize(
    "name", ["custom_cnn", "resnet18", "efficientnet_b0", "swin_tiny_patch4_window7_224"]
)
def test_rates_shrink_from_the_head_to_the_image(name):
    model = build_model(Recipe(model=name, image_size=32), 3, None)
    scales = rate_scales(model, Recipe(layer_decay=0.5))
    depth = layers(model)
    top = max(depth.values())
    assert scales == {name: 0.5 ** (top - depth[name]) for name in depth}
    assert all(scales[name] == 1 for name in head_names(model) & set(scales))
    first = next(iter(scales))
    assert scales[first] == min(scales.values()) < 0.2
    groups = parameter_groups(model, Recipe(layer_decay=0.5))
    assert sum(len(group["params"]) for group in groups) == len(scales)


def test_layer_decay_is_timms():
    from timm.optim import param_groups_layer_decay

    model = build_model(Recipe(model="resnet18"), 3, None)
    theirs = {
        id(p): (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(model, weight_decay=0.1, layer_decay=0.7)
        for p in group["params"]
    }
    mine = {
        id(p): (group["lr_scale"], group["weight_decay"])
        for group in parameter_groups(model, Recipe(layer_decay=0.7, weight_decay=0.1))
        for p in group["params"]
    }
    assert mine.keys() == theirs.keys()
    assert all(mine[key] == pytest.approx(theirs[key]) for key in mine)


def test_the_body_learns_at_its_own_rate():
    model = build_model(Recipe(model="resnet18"), 3, None)
    scales = rate_scales(model, Recipe(body_lr_scale=0.1))
    assert {name for name, scale in scales.items() if scale == 1} == {"fc.weight", "fc.bias"}
    assert set(scales.values()) == {0.1, 1.0}


def test_without_switches_there_are_two_groups_as_ever():
    model = build_model(Recipe(model="resnet18"), 3, None)
    decaying, rest = parameter_groups(model, Recipe(weight_decay=0.1))
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.1, 0)
    assert [p.ndim > 1 for p in decaying["params"] + rest["params"]] == [True] * 21 + [False] * 41


def test_accumulated_batches_share_a_step_and_the_last_takes_what_is_left():
    assert [accumulation(turn, 7, 3) for turn in range(7)] == [
        (3, False), (3, False), (3, True), (3, False), (3, False), (3, True), (1, True),
    ]  # fmt: skip
    assert [accumulation(turn, 2, 1) for turn in range(2)] == [(1, True), (1, True)]


def learning_stages(model):
    depth = layers(model, coarse=True)
    return {depth[name] for name, p in model.named_parameters() if p.requires_grad}


def test_the_body_thaws_from_the_head_down():
    model = build_model(Recipe(model="resnet18"), 3, None)
    freezing = Freezing(model, Recipe(freeze_epochs=1, unfreeze_epochs=3), pretrained=True)
    freezing.start_phase(head_only=True)
    freezing.enter(0)
    assert learning_stages(model) == {5}
    assert not model.bn1.training
    freezing.start_phase(head_only=False)
    thawed = []
    for epoch in range(1, 6):
        freezing.enter(epoch)
        thawed.append(learning_stages(model))
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.training is (f"{name}.weight" not in frozen)
    assert thawed == [{4, 5}, {3, 4, 5}, {1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}]


def test_nothing_is_frozen_that_starts_from_scratch():
    model = build_model(Recipe(model="resnet18"), 3, None)
    freezing = Freezing(model, Recipe(freeze_epochs=3, unfreeze_epochs=3), pretrained=False)
    freezing.start_phase(head_only=freezing.frozen_epochs > 0)
    freezing.enter(0)
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("pretrained", [False, True])
def test_what_the_model_froze_stays_frozen_in_every_epoch(pretrained):
    model = build_model(Recipe(model="resnet18"), 3, None)
    model.layer4.requires_grad_(False)
    model.fc.bias.requires_grad_(False)
    freezing = Freezing(model, Recipe(freeze_epochs=1, unfreeze_epochs=2), pretrained=pretrained)
    learnt = set()
    for epoch in range(5):
        freezing.start_phase(head_only=epoch < freezing.frozen_epochs)
        freezing.enter(epoch)
        learnt |= {name for name, p in model.named_parameters() if p.requires_grad}
        assert not model.layer4[0].bn1.training
    every = {name for name, _ in model.named_parameters()}
    frozen = {name for name in every if name.startswith("layer4")} | {"fc.bias"}
    assert learnt == every - frozen == freezing.learning


def test_a_frozen_token_does_not_put_the_layers_below_it_in_evaluation_mode():
    model = build_model(Recipe(model="vit_tiny_patch16_224", image_size=32), 3, None)
    model.cls_token.requires_grad_(False)
    model.pos_embed.requires_grad_(False)
    Freezing(model, Recipe(), pretrained=False).enter(0)
    assert model.blocks[0].training
    assert model.blocks[0].mlp.training


def test_a_model_without_a_parameter_that_learns_is_refused():
    model = build_model(Recipe(model="resnet18"), 3, None).requires_grad_(False)
    with pytest.raises(MethodError, match="no parameter that learns"):
        Freezing(model, Recipe(), pretrained=False)
    model.layer4.requires_grad_(True)
    freezing = Freezing(model, Recipe(freeze_epochs=1), pretrained=True)
    with pytest.raises(MethodError, match="freeze_epochs"):
        freezing.start_phase(head_only=True)


def test_parameter_groups_have_separate_learning_rates():
    """As torch's parameter groups say it, written out for the custom CNN."""
    model = CustomCNN(3)
    recipe = Recipe().with_overrides(
        {"lr_scales": "stages.0.*:0.1,head.bias:2", "body_lr_scale": 0.5}
    )
    found = rate_scales(model, recipe)
    assert found["stages.0.0.weight"] == pytest.approx(0.05)
    assert (found["stages.1.0.weight"], found["head.weight"], found["head.bias"]) == (0.5, 1, 2)
    groups = parameter_groups(model, recipe)
    assert {group["lr_scale"] for group in groups} == {0.05, 0.5, 1, 2}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    with pytest.raises(MethodError, match="lr_scales: no parameter matches 'stem'"):
        rate_scales(model, Recipe().with_overrides({"lr_scales": "stem:0.1"}))


@pytest.mark.parametrize(("steps", "warmup"), [(1, 1), (2, 0.5), (4, 0.25), (1, 0)])
def test_one_cycle_whose_rise_is_one_step_begins_at_its_peak(steps, warmup):
    schedule = Schedule(Recipe(epochs=6, schedule="one_cycle", warmup_epochs=warmup), 0, steps)
    factors = [schedule.factor(step) for step in range(6 * steps)]
    assert max(factors) == pytest.approx(1, abs=0.05)
    assert factors[0] == pytest.approx(1) or warmup == 0
    assert factors[-1] == pytest.approx(4e-6)
