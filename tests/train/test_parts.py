"""The parts of a training, each against its definition."""

from collections import Counter

import numpy as np
import pytest
import torch

from bench.errors import MethodError
from bench.method import Recipe
from bench.train import checkpoint, sampling
from bench.train.augment import NoMix, mixing
from bench.train.losses import Loss, class_priors, class_weights
from bench.train.models import build_model, load_body
from bench.train.optim import Schedule, build_ema

CLASSES = ("a", "b", "c")
LABELS = np.repeat([0, 1, 2], [640, 320, 40])


def test_a_natural_epoch_shows_every_image_once_and_each_epoch_another_order():
    first, second = (sampling.epoch_order(LABELS, 0, 0, 0, epoch) for epoch in (0, 1))
    assert sorted(first) == list(range(len(LABELS)))
    assert (first != second).any()
    assert (first == sampling.epoch_order(LABELS, 0, 0, 0, 0)).all()
    assert (first != sampling.epoch_order(LABELS, 0, 1, 0, 0)).any()
    assert (first != sampling.epoch_order(LABELS, 0, 0, 1, 0)).any()


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_sampler_leaves_the_prior_that_it_says(power):
    expected = class_priors(LABELS, 3, power)
    drawn = np.concatenate(
        [LABELS[sampling.epoch_order(LABELS, power, 0, 0, epoch)] for epoch in range(30)]
    )
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    # binomial standard error of 30,000 draws is below 0.003
    assert np.abs(shares - expected).max() < 0.012
    if power == 1:
        assert np.allclose(expected, 1 / 3)


def test_class_weights_have_mean_one_over_the_drawn_images():
    for sampler in (0.0, 0.5, 1.0):
        for prior in ("drawn", "natural"):
            recipe = Recipe(sampler_power=sampler, class_weight_power=0.7, class_weight_prior=prior)
            weights = class_weights(LABELS, 3, recipe)
            assert np.isclose((weights * class_priors(LABELS, 3, sampler)).sum(), 1)


def test_a_balancing_sampler_leaves_nothing_to_weigh_unless_the_original_is_asked_for():
    asked = {"sampler_power": 1.0, "class_weight_power": 1.0}
    assert np.allclose(class_weights(LABELS, 3, Recipe(**asked)), 1)
    twice = class_weights(LABELS, 3, Recipe(**asked, class_weight_prior="natural"))
    assert np.allclose(twice[2] / twice[0], 16)


def test_a_class_without_training_images_gets_no_weight():
    weights = class_weights(LABELS, 4, Recipe(class_weight_power=1.0))
    assert weights[3] == 0
    assert np.isfinite(weights).all()


def test_the_loss_on_one_hot_targets_is_weighted_cross_entropy():
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    loss = Loss.of(Recipe(class_weight_power=0.5), LABELS, CLASSES, torch.device("cpu"))
    _, targets = NoMix(3)(logits, labels)
    by_hand = -(loss.weights[labels] * logits.log_softmax(1)[range(8), labels]).mean()
    assert torch.isclose(loss(logits, targets, 0), by_hand)


def test_mixing_keeps_the_sum_of_the_labels_and_stops_for_the_last_epochs():
    recipe = Recipe(epochs=5, cutmix_prob=0.5, mixup_prob=0.5, mix_off_epochs=2)
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8) % 3
    torch.manual_seed(0)
    kinds = Counter()
    for _ in range(50):
        mixed, targets = mixing(recipe, 3, 0)(images, labels)
        assert torch.allclose(targets.sum(1), torch.ones(8))
        kept = (mixed == images).flatten(1).float().mean(1)
        kinds["cutmix" if kept.max() > 0.01 else "mixup"] += 1
    assert min(kinds.values()) > 10
    assert isinstance(mixing(recipe, 3, 3), NoMix)
    assert isinstance(mixing(Recipe(), 3, 0), NoMix)


def test_cutmix_shares_are_the_areas():
    recipe = Recipe(epochs=5, cutmix_prob=1.0)
    images = torch.arange(2.0)[:, None, None, None].expand(2, 3, 20, 20).contiguous()
    torch.manual_seed(1)
    mixed, targets = mixing(recipe, 2, 0)(images, torch.tensor([0, 1]))
    assert torch.isclose(targets[0, 1], (mixed[0, 0] == 1).float().mean(), atol=1e-6)


def test_plateau_shrinks_the_rate_after_patience_and_warm_up_leads_to_it():
    recipe = Recipe(
        epochs=20, schedule="plateau", plateau_patience=1, plateau_factor=0.1, warmup_epochs=1
    )
    schedule = Schedule(recipe, 0, 10)
    assert np.allclose([schedule.factor(step) for step in (0, 4, 9, 10)], [0.1, 0.5, 1, 1])
    for score, expected in ((0.5, 1), (0.5, 1), (0.4, 0.1), (0.6, 0.1), (0.6, 0.1), (0.6, 0.01)):
        schedule.epoch_ended(score)
        assert np.isclose(schedule.factor(100), expected)
    again = Schedule(recipe, 0, 10)
    again.load_state_dict(schedule.state_dict())
    assert again.factor(100) == schedule.factor(100)


def test_cosine_ends_near_zero_and_counts_from_the_phase_start():
    schedule = Schedule(Recipe(epochs=10, schedule="cosine"), 20, 10)
    factors = [schedule.factor(step) for step in range(20, 100)]
    assert factors[0] == 1
    assert factors[-1] < 1e-3
    assert factors == sorted(factors, reverse=True)


def test_the_average_warms_up_and_then_follows_its_decay():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    ema = build_ema(model, Recipe(ema_decay=0.999))
    torch.nn.init.ones_(model.weight)
    for step in range(1, 201):
        ema.update(model, step)
    assert ema.module.weight.item() == pytest.approx(1)
    original = build_ema(model, Recipe(ema_decay=0.999, ema_warmup=False))
    torch.nn.init.zeros_(model.weight)
    for step in range(2, 202):
        original.update(model, step)
    assert original.module.weight.item() == pytest.approx(0.999**200, rel=1e-3)


def test_checkpoints_are_kept_twice_and_proven_by_hash(tmp_path):
    assert checkpoint.load_last(tmp_path) is None
    for number in (1, 2):
        checkpoint.save_last(tmp_path, {"number": number, "x": torch.ones(3)})
    assert checkpoint.load_last(tmp_path).state["number"] == 2
    (tmp_path / "last.pt").write_bytes(b"garbage")
    assert checkpoint.load_last(tmp_path).state["number"] == 1
    (tmp_path / "last.pt").unlink()  # as a kill between the two renames leaves it
    assert checkpoint.load_last(tmp_path).state["number"] == 1
    checkpoint.save_last(tmp_path, {"number": 3})
    assert checkpoint.load_last(tmp_path).state["number"] == 3
    (tmp_path / "last.pt").unlink()
    (tmp_path / "previous.pt").write_bytes(b"")
    assert checkpoint.load_last(tmp_path) is None


@pytest.mark.parametrize("name", ["custom_cnn", "resnet18", "efficientnet_b0"])
def test_every_baseline_model_gives_logits_at_any_size(name):
    model = build_model(Recipe(model=name), 7, None).eval()
    for size in (32, 48):
        assert model(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_unknown_models_are_told_the_near_ones():
    with pytest.raises(MethodError, match="no model 'resnet17x'"):
        build_model(Recipe(model="resnet17x"), 7, None)


def test_weights_that_do_not_fit_are_refused_by_key(tmp_path):
    model = build_model(Recipe(model="resnet18"), 7, None)
    state = dict(model.state_dict())
    del state["conv1.weight"]
    state["strange"] = torch.zeros(1)
    path = tmp_path / "w.pth"
    torch.save(state, path)
    with pytest.raises(MethodError, match=r"conv1.weight is missing.*strange is unknown"):
        load_body(model, path)
    path.write_bytes(b"no weights")
    with pytest.raises(MethodError, match="cannot be read as weights"):
        load_body(model, path)
