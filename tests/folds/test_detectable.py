"""The smallest detectable difference, against simulated methods judged by the bench's interval."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from scipy.stats import f_oneway
from statsmodels.stats.power import NormalIndPower

from bench.dataset import Dataset, Record
from bench.folds.kinds import freeze
from bench.folds.power import Assumptions, detectable, detectable_markdown, detectable_table
from bench.intraclass import design_effect, intra_class_correlation
from bench.score.verdicts import difference_interval
from tests.folds.cohorts import protocol_of, random_manifest, small_split


@pytest.mark.parametrize("seed", range(10))
def test_the_intra_class_correlation_is_that_of_the_analysis_of_variance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 8, 40)
    groups = np.repeat(np.arange(40), sizes)
    values = rng.normal(size=40)[groups] + rng.normal(size=len(groups))
    f = f_oneway(*(values[groups == group] for group in range(40))).statistic
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / 39
    found = intra_class_correlation(values, groups)
    assert found == pytest.approx((f - 1) / (f - 1 + size))


def test_groups_of_one_class_correlate_by_one_and_singles_not_at_all() -> None:
    groups = np.repeat(np.arange(10), 3)
    assert intra_class_correlation((groups % 2).astype(float), groups) == pytest.approx(1)
    assert isnan(intra_class_correlation(np.arange(10.0), np.arange(10)))
    assert isnan(intra_class_correlation(np.ones(30), groups))
    assert design_effect(np.full(10, 3), 0.5) == pytest.approx(2)
    assert design_effect(np.ones(10), 0.5) == pytest.approx(1)


def test_without_groups_it_is_the_textbooks_paired_difference() -> None:
    """Of n differences with a variance of disagreement - delta^2 (statsmodels)."""
    assumed = Assumptions(disagreement=0.3, correlation=0.7)
    delta = detectable(np.ones(400), assumed)
    spread = np.sqrt(assumed.disagreement - delta**2)
    power = NormalIndPower(ddof=0).power(delta / spread, 400, 0.05, ratio=0)
    assert power == pytest.approx(0.8, abs=0.002)


def simulated_power(sizes: np.ndarray, delta: float, assumed: Assumptions, rng) -> float:
    """How often the paired percentile interval over resampled groups excludes 0."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    shares = [(assumed.disagreement - delta) / 2, 1 - assumed.disagreement]
    edges = np.cumsum(shares)
    found, rounds, resamples = 0, 400, 400
    for _ in range(rounds):
        shared = rng.random(len(sizes))[groups]
        own = rng.random(len(groups))
        follows = rng.random(len(groups)) < np.sqrt(assumed.correlation)
        d = np.digitize(np.where(follows, shared, own), edges) - 1
        sums = np.bincount(groups, d)
        picks = rng.integers(len(sizes), size=(resamples, len(sizes)))
        means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
        low, high = difference_interval(means, np.zeros(resamples), assumed.level)
        found += low > 0 or high < 0
    return found / rounds


@pytest.mark.parametrize(
    ("correlation", "disagreement", "biggest"), [(0.0, 0.2, 1), (0.3, 0.2, 6), (0.8, 0.4, 3)]
)
def test_simulated_methods_are_told_apart_as_often_as_said(
    correlation: float, disagreement: float, biggest: int
) -> None:
    """80% (within simulation error of 2% and some of the approximation) at the difference named,
    and about 5% where there is none."""
    rng = np.random.default_rng(int(100 * correlation))
    sizes = rng.integers(1, biggest + 1, 250)
    assumed = Assumptions(disagreement=disagreement, correlation=correlation)
    delta = detectable(sizes, assumed)
    assert simulated_power(sizes, delta, assumed, rng) == pytest.approx(0.8, abs=0.06)
    assert simulated_power(sizes, 0.0, assumed, rng) < 0.09


def test_few_images_need_differences_that_all_go_one_way() -> None:
    small = detectable(np.ones(5), Assumptions(disagreement=0.1))
    assert 0.1 < small < 1
    assert isnan(detectable(np.array([], dtype=int), Assumptions()))


@pytest.mark.parametrize("seed", range(5))
def test_more_images_power_and_likeness_move_it_the_right_way(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 6, 200)
    usual = detectable(sizes, Assumptions())
    assert detectable(np.tile(sizes, 4), Assumptions()) == pytest.approx(usual / 2, rel=0.05)
    assert detectable(sizes, Assumptions(power=0.9)) > usual
    assert detectable(sizes, Assumptions(correlation=0.6)) > usual
    assert detectable(sizes, Assumptions(disagreement=0.1)) < usual


def test_the_table_counts_what_is_tested_once() -> None:
    manifest = random_manifest(0)
    for changes in ({}, {"repeats": 2}, {"kind": "holdout", "folds": 1, "test": 0.3}):
        protocol = protocol_of(small_split(**changes))
        roles = freeze(manifest, protocol.split)
        table = detectable_table(roles, manifest, protocol, Assumptions()).set_index("class")
        tested = roles.rows(0, "test") if "kind" in changes else np.arange(len(manifest))
        for code, name in enumerate(manifest.classes):
            own = tested[manifest.labels[tested] == code]
            assert table["images"][name] == len(own)
            assert table["groups"][name] == len(set(roles.group_ids[own]))
        assert table["images"]["all"] == len(tested)
        text = detectable_markdown(table.reset_index(), Assumptions())
        assert "(few groups)" in text
        assert "n/a" in text


def test_a_class_that_nobody_has_is_no_row() -> None:
    records = [Record(f"I{at}", "nv", f"L{at // 2}") for at in range(40)]
    manifest = Dataset.from_records("one", ("mel", "nv"), records)
    protocol = protocol_of(small_split())
    table = detectable_table(freeze(manifest, protocol.split), manifest, protocol, Assumptions())
    assert table["class"].tolist() == ["nv", "all"]
