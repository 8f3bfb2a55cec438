"""Losses against their papers' formulas, written out for one image and one label at a time."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.errors import MethodError
from bench.method import Recipe
from bench.train.losses import Loss, class_priors, class_weights

CLASSES = ("akiec", "mel", "nv")
COUNTS = (20, 60, 420)
LABELS = np.repeat([0, 1, 2], COUNTS)


def loss_of(labels=LABELS, **switches):
    return Loss.of(Recipe(**switches), labels, CLASSES, torch.device("cpu"))


def batch(count=16, scale=2.0):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (count,), generator=generator)
    return logits, labels, functional.one_hot(labels, 3).double()


def softmax(row):
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def by_hand(logits, labels, one):
    """The mean over images of a loss of one image: one(list of logits, label)."""
    return float(np.mean([one(z.tolist(), int(y)) for z, y in zip(logits, labels, strict=True)]))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_its_formula(gamma):
    logits, labels, targets = batch()

    def focal(z, y):
        p = softmax(z)[y]
        return -((1 - p) ** gamma) * math.log(p)

    loss = loss_of(loss="focal", focal_gamma=gamma)(logits, targets, 0)
    assert loss.item() == pytest.approx(by_hand(logits, labels, focal), rel=1e-5)


def test_focal_loss_without_focus_is_cross_entropy():
    logits, _, targets = batch()
    plain = loss_of()(logits, targets.double(), 0)
    assert loss_of(loss="focal", focal_gamma=0)(logits, targets, 0).item() == pytest.approx(
        plain.item(), rel=1e-6
    )


def test_a_certain_image_leaves_the_focal_gradient_finite():
    logits = torch.tensor([[80.0, 0.0, 0.0]], requires_grad=True)
    loss_of(loss="focal", focal_gamma=0.5)(logits, torch.tensor([[1.0, 0, 0]]), 0).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("beta", [0.9, 0.999])
def test_weights_by_effective_number_are_cuis(beta):
    weights = class_weights(LABELS, 3, Recipe(class_weight_beta=beta))
    wanted = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    assert np.allclose(weights / weights[2], np.array(wanted) / wanted[2])
    assert np.isclose((weights * class_priors(LABELS, 3, 0)).sum(), 1)


def test_effective_numbers_near_one_are_the_inverse_frequency():
    near = class_weights(LABELS, 3, Recipe(class_weight_beta=1 - 1e-9))
    inverse = class_weights(LABELS, 3, Recipe(class_weight_power=1))
    assert np.allclose(near, inverse, rtol=1e-4)


def test_a_balancing_sampler_leaves_effective_numbers_nothing_to_do():
    assert np.allclose(class_weights(LABELS, 3, Recipe(class_weight_beta=0.99, sampler_power=1)), 1)


def test_class_balanced_focal_loss_is_the_focal_loss_times_the_weights():
    logits, labels, targets = batch()
    loss = loss_of(loss="focal", class_weight_beta=0.99)

    def balanced(z, y):
        p = softmax(z)[y]
        return -loss.weights[y].item() * (1 - p) ** 2 * math.log(p)

    assert loss(logits, targets, 0).item() == pytest.approx(by_hand(logits, labels, balanced), 1e-5)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_logit_adjustment_is_menons(tau):
    logits, labels, targets = batch()

    def adjusted(z, y):
        moved = [
            value + tau * math.log(n / sum(COUNTS)) for value, n in zip(z, COUNTS, strict=True)
        ]
        return -math.log(softmax(moved)[y])

    loss = loss_of(logit_adjustment=tau)(logits, targets.float(), 0)
    assert loss.item() == pytest.approx(by_hand(logits, labels, adjusted), rel=1e-5)


def test_logit_adjustment_starts_from_what_the_sampler_leaves():
    adjustment = loss_of(logit_adjustment=1.0, sampler_power=1.0).adjustment
    assert torch.allclose(adjustment, torch.full((3,), math.log(1 / 3)))


def test_a_class_without_images_keeps_every_loss_finite():
    labels = np.repeat([0, 2], [20, 80])
    logits, _, targets = batch()
    for switches in ({"logit_adjustment": 1.0}, {"loss": "ldam"}, {"class_weight_beta": 0.9}):
        loss = loss_of(labels, label_smoothing=0.1, **switches)(logits, targets, 0)
        assert torch.isfinite(loss)


def test_ldam_is_caos():
    logits, labels, targets = batch(scale=10)
    raw = [n**-0.25 for n in COUNTS]
    margins = [0.5 * value / max(raw) for value in raw]

    def ldam(z, y):
        lowered = [value - 30 * margins[y] * (c == y) for c, value in enumerate(z)]
        return -math.log(softmax(lowered)[y])

    loss = loss_of(loss="ldam")(logits, targets, 0)
    assert loss.item() == pytest.approx(by_hand(logits, labels, ldam), rel=1e-5)


def test_deferred_weights_rest_until_their_epoch():
    logits, _, targets = batch()
    drw = loss_of(loss="ldam", class_weight_beta=0.999, class_weight_from=3)
    plain = loss_of(loss="ldam")(logits, targets, 0)
    weighted = loss_of(loss="ldam", class_weight_beta=0.999)(logits, targets, 0)
    assert torch.equal(drw(logits, targets, 2), plain)
    assert torch.equal(drw(logits, targets, 3), weighted)
    assert not torch.isclose(plain, weighted, rtol=1e-2)


def test_a_class_counts_as_much_more_as_its_scale_says():
    logits, labels, targets = batch()
    loss = loss_of(class_loss_scale={"mel": 3.0})(logits, targets.double(), 0)

    def scaled(z, y):
        return -math.log(softmax(z)[y]) * (3 if CLASSES[y] == "mel" else 1)

    assert loss.item() == pytest.approx(by_hand(logits, labels, scaled), rel=1e-6)
    with pytest.raises(MethodError, match="no class melanoma; the data has akiec, mel, nv"):
        loss_of(class_loss_scale={"melanoma": 3.0})


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"loss": "focal"},
        {"loss": "ldam"},
        {"logit_adjustment": 1.0},
        {"loss": "focal", "class_weight_beta": 0.99, "logit_adjustment": 0.5},
    ],
)
def test_the_loss_of_a_mixed_label_is_the_mixture_of_the_losses(switches):
    loss = loss_of(**switches)
    logits, _, targets = batch()
    first, second = targets, targets.roll(1, 0)
    mixed = loss(logits, 0.3 * first + 0.7 * second, 0)
    apart = 0.3 * loss(logits, first, 0) + 0.7 * loss(logits, second, 0)
    assert mixed.item() == pytest.approx(apart.item(), rel=1e-6)


@pytest.mark.parametrize("loss", ["focal", "ldam"])
def test_smoothing_is_what_it_is_for_cross_entropy_a_mixture_with_the_uniform_label(loss):
    logits, _, targets = batch()
    smooth = loss_of(loss=loss, label_smoothing=0.2)(logits, targets, 0)
    by_mixing = loss_of(loss=loss)(logits, 0.8 * targets + 0.2 / 3, 0)
    assert smooth.item() == pytest.approx(by_mixing.item(), rel=1e-6)
