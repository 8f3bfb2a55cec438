"""Influence values against finite differences and an explicit leave-one-group-out jackknife."""

from __future__ import annotations

import numpy as np
import pytest

from bench.score.bootstrap import acceleration, accelerations, influences, point_sums, sort_scores
from bench.score.metrics import BIASED, keys
from tests.score.cohorts import make_run, weighted


def analytic(run):
    sums = point_sums(sort_scores(run), run.groups)
    return dict(influences([run], [sums]))


def jackknife(run):
    """Every metric with each group left out in turn: key -> (G,)."""
    rows = []
    for group in range(run.groups):
        weights = np.ones(run.groups, dtype=int)
        weights[group] = 0
        rows.append(weighted(run, weights))
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "ties"])
def test_influence_is_the_derivative_by_a_groups_weight(decimals):
    run = make_run(seed=1, decimals=decimals)
    found = analytic(run)
    base = 100
    for group in range(0, run.groups, 11):
        weights = np.full(run.groups, base)
        weights[group] += 1
        above = weighted(run, weights)
        weights[group] -= 2
        below = weighted(run, weights)
        for key, pull in found.items():
            if key[0] not in BIASED:
                slope = (above[key] - below[key]) * base / 2
                assert pull[group] == pytest.approx(slope, abs=2e-6), key


def test_influences_sum_to_zero():
    """A metric is the same when every weight is doubled (Euler's theorem)."""
    for (metric, _), pull in analytic(make_run(seed=2)).items():
        if metric not in BIASED:
            assert abs(pull.sum()) < 1e-12


def test_acceleration_equals_the_leave_one_group_out_jackknife():
    run = make_run(seed=3, images=900, groups=400)
    sums = point_sums(sort_scores(run), run.groups)
    ours = dict(zip(keys(run.classes), accelerations([run], [sums]), strict=True))
    for key, left_out in jackknife(run).items():
        if key[0] in BIASED:
            assert np.isnan(ours[key])
            continue
        pull = left_out.mean() - left_out
        explicit = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
        assert ours[key] == pytest.approx(explicit, abs=0.002), key


def test_acceleration_of_a_mean_is_its_skewness_over_six_root_n():
    rng = np.random.default_rng(0)
    replicates = rng.exponential(size=500)
    centred = replicates - replicates.mean()
    skewness = (centred**3).mean() / (centred**2).mean() ** 1.5
    assert acceleration(centred) == pytest.approx(skewness / (6 * np.sqrt(500)))


def test_groups_that_do_not_pull_give_no_acceleration():
    assert acceleration(np.zeros(10)) == 0
    assert np.isnan(acceleration(np.full(3, np.nan)))


def test_the_influence_on_a_mean_over_runs_is_the_mean_of_influences():
    runs = [make_run(seed=seed) for seed in (1, 2)]
    sums = [point_sums(sort_scores(run), run.groups) for run in runs]
    both = dict(influences(runs, sums))
    first, second = (analytic(run) for run in runs)
    for key, pull in both.items():
        mean = (first[key] + second[key]) / 2
        assert np.allclose(pull, mean, rtol=0, atol=1e-14, equal_nan=True)
