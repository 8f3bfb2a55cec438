"""Calibration's parts that no library has: bins of equal mass, losses, curves, groups by class."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as oracle
from sklearn.calibration import calibration_curve

from bench.protocol import Interval
from bench.score.bootstrap import DrawnOnce
from bench.score.calibration import BINS, calibration, equal_mass_bins
from tests.score.cohorts import make_run

LABELS = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def run():
    return make_run(images=600, groups=200)


@pytest.fixture(scope="module")
def found(run):
    plan = DrawnOnce(run.groups, 100, 5)
    return calibration([run], LABELS, [], plan, Interval(resamples=100), tempered=False)


def test_ece_of_equal_mass_is_over_fifteen_bins_of_forty_images(run, found):
    top, right = run.probs.max(axis=1), run.predicted == run.truth
    bins = (scipy.stats.rankdata(top) - 1) // 40
    assert equal_mass_bins(top).tolist() == bins.tolist()
    expected = sum(abs((top - right)[bins == b].sum()) for b in range(15)) / 600
    assert found.metrics["ece_equal_mass"].value == pytest.approx(expected, abs=1e-12)


def test_equal_probabilities_share_a_bin_of_equal_mass_that_holds_its_upper_edge():
    top = np.repeat([0.2, 0.4, 0.6], [300, 150, 150])  # cuts: 7 at 0.2, 4 at 0.4, 3 at 0.6
    assert equal_mass_bins(top).tolist() == np.repeat([0, 7, 11], [300, 150, 150]).tolist()


def test_log_loss_is_scikit_learns(run, found):
    theirs = oracle.log_loss(run.truth, run.probs, labels=range(4))
    assert found.metrics["log_loss"].value == pytest.approx(theirs, abs=1e-12)


def test_the_reliability_of_the_top_label_is_scikit_learns(run, found):
    top, right = run.probs.max(axis=1), run.predicted == run.truth
    shares, means = calibration_curve(right, top, n_bins=BINS)
    assert [point.x for point in found.reliability] == pytest.approx(means.tolist())
    assert [point.y for point in found.reliability] == pytest.approx(shares.tolist())


def test_a_class_is_marked_by_its_own_groups(run, found):
    groups = [len(np.unique(run.group[run.truth == code])) for code in range(4)]
    few = ["few groups" in found.by_class[label].marks for label in LABELS]
    assert few == [count < 50 for count in groups]
    assert len(set(few)) == 2
    assert found.metrics["ece"].marks == ("biased",)
