"""Rows against each other in full: baycomp, scikit-posthocs, simulation, definitions."""

from __future__ import annotations

import math
from dataclasses import replace

import baycomp
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scikit_posthocs._plotting import _find_maximal_cliques
from statsmodels.stats.contingency_tables import mcnemar

from bench.errors import PredictionError, ProtocolError
from bench.intraclass import design_effect, pair_correlation
from bench.leaderboard import RowFacts
from bench.predictions import TrainingKey
from bench.protocol import PARTS
from bench.report.comparison_page import standfirst
from bench.score.arms import arm_view
from bench.score.comparison import ComparisonRequest, compare_rows_in_full, find_row, sign_flip
from bench.score.join import build_cohort
from bench.score.significance import (
    SeedFoldValues,
    belief,
    mean_ranks,
    nadeau_bengio,
    spread,
    tie_groups,
)
from tests.score.cohorts import World
from tests.score.test_arms import ArmWorld, in_arms

NAN = float("nan")


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def rows(world):
    return [world.row("strong", 2.0), world.row("weak", 0.7), world.row("twin", 2.0)]


def compare(world, rows, *names, facts=None, **request):
    asked = ComparisonRequest(request.pop("metric", "macro_f1"), **request)
    return compare_rows_in_full(
        world.protocol, world.dataset, world.roles, rows, facts or {}, names, asked
    )


def test_it_says_the_same_as_the_leaderboard(world, rows):
    board = {(one.a, one.b): one for one in world.score(*rows).comparisons}
    leader = world.score(*rows).baseline
    for names in ((leader, "weak"), ("weak", leader), ("strong", "weak", "twin")):
        for pair in compare(world, rows, *names).pairs:
            one = pair.comparison
            theirs = board.get((one.a, one.b)) or board[one.b, one.a]
            sign = 1 if (one.a, one.b) in board else -1
            assert one.difference == pytest.approx(sign * theirs.difference)
            ends = (theirs.low, theirs.high) if sign > 0 else (-theirs.high, -theirs.low)
            assert (one.low, one.high) == pytest.approx(ends)
            assert one.p == pytest.approx(theirs.p)
            if len(names) > 2:
                assert one.p_adjusted == pytest.approx(theirs.p_adjusted)


def test_the_difference_of_a_metric_is_that_of_its_values(world, rows):
    found = compare(world, rows, "strong", "weak")
    (pair,) = found.pairs
    a, b = (found.tables[name] for name in ("strong", "weak"))
    for key, one in pair.differences.metrics.items():
        assert one.value == pytest.approx(a.metrics[key].value - b.metrics[key].value)
        assert one.low <= one.value <= one.high
    mel = pair.differences.per_class["mel"]["recall"]
    assert mel.value == pytest.approx(
        a.per_class["mel"]["recall"].value - b.per_class["mel"]["recall"].value
    )


def test_the_interval_among_all_metrics_is_the_verdicts_own(world, rows):
    (pair,) = compare(world, rows, "strong", "weak").pairs
    own = pair.differences.metrics["macro_f1"]
    assert (own.low, own.high) == (pair.comparison.low, pair.comparison.high)


def test_the_words_beside_either_row_stand_beside_the_difference(world, rows):
    blind = replace(rows[1], val={})
    for names in (("strong", "weak"), ("weak", "strong")):
        (pair,) = compare(world, [rows[0], blind], *names).pairs
        marks = pair.differences.per_class["mel"]["sens_at_spec_90"].marks
        assert "no val predictions" in marks


def test_all_compared_rows_and_what_was_tested_are_counted(world, rows):
    found = compare(world, rows, "strong", "weak")
    assert found.family.keys() == {"strong", "weak"}
    assert found.tested == (240, 120)
    by_fold = [np.array(world.score(row).rows[0].by_fold["macro_f1"]) for row in rows[:2]]
    ratio = build_cohort(world.protocol, world.dataset, world.roles).test_train_ratio
    p = nadeau_bengio(by_fold[0] - by_fold[1], ratio)
    assert found.pairs[0].nadeau_bengio == pytest.approx(p)


def test_the_ratio_of_the_test_is_images_tested_to_images_trained_on(world):
    parts = world.roles.parts
    tested, trained = ((parts == PARTS.index(part)).sum(axis=0) for part in ("test", "train"))
    found = build_cohort(world.protocol, world.dataset, world.roles).test_train_ratio
    assert found == pytest.approx((tested / trained).mean())
    assert found < 1


def test_of_a_loss_the_lowest_has_the_best_mean_rank(world, rows):
    found = compare(world, rows, "strong", "weak", metric="log_loss")
    assert found.mean_ranks == {"strong": 1, "weak": 2}


def test_further_seeds_enter_no_comparison(world):
    rows = [world.row(name, skill, seeds=(0, 1)) for name, skill in (("a", 2.0), ("b", 1.0))]
    found = compare(world, rows, "a", "b")
    assert found.trainings == (3, 3)
    alone = [row.only({training for training in row.test if not training.seed}) for row in rows]
    assert found.pairs[0].comparison == compare(world, alone, "a", "b").pairs[0].comparison
    assert found.pairs[0].spread.seeds == 1


def test_disagreements_are_counted_image_by_image(world, rows):
    (pair,) = compare(world, rows, "strong", "weak").pairs
    label_of = dict(
        zip(
            world.dataset.image_ids,
            np.array(world.dataset.classes)[world.dataset.labels],
            strict=True,
        )
    )
    right, said = [], []
    for row in rows[:2]:
        predicted = {}
        for predictions in row.test.values():
            tops = np.array(predictions.classes)[predictions.probs.argmax(axis=1)]
            predicted.update(zip(predictions.image_ids, tops, strict=True))
        right.append({image for image, top in predicted.items() if top == label_of[image]})
        said.append(predicted)
    only_a, only_b = right[0] - right[1], right[1] - right[0]
    *classes, every = pair.disagreements
    assert (every.label, every.images) == ("", len(world.dataset))
    assert (every.only_a, every.only_b) == (len(only_a), len(only_b))
    for line in classes:
        assert line.only_a == sum(label_of[image] == line.label for image in only_a)
        assert line.recall == pair.differences.per_class[line.label]["recall"]
    assert {image.image_id for image in pair.disputed} == only_a | only_b
    for image in pair.disputed:
        assert image.a_called == said[0][image.image_id]
        assert image.b_called == said[1][image.image_id]
    gaps = [abs(image.a_probability - image.b_probability) for image in pair.disputed]
    assert gaps == sorted(gaps, reverse=True)


def test_disagreements_are_tested_image_by_image_and_group_by_group(world, rows):
    (pair,) = compare(world, rows, "strong", "weak").pairs
    cohort = build_cohort(world.protocol, world.dataset, world.roles)
    a, b = (right_or_wrong(world, row) for row in rows[:2])
    apart = a - b
    for line in pair.disagreements:
        own = [line.label in ("", world.dataset.classes[code]) for code in cohort.labels]
        by_group = pd.Series(apart[own]).groupby(cohort.group[own])
        only_a, only_b = int((apart[own] > 0).sum()), int((apart[own] < 0).sum())
        theirs = mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue
        icc = pair_correlation(apart[own], cohort.group[own])
        assert line.groups == by_group.ngroups
        assert line.p_images == pytest.approx(theirs)
        assert line.p_groups == pytest.approx(sign_flip(by_group.sum().to_numpy(dtype=int)))
        assert line.icc == pytest.approx(icc)
        assert line.design_effect == pytest.approx(design_effect(by_group.size().to_numpy(), icc))


def right_or_wrong(world, row):
    """1 or 0 for every image of the roster."""
    right = np.zeros(len(world.dataset))
    place = {image: at for at, image in enumerate(world.dataset.image_ids)}
    for predictions in row.test.values():
        at = [place[image] for image in predictions.image_ids]
        right[at] = predictions.probs.argmax(axis=1) == world.dataset.labels[at]
    return right


def test_with_several_seeds_passes_are_counted():
    world = World(seeds=(0, 1))
    rows = [world.row(name, skill, seeds=(0, 1)) for name, skill in (("a", 2.0), ("b", 1.0))]
    (pair,) = compare(world, rows, "a", "b").pairs
    assert {image.passes for image in pair.disputed} == {2}
    assert pair.spread.seeds == 2
    assert math.isfinite(pair.spread.seed)


def test_identical_rows_are_told_so(world, rows):
    same = replace(rows[0], name="same")
    (pair,) = compare(world, [rows[0], same], "strong", "same", margin=0.01).pairs
    assert pair.comparison.difference == 0
    assert pair.comparison.models == pair.comparison.methods == "no difference shown"
    assert pair.disputed == ()
    assert pair.spread.lesions == 0
    assert pair.non_inferiority.shown
    assert all(line.p_groups == line.p_images == 1 for line in pair.disagreements)


def test_rows_are_compared_on_the_trainings_that_all_have(world, rows):
    part = rows[1].only({training for training in rows[1].test if training.fold != 2})
    found = compare(world, [rows[0], part], "strong", "weak")
    assert found.trainings == (2, 3)
    assert found.folds == 2
    tested = sum(len(rows[0].test[TrainingKey(0, 0, fold)]) for fold in (0, 1))
    assert found.tested[0] == tested
    other = rows[1].only({TrainingKey(0, 0, 2)})
    mine = rows[0].only({TrainingKey(0, 0, 0)})
    with pytest.raises(PredictionError, match="no seed and fold in common"):
        compare(world, [mine, other], "strong", "weak")


def test_rows_that_lack_folds_are_compared_on_what_they_have(world, rows):
    part = rows[1].only({training for training in rows[1].test if training.fold != 2})
    found = compare(world, [rows[0], part, rows[2]], "strong", "weak")
    assert found.notes == ("weak is not ranked: incomplete: 2 of 3 folds",)
    assert found.pairs[0].comparison.trainings == 2


def test_of_passes_cut_short_the_whole_ones_are_compared_by_interval_and_test_alike():
    world = World(repeats=3, folds=3, resamples=200)
    whole, other = world.row("a", 1.2), world.row("b", 0.9)
    cut = other.only({training for training in other.test if training.fold or not training.repeat})
    found = compare(world, [whole, cut], "a", "b")
    assert found.trainings == (3, 9)
    first = {training for training in whole.test if not training.repeat}
    alone = compare(world, [whole.only(first), other.only(first)], "a", "b")
    assert found.pairs[0].comparison == alone.pairs[0].comparison
    none_whole = other.only(
        {training for training in other.test if training.fold != training.repeat % 2}
    )
    found = compare(world, [whole, none_whole], "a", "b")
    assert found.trainings == (3, 9)  # fold 2 of every repeat
    assert found.pairs[0].comparison.difference == pytest.approx(
        found.tables["a"].metrics["macro_f1"].value - found.tables["b"].metrics["macro_f1"].value
    )


def test_of_passes_without_a_common_fold_the_longest_is_compared():
    world = World(seeds=(0, 1))
    for kept in ({(0, 0), (1, 1), (1, 2)}, {(0, 1), (0, 2), (1, 0)}):
        rows = [world.row(name, seeds=(0, 1)) for name in "ab"]
        parts = [
            row.only({training for training in row.test if (training.seed, training.fold) in kept})
            for row in rows
        ]
        found = compare(world, parts, "a", "b")
        assert found.trainings == (2, 6)
        assert found.tested[0] == 160


def test_a_row_that_is_not_ranked_says_why_and_adjusts_nothing(world, rows):
    facts = {"twin": RowFacts(unranked="its pretraining data is not declared")}
    found = compare(world, rows, "strong", "weak", facts=facts)
    assert found.family.keys() == {"strong", "weak"}
    found = compare(world, rows, "strong", "twin", facts=facts)
    assert found.notes == ("twin is not ranked: its pretraining data is not declared",)


def test_of_a_protocol_with_arms_the_first_is_compared_and_named():
    world = ArmWorld(resamples=200)
    rows = [
        in_arms(
            world,
            whole=world.one_arm("whole", "100%", skill=skill)[2],
            half=world.one_arm("half", "50%", skill=1.0)[2],
        )
        for skill in (2.5, 0.5)
    ]
    rows = [replace(row, name=name) for row, name in zip(rows, ("a", "b"), strict=True)]
    found = compare(world, rows, "a", "b")
    assert found.arm == "100%"
    protocol, roles = arm_view(world.protocol, world.roles, "100%")
    alone = [
        replace(world.one_arm("whole", "100%", skill=skill)[2], name=name)
        for name, skill in (("a", 2.5), ("b", 0.5))
    ]
    same = compare_rows_in_full(
        protocol, world.dataset, roles, alone, {}, ("a", "b"), ComparisonRequest("macro_f1")
    )
    assert found.pairs[0].comparison == same.pairs[0].comparison


def test_a_row_without_the_ranked_arm_is_refused():
    world = ArmWorld(resamples=200)
    half = world.one_arm("half", "50%", skill=1.0)[2]
    whole = world.one_arm("whole", "100%", skill=1.0)[2]
    rows = [
        replace(in_arms(world, half=half), name="a"),
        replace(in_arms(world, whole=whole), name="b"),
    ]
    with pytest.raises(PredictionError, match="row a has no predictions in the ranked arm"):
        compare(world, rows, "a", "b")


def test_in_a_control_no_method_is_tested():
    world = World(resamples=200)
    split = world.protocol.split.model_copy(update={"control": True})
    world.protocol = world.protocol.model_copy(update={"split": split})
    found = compare(world, [world.row("a", 4.0), world.row("b", 0.1)], "a", "b", margin=0.5)
    (pair,) = found.pairs
    assert found.control
    assert math.isnan(pair.comparison.p)
    assert math.isnan(pair.comparison.p_adjusted)
    assert pair.comparison.methods == "not tested"
    assert not pair.non_inferiority.methods
    assert any("control: groups are divided" in said for said in standfirst(found))
    assert "trained again: not tested" in found.verdict


def test_an_unknown_metric_is_refused(world, rows):
    with pytest.raises(ProtocolError, match="nonsense"):
        compare(world, rows, "strong", "weak", metric="nonsense")


def test_rows_are_found_by_name_or_by_their_methods_only_row(rows):
    variants = [replace(rows[0], name=f"strong@{x}") for x in "ab"] + rows[1:]
    assert find_row("weak", variants) == "weak"
    assert find_row("strong@a", variants) == "strong@a"
    assert find_row("strong", variants[1:]) == "strong@b"
    with pytest.raises(PredictionError, match="strong@a, strong@b"):
        find_row("strong", variants)
    with pytest.raises(PredictionError, match="known are strong@a, strong@b, twin, weak"):
        find_row("resnet", variants)


@pytest.mark.parametrize(("folds", "runs"), [(5, 1), (10, 3)])
def test_belief_is_baycomps_where_the_ratio_is_its_own(folds, runs):
    rng = np.random.default_rng(folds)
    a, b = 0.6 + rng.normal(0, 0.02, folds * runs), 0.59 + rng.normal(0, 0.02, folds * runs)
    left, rope, right = baycomp.CorrelatedTTest.probs(a, b, rope=0.01, runs=runs)
    found = belief(a - b, 1 / (folds - 1), 0.01, higher=True)
    assert (found.a_better, found.alike, found.b_better) == pytest.approx((left, rope, right))
    lower = belief(a - b, 1 / (folds - 1), 0.01, higher=False)
    assert (lower.a_better, lower.b_better) == pytest.approx((right, left))
    assert belief(a[:1] - b[:1], 0.25, 0.01, higher=True) is None
    assert belief(a - b, NAN, 0.01, higher=True) is None


def test_the_spread_finds_what_was_put_in():
    """Random effects of known sizes in many folds and seeds."""
    rng = np.random.default_rng(1)
    folds, seeds = 4_000, 3
    lesions, training, seed = 0.02, 0.03, 0.01
    fold = rng.normal(0, lesions, folds) + rng.normal(0, training, folds)
    values = 0.5 + fold + rng.normal(0, seed, (seeds, folds))
    replicates = rng.normal(0, lesions, (folds, 200))
    found = spread(SeedFoldValues(values, replicates))
    assert found.lesions == pytest.approx(lesions, rel=0.05)
    assert found.training == pytest.approx(training, rel=0.05)
    assert found.seed == pytest.approx(seed, rel=0.05)
    assert math.isnan(spread(SeedFoldValues(values[:1], replicates)).seed)
    assert math.isnan(spread(SeedFoldValues(values[:, :1], replicates[:1])).lesions)
    assert spread(SeedFoldValues(values * 0 + 0.5, replicates)).training == 0


@pytest.mark.parametrize("seed", range(5))
def test_tie_groups_are_the_cliques_of_scikit_posthocs(seed):
    rng = np.random.default_rng(seed)
    names = list("abcdefg")
    apart = [{a, b} for at, a in enumerate(names) for b in names[at + 1 :] if rng.random() < 0.5]
    alike = pd.DataFrame([[int({a, b} not in apart) for b in names] for a in names], names, names)
    theirs = {tuple(sorted(each)) for each in _find_maximal_cliques(alike) if len(each) > 1}
    assert set(tie_groups(names, set(map(frozenset, apart)))) == theirs


def test_tie_groups_stand_in_the_order_of_the_ranks():
    names = ["b", "a", "c"]
    assert tie_groups(names, {frozenset("bc")}) == (("b", "a"), ("a", "c"))
    assert tie_groups(names, set(map(frozenset, ("ab", "bc", "ac")))) == ()


def test_mean_ranks_are_friedmans():
    by_fold = np.random.default_rng(3).integers(0, 4, (4, 9)).astype(float)
    ours = mean_ranks(by_fold, higher=False)
    theirs = np.mean([scipy.stats.rankdata(column) for column in by_fold.T], axis=0)
    assert ours == pytest.approx(theirs)
    assert mean_ranks(-by_fold, higher=True) == pytest.approx(theirs)
    by_fold[0, 0] = NAN
    assert mean_ranks(by_fold, higher=True) == pytest.approx(
        mean_ranks(by_fold[:, 1:], higher=True)
    )
