"""Disagreements against statsmodels, all sign flips written out, and the definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from bench.intraclass import design_effect, pair_correlation
from bench.score.comparison import sign_flip


@pytest.mark.parametrize("seed", range(10))
def test_the_sign_flip_of_single_images_is_mcnemars_exact_test(seed):
    differences = np.random.default_rng(seed).choice([-1, 0, 1], 60, p=[0.3, 0.5, 0.2])
    only_a, only_b = int((differences > 0).sum()), int((differences < 0).sum())
    theirs = mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue
    assert sign_flip(differences) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_the_sign_flip_is_the_share_of_all_flips(seed):
    differences = np.random.default_rng(seed).integers(-4, 5, 10)
    flips = np.array(list(itertools.product([-1, 1], repeat=10))) @ differences
    share = (np.abs(flips) >= abs(differences.sum())).mean()
    assert sign_flip(differences) == pytest.approx(share, rel=1e-9)


def test_no_difference_is_no_evidence():
    assert sign_flip(np.zeros(5, dtype=int)) == 1
    assert sign_flip(np.array([3, -3])) == 1


def test_copies_of_images_do_not_make_groups_more_certain():
    """McNemar's test would, on fourfold images; groups stay as many as they are."""
    differences = np.random.default_rng(1).choice([-1, 1], 40, p=[0.3, 0.7])
    assert sign_flip(4 * differences) == pytest.approx(sign_flip(differences))


@pytest.mark.parametrize("seed", range(5))
def test_the_design_effect_by_pairs_is_what_grouping_did_to_the_variance(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, 150)
    values = rng.normal(size=40)[groups] + rng.normal(size=150)
    apart = values - values.mean()
    sums = np.array([apart[groups == group].sum() for group in np.unique(groups)])
    observed = (sums**2).sum() / (apart**2).sum()
    sizes = np.unique(groups, return_counts=True)[1]
    assert design_effect(sizes, pair_correlation(values, groups)) == pytest.approx(observed)


def test_the_correlation_by_pairs_is_the_mean_over_pairs():
    values = np.array([1.0, 0.0, 1.0, 1.0, -1.0, 0.0])
    groups = np.array([0, 0, 1, 1, 1, 2])
    apart = values - values.mean()
    pairs = [(0, 1), (2, 3), (2, 4), (3, 4)]
    mean = np.mean([apart[i] * apart[j] for i, j in pairs])
    assert pair_correlation(values, groups) == pytest.approx(mean / apart.var())
    assert np.isnan(pair_correlation(np.ones(6), groups))
    assert np.isnan(pair_correlation(values, np.arange(6)))
