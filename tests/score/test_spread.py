"""What a value varies with: its parts image by image, the split by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from bench.score.join import build_cohort
from bench.score.row import read_row
from bench.score.significance import RESAMPLES, SeedFoldValues, seed_fold_values, spread
from tests.score.cohorts import World, drawn_weights


@pytest.fixture(scope="module")
def world():
    return World(seeds=(0, 1), repeats=2)


@pytest.fixture(scope="module")
def cohort(world):
    return build_cohort(world.protocol, world.dataset, world.roles)


@pytest.fixture(scope="module")
def row(world, cohort):
    return read_row(world.row("a", seeds=(0, 1)), world.protocol, cohort)


@pytest.fixture(scope="module")
def parts(row, cohort):
    (found,) = seed_fold_values([row], "accuracy", cohort, 11)
    return found


def right_in(row, column, seed):
    """Group of every image of a fold column and whether it is called right in the pass."""
    run = dict(zip(row.passes, row.counted, strict=True))[seed, column // 3].run
    here = run.fold == column % 3
    return run.group[here], (run.predicted == run.truth)[here]


def test_values_are_those_of_every_seed_and_fold_column(row, parts):
    expected = [[right_in(row, column, seed)[1].mean() for column in range(6)] for seed in (0, 1)]
    assert parts.values == pytest.approx(np.array(expected))
    assert parts.values.mean(axis=0) == pytest.approx(row.by_fold[0])


def test_resamples_are_of_each_columns_own_images_and_a_mean_over_seeds(row, cohort, parts):
    weights = drawn_weights(cohort.groups, 50, 11).astype(float)
    assert parts.replicates.shape == (6, RESAMPLES)
    for column in range(6):
        by_seed = [
            np.average(
                np.broadcast_to(right[:, None], (len(right), 50)), axis=0, weights=weights[group]
            )
            for group, right in (right_in(row, column, seed) for seed in (0, 1))
        ]
        assert parts.replicates[column, :50] == pytest.approx(np.mean(by_seed, axis=0))


def test_the_difference_of_a_row_to_itself_has_no_spread(parts):
    found = spread(parts - parts)
    assert (found.lesions, found.training, found.seed, found.between) == (0, 0, 0, 0)


def test_the_split_is_its_definition():
    rng = np.random.default_rng(0)
    values, replicates = rng.normal(0, [[0.1, 0.5, 0.9]] * 2), rng.normal(0, 0.05, (3, 40))
    values[1] += [0.3, 0.0, 0.2]
    seed = np.mean([(one[0] - one[1]) ** 2 / 2 for one in values.T])
    lesions = np.mean([np.var(one, ddof=1) for one in replicates])
    between = np.var(values.mean(axis=0), ddof=1)
    found = spread(SeedFoldValues(values, replicates))
    assert found.seed**2 == pytest.approx(seed)
    assert found.lesions**2 == pytest.approx(lesions)
    assert found.between**2 == pytest.approx(between)
    assert found.training**2 == pytest.approx(between - lesions - seed / 2)
    assert found.training > 0
