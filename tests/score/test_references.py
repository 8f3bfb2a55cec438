"""Rows that have learned nothing but the labels' shares."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import RolesError
from bench.predictions import TrainingKey
from bench.score.leaderboard import score
from bench.score.reference_rows import references
from tests.score.cohorts import make_dataset, make_protocol, make_roles


@pytest.fixture
def world():
    protocol = make_protocol(repeats=2)
    dataset = make_dataset()
    return protocol, dataset, make_roles(dataset, protocol)


def test_there_are_three_and_each_is_complete(world):
    rows = references(*world, seeds=[0, 3])
    assert [row.name for row in rows] == ["majority", "prior", "uniform"]
    for row in rows:
        assert row.kind == "reference"
        assert set(row.test) == {
            TrainingKey(seed, repeat, fold)
            for seed in (0, 3)
            for repeat in (0, 1)
            for fold in range(3)
        }
    assert all(row.complete for row in score(*world, references(*world, seeds=[0]), {}).rows)


def test_prior_gives_the_training_parts_class_shares(world):
    _, dataset, roles = world
    prior = references(*world, seeds=[0])[1]
    for training, predictions in prior.test.items():
        train = roles.rows(training.repeat * 3 + training.fold, "train")
        shares = np.bincount(dataset.labels[train], minlength=4) / len(train)
        assert np.array_equal(predictions.probs, np.tile(shares, (len(predictions), 1)))


def test_majority_is_the_training_parts_most_frequent_class(world):
    _, dataset, roles = world
    few = (dataset.labels != 2) & (np.arange(len(dataset)) % 5 == 0)
    roles.parts[few & (roles.parts[:, 4] == 1), 4] = 0
    majority = references(*world, seeds=[0])[0]
    assert (majority.test[TrainingKey(0, 1, 1)].probs == np.eye(4)[2]).all()


def test_uniform_draws_every_class_alike_from_its_seed(world):
    uniform, again = (references(*world, seeds=[0, 1])[2] for _ in range(2))
    first, second = (
        np.concatenate(
            [one.probs for training, one in uniform.test.items() if training.seed == seed]
        )
        for seed in (0, 1)
    )
    assert np.array_equal(
        uniform.test[TrainingKey(1, 1, 2)].probs, again.test[TrainingKey(1, 1, 2)].probs
    )
    assert not np.array_equal(first, second)
    assert set(first.ravel()) == {0, 1}
    shares = np.concatenate([first, second]).mean(axis=0)
    assert np.abs(shares - 0.25).max() < 0.06


def test_uniform_draws_anew_in_every_fold(world):
    uniform = references(*world, seeds=[0])[2]
    replicates = [one.probs[:40].argmax(axis=1).tolist() for one in uniform.test.values()]
    assert len({tuple(each) for each in replicates}) == len(replicates)


def test_a_fold_without_training_images_is_refused(world):
    world[2].parts[world[2].parts[:, 2] == 1, 2] = 0
    with pytest.raises(RolesError, match="fold column 2 has no training images"):
        references(*world, seeds=[0])
