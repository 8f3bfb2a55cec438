"""Comparisons against the formula written out, baycomp and statsmodels."""

from __future__ import annotations

import math
from itertools import combinations

import baycomp
import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from bench.score.significance import (
    Contender,
    compare_rows,
    difference_interval,
    holm,
    nadeau_bengio,
    verdict,
)

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


@pytest.mark.parametrize(
    ("low", "high", "p", "higher", "word"),
    [
        (0.01, 0.05, 0.01, True, "better"),
        (-0.05, -0.01, 0.01, True, "worse"),
        (0.01, 0.05, 0.01, False, "worse"),
        (-0.05, -0.01, 0.01, False, "better"),
        (0.01, 0.05, 0.20, True, "not settled"),
        (-0.01, 0.05, 0.01, True, "not settled"),
        (-0.01, 0.05, 0.20, True, "no difference seen"),
        (0.01, 0.05, NAN, True, "not settled"),
        (NAN, NAN, 1.0, True, "no difference seen"),
        (0.0, 0.05, 0.05, True, "no difference seen"),
        (-0.05, 0.0, 0.01, True, "not settled"),
    ],
)
def test_better_needs_both_the_interval_and_the_test(low, high, p, higher, word):
    assert verdict(low, high, p, 0.95, higher=higher) == word


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


def test_identical_rows_have_no_interval_and_no_difference():
    replicates = np.random.default_rng(1).normal(size=50)
    folds = np.array([0.4, 0.5, 0.6])
    rows = [Contender(name, 0.5, replicates, folds) for name in "ab"]
    (only,) = compare_rows(rows, "macro_f1", 0.95, 0.25)
    assert math.isnan(only.low)
    assert only.difference == 0
    assert only.p == only.p_adjusted == 1
    assert only.verdict == "no difference seen"


def test_all_pairs_are_compared_and_adjusted_together():
    rng = np.random.default_rng(3)
    rows = [
        Contender(name, level, rng.normal(level, 0.01, 500), level + rng.normal(0, 0.01, 5))
        for name, level in (("a", 0.8), ("b", 0.79), ("c", 0.5))
    ]
    found = compare_rows(rows, "macro_f1", 0.95, 0.286)
    assert [(one.a, one.b) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.p_adjusted for one in found] == pytest.approx(holm([one.p for one in found]))
    assert [one.verdict for one in found[1:]] == ["better", "better"]


def test_p_is_adjusted_over_the_pairs_of_further_rows_too():
    rng = np.random.default_rng(0)
    shift = np.array([[0.06], [0], [0.03], [0.01]])
    a, b, c, d = 0.6 + rng.normal(0, 0.02, (4, 5)) + shift
    rows = [
        Contender(name, folds.mean(), rng.normal(folds.mean(), 0.01, 200), folds)
        for name, folds in (("a", a), ("b", b))
    ]
    (one,) = compare_rows(rows, "macro_f1", 0.95, 0.25, [c, d])
    every = [nadeau_bengio(x - y, 0.25) for x, y in combinations((a, b, c, d), 2)]
    theirs = multipletests(every, method="holm")[1]
    assert one.p == pytest.approx(every[0])
    assert one.p_adjusted == pytest.approx(theirs[0])
    assert one.p_adjusted > one.p


def test_for_a_loss_lower_is_better():
    rng = np.random.default_rng(3)
    rows = [
        Contender(name, level, rng.normal(level, 0.01, 500), level + rng.normal(0, 0.01, 5))
        for name, level in (("a", 0.5), ("b", 0.9))
    ]
    (only,) = compare_rows(rows, "log_loss", 0.95, 0.286)
    assert only.difference < 0
    assert only.verdict == "better"
