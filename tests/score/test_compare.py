"""Comparisons against the formula written out, baycomp and statsmodels."""

from __future__ import annotations

import math

import baycomp
import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from bench.score.significance import holm, nadeau_bengio
from bench.score.verdicts import difference_interval

NAN = float("nan")


@pytest.mark.parametrize("count", [2, 5, 25])
@pytest.mark.parametrize("ratio", [0.2, 0.286, 1.0])
def test_nadeau_bengio_is_its_formula(count, ratio):
    differences = np.random.default_rng(count).normal(0.02, 0.03, count)
    mean = sum(differences) / count
    variance = sum((one - mean) ** 2 for one in differences) / (count - 1)
    statistic = mean / math.sqrt((1 / count + ratio) * variance)
    two_sided = 2 * scipy.stats.t.sf(abs(statistic), count - 1)
    assert nadeau_bengio(differences, ratio) == pytest.approx(two_sided, rel=1e-12)


def test_without_correction_it_is_the_paired_t_test():
    a, b = np.random.default_rng(0).normal(size=(2, 10))
    assert nadeau_bengio(a - b, 0.0) == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)


@pytest.mark.parametrize("repeats", [1, 5])
def test_nadeau_bengio_equals_baycomps_correlated_t(repeats):
    """K folds have a test/train ratio of 1/(k-1); the flat prior's posterior is the same t."""
    a, b = np.random.default_rng(repeats).normal(0.7, 0.02, (2, 5 * repeats))
    left, right = baycomp.CorrelatedTTest.probs(a, b, runs=repeats)
    assert nadeau_bengio(a - b, 1 / 4) == pytest.approx(2 * min(left, right), rel=1e-9)


def test_the_test_is_undefined_for_one_fold_or_an_undefined_fold():
    assert math.isnan(nadeau_bengio(np.array([0.1]), 0.25))
    assert math.isnan(nadeau_bengio(np.array([0.1, NAN, 0.2]), 0.25))
    assert math.isnan(nadeau_bengio(np.array([0.1, 0.2]), NAN))


def test_equal_folds_have_a_p_value_without_a_division_by_zero():
    assert nadeau_bengio(np.zeros(5), 0.25) == 1
    assert nadeau_bengio(np.full(4, 0.5), 0.25) == 0


@pytest.mark.parametrize("seed", range(0, 20, 3))
def test_holm_equals_statsmodels(seed):
    p_values = np.random.default_rng(seed).uniform(size=seed + 1) ** 3
    theirs = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(theirs), abs=1e-12)


def test_holm_leaves_out_what_is_undefined():
    adjusted = holm([0.01, NAN, 0.04])
    assert adjusted[0] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.04)
    assert holm([]) == []


def test_the_interval_of_a_difference_is_paired():
    """Rows that move together have a narrow difference, however wide each is alone."""
    shared = np.random.default_rng(1).normal(0.5, 0.1, 4000)
    noise = np.random.default_rng(2).normal(0.02, 0.001, 4000)
    low, high = difference_interval(shared + noise, shared, 0.95)
    assert low == pytest.approx(0.02 - 1.96 * 0.001, abs=3e-4)
    assert high == pytest.approx(0.02 + 1.96 * 0.001, abs=3e-4)


def test_undefined_resamples_are_left_out_of_a_difference():
    replicates = np.concatenate([np.linspace(0, 1, 100), np.full(50, NAN)])
    assert difference_interval(replicates, np.zeros(150), 0.95) == pytest.approx((0.025, 0.975))
    assert np.isnan(difference_interval(np.full(9, NAN), np.zeros(9), 0.95)).all()
