"""Both verdicts and the family of comparisons, against written-out definitions and statsmodels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from bench.leaderboard import Comparison, RowFacts
from bench.score.verdicts import (
    Contender,
    compare_rows,
    detectable_difference,
    distinct_models,
    non_inferiority,
    sign_of_difference,
    standard_error,
)
from tests.score.cohorts import World

NAN = float("nan")
LEVEL, GROUPS = 0.95, 100


def contender(name, by_pass, by_fold, replicates, **changes):
    value = float(np.mean(list(by_pass.values())))
    row = Contender(name, value, replicates, np.asarray(by_fold), by_pass, 5, 5 * len(by_pass))
    return replace(row, **changes)


def simple(name, value, seed, spread=0.01):
    """A row of one training per fold with normal replicates and folds."""
    rng = np.random.default_rng(seed)
    folds = value + rng.normal(0, spread, 5)
    return contender(name, {(0, 0): value}, folds, rng.normal(value, spread, 2000))


def compared(*rows, metric="macro_f1", baseline="", groups=GROUPS):
    return compare_rows(rows, metric, LEVEL, groups, baseline)


def seeded(name, values, rng):
    by_pass = {(seed, 0): value for seed, value in enumerate(values)}
    return contender(name, by_pass, np.full(5, np.mean(values)), rng.normal(0.6, 0.01, 4000))


def test_with_three_seeds_the_error_is_the_bootstrap_and_the_variance_between_seeds():
    rng = np.random.default_rng(1)
    a, b = seeded("a", [0.61, 0.60, 0.63], rng), seeded("b", [0.55, 0.58, 0.57], rng)
    gaps = [0.06, 0.02, 0.06]
    mean = sum(gaps) / 3
    training = sum((gap - mean) ** 2 for gap in gaps) / 2 / 3
    bootstrap = np.var(a.replicates - b.replicates, ddof=1)
    error, basis = standard_error(a, b)
    assert error == pytest.approx(math.sqrt(bootstrap + training))
    assert basis == "3 seeds"
    (pair,) = compared(a, b)
    assert pair.p == pytest.approx(2 * scipy.stats.norm.sf(abs(pair.difference) / error))
    assert pair.trainings == 15


def test_with_repeats_the_variance_is_that_between_repeats():
    rng = np.random.default_rng(2)
    values = rng.normal(0.6, 0.02, (2, 5))
    rows = [
        contender(
            name,
            {(0, repeat): value for repeat, value in enumerate(own)},
            np.repeat(own, 5),
            rng.normal(0.6, 0.01, 4000),
        )
        for name, own in zip("ab", values, strict=True)
    ]
    error, basis = standard_error(*rows)
    bootstrap = np.var(rows[0].replicates - rows[1].replicates, ddof=1)
    assert error**2 == pytest.approx(bootstrap + np.var(values[0] - values[1], ddof=1) / 5)
    assert basis == "5 repeats"


@pytest.mark.parametrize("spread", [0.001, 0.2])
def test_with_one_training_a_fold_the_error_is_the_larger_one(spread):
    a, b = simple("a", 0.6, 1), simple("b", 0.5, 2)
    a = replace(a, by_fold=0.6 + np.array([-2, -1, 0, 1, 2]) * spread)
    b = replace(b, by_fold=np.full(5, 0.5))
    bootstrap = float(np.std(a.replicates - b.replicates, ddof=1))
    folds = math.sqrt(10 / 4) * spread / math.sqrt(5)
    error, basis = standard_error(a, b)
    assert error == pytest.approx(max(bootstrap, folds))
    assert basis == "one training per fold"


def test_two_seeds_are_too_few_for_a_variance_between_seeds():
    rng = np.random.default_rng(1)
    a, b = seeded("a", [0.61, 0.60], rng), seeded("b", [0.55, 0.58], rng)
    assert standard_error(a, b)[1] == "fewer than 3 trainings per fold"


def test_holm_is_over_the_comparisons_with_the_baseline():
    rows = [simple(name, value, at) for at, (name, value) in enumerate(
        (("a", 0.60), ("b", 0.58), ("c", 0.57), ("d", 0.40)))]  # fmt: skip
    pairs = compared(*rows, baseline="a")
    assert [(pair.a, pair.b) for pair in pairs] == [("a", "b"), ("a", "c"), ("a", "d")]
    theirs = multipletests([pair.p for pair in pairs], method="holm")[1]
    assert [pair.p_adjusted for pair in pairs] == pytest.approx(list(theirs))
    every = compared(*rows)
    assert len(every) == 6
    theirs = multipletests([pair.p for pair in every], method="holm")[1]
    assert [pair.p_adjusted for pair in every] == pytest.approx(list(theirs))
    (alone,) = compared(*rows[:2])
    assert alone.p_adjusted == alone.p


def test_both_verdicts_name_the_better_row_and_of_a_loss_the_lower():
    (pair,) = compared(simple("a", 0.9, 1), simple("b", 0.5, 2))
    assert (pair.models, pair.methods) == ("better", "better")
    (pair,) = compared(simple("a", 0.9, 1), simple("b", 0.5, 2), metric="log_loss")
    assert (pair.models, pair.methods) == ("worse", "worse")


def test_the_verdicts_may_differ():
    a, b = simple("a", 0.60, 1, 0.005), simple("b", 0.57, 2, 0.005)
    a = replace(a, by_fold=np.array([0.5, 0.55, 0.6, 0.65, 0.7]))
    (pair,) = compared(a, b)
    assert (pair.models, pair.methods) == ("better", "no difference shown")


def test_identical_rows_have_no_interval_and_no_difference():
    a = simple("a", 0.6, 1)
    (pair,) = compared(a, replace(a, name="b"))
    assert math.isnan(pair.low)
    assert pair.p == pair.p_adjusted == 1
    assert (pair.models, pair.methods) == ("no difference shown", "no difference shown")


def test_a_difference_that_is_the_same_in_every_resample_is_shown():
    assert sign_of_difference(np.full(50, 0.2), LEVEL, 10) == 1
    assert sign_of_difference(np.full(50, -0.2), LEVEL, 10) == -1
    assert sign_of_difference(np.zeros(50), LEVEL, 10) == 0
    assert sign_of_difference(np.full(50, 0.2), LEVEL, 1) == 0
    assert sign_of_difference(np.full(50, NAN), LEVEL, 10) == 0


def test_pairs_of_different_models_are_those_whose_interval_excludes_zero():
    rows = [simple("a", 0.6, 1), simple("b", 0.601, 2), simple("c", 0.3, 3)]
    assert distinct_models(rows, LEVEL, GROUPS) == {frozenset("ac"), frozenset("bc")}


def test_the_detectable_difference_is_found_four_times_in_five_by_each_verdict():
    a, b = simple("a", 0.6, 1), simple("b", 0.6, 2)
    found = detectable_difference(a, b, LEVEL, 4)
    rng = np.random.default_rng(0)
    bootstrap = np.std(a.replicates - b.replicates, ddof=1)
    draws = rng.normal(found.models, bootstrap, 20_000)
    assert (np.abs(draws) > 1.96 * bootstrap).mean() == pytest.approx(0.8, abs=0.015)
    error = standard_error(a, b)[0]
    p = 2 * scipy.stats.norm.sf(np.abs(rng.normal(found.methods, error, 20_000)) / error)
    assert (4 * p < 0.05).mean() == pytest.approx(0.8, abs=0.015)
    assert math.isnan(detectable_difference(replace(a, untested="why"), b, LEVEL).methods)


def pair_of(difference, low, high, metric="macro_f1"):
    return Comparison("a", "b", metric, difference, low, high, "", "", NAN, NAN, 0)


def test_non_inferiority_is_shown_for_models_by_the_bound_and_for_methods_by_p():
    a, b = simple("a", 0.6, 1), simple("b", 0.6, 2)
    found = non_inferiority(pair_of(0.0, -0.012, 0.014), a, b, LEVEL, 0.02)
    error = standard_error(a, b)[0]
    assert found.p == pytest.approx(scipy.stats.norm.sf(0.02 / error))
    assert found.bound == -0.012
    assert found.shown
    assert found.methods == (found.p < 0.025)
    assert not non_inferiority(pair_of(0.0, -0.012, 0.014), a, b, LEVEL, 0.011).shown
    loss = non_inferiority(pair_of(0.0, -0.012, 0.014, "log_loss"), a, b, LEVEL, 0.02)
    assert loss.bound == -0.014


@pytest.mark.parametrize(("metric", "bound"), [("accuracy", 1.0), ("log_loss", -1.0)])
def test_where_all_resamples_agree_on_a_difference_it_is_the_bound(metric, bound):
    a = replace(simple("a", 1.0, 1), replicates=np.ones(50), untested="why")
    b = replace(simple("b", 0.0, 1), replicates=np.zeros(50))
    found = non_inferiority(pair_of(1.0, NAN, NAN, metric), a, b, LEVEL, 0.02)
    assert (found.bound, found.shown) == (bound, bound > 0)
    assert math.isnan(found.p)


@pytest.mark.parametrize("seeds", [1, 3])
def test_under_the_null_of_retrained_methods_the_test_rejects_about_one_in_twenty(seeds):
    """Normal sampling and training; the bootstrap's spread is the true sampling error."""
    rng, rejected, sets = np.random.default_rng(seeds), 0, 400
    sampling, training = 0.012, 0.010
    noise = rng.normal(0, sampling, 300)
    noise = (noise - noise.mean()) / noise.std(ddof=1) * sampling
    for _ in range(sets):
        lesions = rng.normal(0, sampling * math.sqrt(5), 5)
        own = rng.normal(0, training * math.sqrt(5), (2, seeds, 5))
        folds = [0.6 + own[0] + lesions, 0.6 + own[1]]
        rows = [
            contender(
                name,
                {(seed, 0): table[seed].mean() for seed in range(seeds)},
                table.mean(axis=0),
                table.mean() + (noise if name == "a" else 0 * noise),
            )
            for name, table in zip("ab", folds, strict=True)
        ]
        rejected += compared(*rows)[0].methods != "no difference shown"
    assert 0.01 < rejected / sets < 0.10


def with_kind(row, kind):
    return replace(row, kind=kind)


def test_a_submission_is_tested_only_if_it_declares_a_model_for_each_fold():
    world = World(resamples=200)
    rows = [world.row("good", skill=4), with_kind(world.row("sent", skill=0.3), "submitted")]
    for models, word in ((0, "not tested"), (1, "not tested"), (3, "better"), (6, "better")):
        (pair,) = world.score(*rows, sent=RowFacts(models=models)).comparisons
        assert pair.models == "better"
        assert pair.methods == word
        assert math.isnan(pair.p) == (word == "not tested")
        assert pair.trainings == (0 if word == "not tested" else 3)


def test_a_protocol_of_one_fold_tests_no_method():
    world = World(folds=1, resamples=200)
    (pair,) = world.score(world.row("a", skill=4), world.row("b", skill=0.3)).comparisons
    assert pair.methods == "not tested"
    assert pair.basis == "there is only one fold"


def test_the_leaderboard_compares_with_the_leader_a_baseline_or_all():
    from bench.errors import PredictionError
    from bench.score.leaderboard import score

    world = World(resamples=200)
    rows = [world.row(name, skill) for name, skill in (("a", 4), ("b", 1), ("c", 0.5))]
    rows += world.references()

    def board(**options):
        return score(world.protocol, world.dataset, world.roles, rows, {}, **options)

    def pairs(**options):
        return [(pair.a, pair.b) for pair in board(**options).comparisons]

    assert pairs() == [("a", "b"), ("a", "c")]
    assert board().baseline == "a"
    assert pairs(baseline="b") == [("a", "b"), ("b", "c")]
    assert board(baseline="b").verdicts[0] == (
        "These models: b is better than c and is worse than a."
    )
    assert len(pairs(all_pairs=True)) == 3
    assert board(all_pairs=True).baseline == ""
    with pytest.raises(PredictionError, match="--baseline majority: is not a ranked row"):
        board(baseline="majority")
    with pytest.raises(PredictionError, match="--baseline b and --all-pairs exclude each other"):
        board(baseline="b", all_pairs=True)


def test_a_poor_row_in_the_folder_changes_nothing_about_a_named_pair():
    from tests.score.test_versus import compare

    world = World(resamples=200)
    rows = [world.row(name, skill) for name, skill in (("a", 2), ("b", 1.5), ("toy", 0.1))]
    alone, beside = (compare(world, kept, "a", "b") for kept in (rows[:2], rows))
    assert alone.pairs[0].comparison == beside.pairs[0].comparison
    assert alone.pairs[0].comparison.p == alone.pairs[0].comparison.p_adjusted


def test_a_perfect_row_clears_the_references():
    world = World(resamples=200)
    board = world.score(world.row("perfect", skill=100), *world.references())
    perfect = board.rows[0]
    assert perfect.table.metrics["macro_f1"].value == 1
    assert math.isnan(perfect.table.metrics["macro_f1"].low)
    assert perfect.clears_reference
    assert "not clear" not in board.verdict
