"""Effect sizes and tests against scipy and statsmodels, and against what groups do to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bench.score import association
from bench.score.association import adjusted, associate, cramers_v, epsilon_squared, middle_ranks


def test_cramers_v_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(100):
        table = rng.integers(1, 30, rng.integers(2, 7, 2))
        assert cramers_v(table) == pytest.approx(stats.contingency.association(table, "cramer"))


def of_table(table: np.ndarray) -> float:
    """Epsilon squared of counts (R classes, C ordered values)."""
    by_value = table.sum(axis=0)
    return epsilon_squared(by_value, table.sum(axis=1), table @ middle_ranks(by_value))


def test_epsilon_squared_is_kruskal_wallis_h_over_n_less_one():
    rng = np.random.default_rng(1)
    for _ in range(100):
        values, label = rng.integers(0, 12, 80), rng.integers(0, 4, 80)
        h = stats.kruskal(*(values[label == one] for one in range(4))).statistic
        table = np.zeros((4, 12))
        np.add.at(table, (label, values), 1)
        assert of_table(table) == pytest.approx(h / 79)


def test_one_category_has_no_size():
    assert np.isnan(cramers_v(np.array([[3, 4]])))
    assert np.isnan(of_table(np.array([[3.0], [4.0]])))
    rng = np.random.default_rng(0)
    made = associate("x", pd.Series([None] * 4), np.array([0, 1, 0, 1]), np.arange(4), rng)
    assert np.isnan(made.estimate.value)
    assert made.estimate.n == 0


def test_p_of_single_images_is_close_to_chi_squared_and_kruskal(monkeypatch):
    monkeypatch.setattr(association, "RESAMPLES", 20)
    rng = np.random.default_rng(2)
    label = rng.integers(0, 3, 400)
    word = pd.Series(np.where(rng.random(400) < 0.5 + 0.07 * label, "a", "b"))
    number = pd.Series(rng.normal(0.12 * label, 1))
    alone = np.arange(400)
    chi = stats.chi2_contingency(pd.crosstab(word, label), correction=False).pvalue
    h = stats.kruskal(*(number[label == one] for one in range(3))).pvalue
    assert associate("w", word, label, alone, rng).p == pytest.approx(chi, abs=0.04)
    assert associate("n", number, label, alone, rng).p == pytest.approx(h, abs=0.04)


def test_an_association_beyond_all_trades_has_the_least_p_there_is(monkeypatch):
    monkeypatch.setattr(association, "RESAMPLES", 2)
    monkeypatch.setattr(association, "TRADES", 99)
    label = np.repeat([0, 1], 50)
    word = pd.Series(np.where(label == 0, "a", "b"))
    made = associate("x", word, label, np.arange(100), np.random.default_rng(0))
    assert made.p == pytest.approx(0.01)


def test_groups_that_cannot_trade_prove_nothing(monkeypatch):
    monkeypatch.setattr(association, "RESAMPLES", 2)
    monkeypatch.setattr(association, "TRADES", 9)
    group = np.repeat(np.arange(3), [1, 2, 3])
    word = pd.Series(np.array(["a", "b", "a"])[group])
    made = associate("x", word, np.array([0, 1, 0])[group], group, np.random.default_rng(0))
    assert made.estimate.value == pytest.approx(1)
    assert made.p == 1
    assert made.chance == pytest.approx(1)


def test_chance_is_the_mean_size_under_trades(monkeypatch):
    """Of the six ways to label two and two images, two give V = 1, four V = 0."""
    monkeypatch.setattr(association, "RESAMPLES", 2)
    label, word = np.array([0, 0, 1, 1]), pd.Series(["a", "a", "b", "b"])
    made = associate("x", word, label, np.arange(4), np.random.default_rng(0))
    assert made.chance == pytest.approx(1 / 3, abs=0.05)
    assert made.p == pytest.approx(1 / 3, abs=0.05)


def test_whole_groups_trade_in_whatever_order_their_images_stand():
    label = np.repeat(np.random.default_rng(0).integers(0, 3, 30), 4)
    group = np.repeat(np.arange(30), 4)
    mixed = np.random.default_rng(1).permutation(120)
    order, trades = association._trades(label[mixed], group[mixed], np.random.default_rng(2), 20)
    for traded in trades:
        labels = pd.Series(traded).groupby(group[mixed][order]).agg(set)
        assert (labels.str.len() == 1).all()
        assert sorted(traded) == sorted(label)


def test_a_weighted_size_is_that_of_images_written_out():
    rng = np.random.default_rng(0)
    code, label = rng.integers(0, 6, 40), rng.integers(0, 3, 40)
    weights = rng.integers(0, 3, 40)
    copies = np.repeat(np.arange(40), weights)
    for kind in (association._Numbers, association._Words):
        once, written = kind.of(code, 3), kind.of(code[copies], 3)
        size = once.size(once.lines(label), weights.astype(float))
        assert size == pytest.approx(written.size(written.lines(label[copies])))


def test_the_interval_is_the_bias_corrected_percentile_of_the_groups_drawn(monkeypatch):
    """Efron (1981): the quantiles at Phi(2 z0 +- 1.96), z0 that of the share below the value."""
    monkeypatch.setattr(association, "RESAMPLES", 400)
    monkeypatch.setattr(association, "TRADES", 2)
    value, label, group = grouped(3)
    found = associate("x", value, label, group, np.random.default_rng(5)).estimate
    code = np.unique(value, return_inverse=True)[1]
    rng = np.random.default_rng(5)
    replicates = []
    for _ in range(400):
        times = np.bincount(rng.integers(60, size=60), minlength=60)
        table = np.zeros((3, 3), dtype=int)
        np.add.at(table, (label, code), times[group])
        replicates.append(stats.contingency.association(table, "cramer"))
    z0 = stats.norm.ppf(np.mean(np.array(replicates) < found.value))
    assert abs(z0) > 0.3
    ends = np.quantile(replicates, stats.norm.cdf(2 * z0 + stats.norm.ppf([0.025, 0.975])))
    assert (found.low, found.high) == pytest.approx(tuple(ends))


def grouped(seed: int) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Four images a group that agree in a value which has nothing to do with their label."""
    rng = np.random.default_rng(seed)
    value, label = rng.choice(["a", "b", "c"], 60), rng.integers(0, 3, 60)
    return pd.Series(np.repeat(value, 4)), np.repeat(label, 4), np.repeat(np.arange(60), 4)


def test_alike_images_of_a_group_do_not_make_a_finding(monkeypatch):
    monkeypatch.setattr(association, "RESAMPLES", 2)
    monkeypatch.setattr(association, "TRADES", 99)
    ours, naive = 0, 0
    for seed in range(100):
        value, label, group = grouped(seed)
        ours += associate("x", value, label, group, np.random.default_rng(seed)).p <= 0.05
        naive += stats.chi2_contingency(pd.crosstab(value, label)).pvalue <= 0.05
    assert ours <= 12, "5% expected; 12 of 100 is the 99.7% bound"
    assert naive > 40


def test_a_strong_association_is_covered_by_its_interval(monkeypatch):
    """Nominal 95%; the truth is that of 100,000 groups. The bound allows for 60 simulations."""
    monkeypatch.setattr(association, "RESAMPLES", 300)
    monkeypatch.setattr(association, "TRADES", 2)

    def draw(groups: int, rng: np.random.Generator) -> tuple[pd.Series, np.ndarray, np.ndarray]:
        label = rng.integers(0, 3, groups)
        word = np.where(rng.random(groups) < 0.2 + 0.25 * label, "a", "b")
        size = rng.integers(1, 5, groups)
        group = np.repeat(np.arange(groups), size)
        return pd.Series(word[group]), label[group], group

    rng = np.random.default_rng(5)
    words, label, _ = draw(100_000, rng)
    truth = stats.contingency.association(pd.crosstab(words, label).to_numpy(), "cramer")
    hits = 0
    for _ in range(60):
        words, label, group = draw(300, rng)
        estimate = associate("x", words, label, group, rng).estimate
        hits += estimate.low <= truth <= estimate.high
    assert hits >= 52


def test_holm_is_that_of_statsmodels(monkeypatch):
    monkeypatch.setattr(association, "RESAMPLES", 2)
    monkeypatch.setattr(association, "TRADES", 49)
    family = {}
    for seed in range(4):
        value, label, group = grouped(seed)
        family[str(seed)] = associate("x", value, label, group, np.random.default_rng(seed))
    expected = multipletests([one.p for one in family.values()], method="holm")[1]
    assert [one.p_adjusted for one in adjusted(family).values()] == pytest.approx(expected)
    untested = replace(family["0"], p=np.nan)
    among = adjusted({"none": untested, **family})
    assert np.isnan(among.pop("none").p_adjusted)
    assert [one.p_adjusted for one in among.values()] == pytest.approx(expected)
