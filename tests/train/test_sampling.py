"""Draws follow from seed, fold, epoch and sample alone."""

import numpy as np
import pytest
from scipy import stats

from bench.train import sampling
from bench.train.augment import SAMPLE_DRAWS
from bench.train.losses import class_priors

LABELS = np.repeat([0, 1, 2], [640, 320, 40])
KEYS = sampling.sample_keys([f"IMG_{number}" for number in range(1000)])


def by_image(order, **place):
    place = {"seed": 0, "column": 0, "epoch": 0} | place
    return sampling.sample_draws(KEYS, order, **place)


def test_the_order_of_an_epoch_changes_no_images_draw():
    rng = np.random.default_rng(0)
    order = rng.permutation(1000)
    again = rng.permutation(1000)
    first, second = by_image(order), by_image(again)
    assert (first[np.argsort(order)] == second[np.argsort(again)]).all()
    assert (by_image(order[:50]) == first[:50]).all()


def test_a_repeated_image_is_drawn_anew_each_time_and_its_first_showing_is_as_ever():
    numbers = by_image(np.array([7, 3, 7, 7, 3]))
    assert (numbers[[0, 1]] == by_image(np.array([7, 3]))).all()
    assert len(np.unique(numbers, axis=0)) == 5


@pytest.mark.parametrize("place", [{"seed": 1}, {"column": 1}, {"epoch": 1}])
def test_seed_fold_and_epoch_each_draw_apart(place):
    order = np.arange(1000)
    assert (by_image(order) == by_image(order)).all()
    assert (by_image(order, **place) != by_image(order)).mean() > 0.99


def test_keys_are_the_images_own():
    assert (sampling.sample_keys(["b", "a"]) == sampling.sample_keys(["a", "b"])[::-1]).all()
    assert len(np.unique(KEYS)) == 1000


def test_draws_are_uniform_and_unrelated():
    numbers = np.concatenate([by_image(np.arange(1000), epoch=epoch) for epoch in range(10)])
    assert numbers.shape == (10_000, SAMPLE_DRAWS)
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    related = np.corrcoef(numbers.T) - np.eye(SAMPLE_DRAWS)
    # standard error of a correlation of 10,000 pairs is 0.01
    assert np.abs(related).max() < 0.05
    neighbours = np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]
    assert abs(neighbours) < 0.05


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0])
def test_the_class_aware_sampler_shows_the_images_of_a_class_equally_often(power):
    order = sampling.epoch_order(LABELS, power, 0, 0, 0, sampler="class_aware")
    assert len(order) == len(LABELS)
    shown = np.bincount(order, minlength=len(LABELS))
    for label in range(3):
        times = shown[label == LABELS]
        assert times.max() - times.min() <= 1
    quotas = np.bincount(LABELS[order], minlength=3)
    assert np.abs(quotas - class_priors(LABELS, 3, power) * len(LABELS)).max() <= 1
    again = sampling.epoch_order(LABELS, power, 0, 0, 1, sampler="class_aware")
    assert (again != order).any()


def test_the_class_aware_sampler_passes_over_a_class_without_images():
    labels = np.repeat([0, 2], [30, 10])
    order = sampling.epoch_order(labels, 1.0, 0, 0, 0, sampler="class_aware")
    assert np.bincount(labels[order]).tolist() == [20, 0, 20]


def test_augmentation_of_rare_classes_is_stronger():
    strengths = sampling.strengths(LABELS, 2.0)
    assert np.allclose(strengths[[0, 700, 999]], [1, 2, 1 + 2 * (1 - 1 / 16)])
