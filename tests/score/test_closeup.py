"""A closer look put together: which runs, resamples and names its parts are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as oracle

from bench.score.derived_rows import temperatures, tempered
from bench.score.join import build_cohort, join
from bench.score.row_report import row_reports
from tests.score.cohorts import World


@pytest.fixture(scope="module")
def world():
    world = World(lesions=120, resamples=100)
    world.dataset = replace(world.dataset, malignant=("mel",))
    return world


@pytest.fixture(scope="module")
def row(world):
    return world.row("a", skill=1.2)


@pytest.fixture(scope="module")
def found(world, row):
    return reporter(world, row)


def reporter(world, row):
    return row_reports(world.protocol, world.dataset, world.roles, [row])[row.name]


@pytest.fixture(scope="module")
def run(world, row):
    return join(row, list(row.test), build_cohort(world.protocol, world.dataset, world.roles))


def test_malignant_and_benign_stand_under_their_names(run, found):
    malignant, predicted = run.truth == 1, run.probs[:, 1] > 0.5
    table = found.malignant.per_class
    recall = oracle.recall_score(malignant, predicted)
    assert table["malignant"]["recall"].value == pytest.approx(recall)
    assert table["benign"]["recall"].value == pytest.approx(
        oracle.recall_score(~malignant, ~predicted)
    )
    assert table["malignant"]["support"].value == malignant.sum()


def test_what_is_tempered_is_of_tempered_probabilities(run, found):
    plain, calibrated = found.calibration
    heated = tempered(run, temperatures(run))
    assert (plain.tempered, calibrated.tempered) == (False, True)
    for one, probs in ((plain, run.probs), (calibrated, heated.probs)):
        loss = oracle.log_loss(run.truth, probs, labels=range(4))
        assert one.metrics["log_loss"].value == pytest.approx(loss)
    assert found.temperature == pytest.approx(temperatures(run).tolist())
    assert [point.y for point in found.decision.tempered] != [
        point.y for point in found.decision.model
    ]


def test_its_resamples_are_the_leaderboards_own(world, row, found):
    board = world.score(row).rows[0].table.metrics["ece"]
    own = found.calibration[0].metrics["ece"]
    assert found.resamples == 100
    assert (own.low, own.high) == pytest.approx((board.low, board.high))


def test_without_the_val_of_one_seed_nothing_is_tempered():
    world = World(seeds=(0, 1), resamples=64)
    world.dataset = replace(world.dataset, malignant=("mel",))
    row = world.row("a", seeds=(0, 1))
    for seed in (0, 1):
        half = replace(
            row, val={training: one for training, one in row.val.items() if training.seed == seed}
        )
        found = reporter(world, half)
        assert found.temperature == ()
        assert [one.tempered for one in found.calibration] == [False]
        assert found.decision.tempered == ()
        assert found.operating == ()
    assert np.isfinite(reporter(world, row).temperature).all()
