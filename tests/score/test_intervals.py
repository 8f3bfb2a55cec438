"""Intervals against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from bench.protocol import Interval
from bench.score.bootstrap import (
    acceleration,
    all_agree,
    bca,
    bca_levels,
    clopper_pearson,
    percentile,
    quantiles,
)
from bench.score.row import imprecise, interval_of
from tests.score.cohorts import drawn_weights

LEVEL = 0.95


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_clopper_pearson_equals_statsmodels(level):
    for count in (1, 2, 7, 73, 400):
        for hits in {0, 1, count // 2, count - 1, count}:
            theirs = proportion_confint(hits, count, alpha=1 - level, method="beta")
            assert clopper_pearson(hits, count, level) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("size", [1, 2, 99, 1000])
def test_quantiles_equal_numpy(size):
    replicates = np.sort(np.random.default_rng(size).normal(size=size))
    for shares in ([0.025, 0.975], [0.0, 1.0], [0.31, 0.32]):
        theirs = np.quantile(replicates, shares)
        assert quantiles(replicates, np.array(shares)) == pytest.approx(tuple(theirs), abs=1e-14)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bca_equals_scipy_on_one_image_groups(level):
    """The same resamples given to scipy: it jackknifes, we take influence values."""
    rng = np.random.default_rng(4)
    values = rng.exponential(size=300)
    weights = drawn_weights(300, 2000, seed=2)
    replicates = (values[:, None] * weights).sum(axis=0) / 300
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=0,
        confidence_level=level,
        method="BCa",
        bootstrap_result=scipy.stats._resampling.BootstrapResult(None, replicates, None),
    ).confidence_interval
    ours = bca(replicates, values.mean(), acceleration(values - values.mean()), level)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_bca_without_bias_and_acceleration_is_the_percentile_interval():
    replicates = np.linspace(-1, 1, 4001)
    assert bca(replicates, 0.0, 0.0, LEVEL) == pytest.approx(
        percentile(replicates, LEVEL), abs=1e-9
    )


def test_bca_moves_against_the_bias():
    replicates = np.linspace(-1, 1, 4001)
    low, high = percentile(replicates, LEVEL)
    moved = bca(replicates, 0.3, 0.0, LEVEL)
    assert moved[0] > low
    assert moved[1] > high


def test_resamples_equal_to_the_estimate_count_half():
    replicates = np.repeat([0.0, 0.5, 1.0], 1000)
    assert bca(replicates, 0.5, 0.0, LEVEL) == pytest.approx(percentile(replicates, LEVEL))


def test_bca_is_refused_where_it_is_not_defined():
    replicates = np.linspace(0, 1, 100)
    assert bca(replicates, 1.5, 0.0, LEVEL) is None
    assert bca(replicates, 0.5, 1.0, LEVEL) is None
    assert bca(replicates, 0.5, float("nan"), LEVEL) is None


def test_where_all_resamples_agree_a_proportion_gets_clopper_pearson_on_groups():
    never = np.zeros(500)
    low, high, method = interval_of("recall", 0.0, never, 0.0, 73, Interval())
    assert method == "clopper-pearson"
    assert (low, high) == pytest.approx((0, 1 - 0.025 ** (1 / 73)))
    low, high, method = interval_of("precision", 1.0, never + 1, 0.0, 73, Interval())
    assert (low, high) == pytest.approx((0.025 ** (1 / 73), 1))


@pytest.mark.parametrize(
    "metric",
    [
        "accuracy",
        "top2_accuracy",
        "recall",
        "sensitivity",
        "specificity",
        "precision",
        "npv",
        "sens_at_spec_90",
    ],
)
def test_every_share_of_images_gets_clopper_pearson_where_all_resamples_agree(metric):
    *ends, method = interval_of(metric, 1.0, np.ones(500), 0.0, 73, Interval())
    assert ends == pytest.approx(proportion_confint(73, 73, method="beta"))
    assert method == "clopper-pearson"


@pytest.mark.parametrize(("metric", "value"), [("f1", 0.0), ("macro_f1", 1.0), ("recall", 0.4)])
def test_where_all_resamples_agree_on_anything_else_there_is_no_interval(metric, value):
    low, high, method = interval_of(metric, value, np.full(9, value), 0.0, 73, Interval())
    assert np.isnan([low, high]).all()
    assert method == ""


def test_undefined_resamples_are_left_out_and_an_undefined_value_has_no_interval():
    replicates = np.concatenate([np.linspace(0, 1, 100), np.full(50, np.nan)])
    low, high, method = interval_of("f1", 0.5, replicates, 0.0, 73, Interval())
    assert (low, high) == pytest.approx((0.025, 0.975))
    assert method == "bca"
    assert interval_of("f1", np.nan, replicates, 0.0, 73, Interval())[2] == ""
    assert interval_of("f1", 0.5, np.full(9, np.nan), 0.0, 73, Interval())[2] == ""


@pytest.mark.parametrize(
    "metric", ["ece_equal_mass", "classwise_ece", "brier_reliability", "brier_resolution"]
)
def test_what_resampling_moves_is_percentile(metric):
    replicates = np.linspace(0, 1, 100)
    assert interval_of(metric, 0.4, replicates, 0.0, 73, Interval())[2] == "percentile"
    assert interval_of("brier", 0.4, replicates, 0.0, 73, Interval())[2] == "bca"


def test_everything_is_percentile_when_the_protocol_says_so():
    replicates = np.linspace(0, 1, 100)
    asked = Interval(method="percentile")
    assert interval_of("f1", 0.4, replicates, 0.0, 73, asked)[2] == "percentile"
    outside = interval_of("f1", 1.4, replicates, 0.0, 73, Interval())
    assert outside[2] == "percentile"


def test_rounding_is_no_disagreement():
    assert all_agree(np.array([0.1 + 0.2, 0.3]))
    assert not all_agree(np.array([0.3, 0.3001]))


def test_ece_gets_the_bias_corrected_interval():
    replicates = np.random.default_rng(0).normal(0.16, 0.01, 2000)
    low, high, method = interval_of("ece", 0.15, replicates, 0.0, 73, Interval())
    bias = replicates.mean() - 0.15
    ends = np.quantile(replicates, [0.025, 0.975]) - 2 * bias
    assert (low, high) == pytest.approx(tuple(ends))
    assert method == "bias-corrected"
    assert interval_of("ece", 0.001, replicates, 0.0, 73, Interval())[0] == 0


@pytest.mark.parametrize(("acceleration", "marks"), [(0.0, ()), (0.25, ("imprecise",))])
def test_an_end_beyond_the_outermost_thousandth_is_marked_imprecise(acceleration, marks):
    replicates = np.linspace(0, 1, 1001)
    levels = bca_levels(replicates, 0.5, acceleration, 0.95)
    assert (levels[0] < 0.001 or levels[1] > 0.999) == bool(marks)
    assert imprecise("bca", 0.5, replicates, acceleration, Interval()) == marks
    assert imprecise("percentile", 0.5, replicates, acceleration, Interval()) == ()
