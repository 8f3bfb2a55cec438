"""The leaderboard as a whole: joining, completeness, ranking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as oracle

from bench.leaderboard import Rank, RowFacts
from bench.predictions import TrainingKey
from bench.protocol import Run
from bench.score.leaderboard import score
from bench.score.metrics import CLASS_METRICS, IMAGE_METRICS
from tests.score.cohorts import CLASSES, World, make_row


def without(row, *dropped):
    """The row less some slots."""
    test = {training: one for training, one in row.test.items() if training not in dropped}
    return replace(row, test=test)


def pooled(world, row, seed=0, repeat=0):
    """Truth and probabilities of one pass, put together image by image."""
    truth, probs = [], []
    where = {name: place for place, name in enumerate(world.dataset.image_ids)}
    for training, predictions in row.test.items():
        if (training.seed, training.repeat) == (seed, repeat):
            for image, own in zip(predictions.image_ids, predictions.probs, strict=True):
                truth.append(world.dataset.labels[where[image]])
                probs.append(own)
    return np.array(truth), np.array(probs)


def test_values_are_those_of_the_pooled_predictions_joined_by_image_id():
    world = World()
    row = world.row("a")
    board = world.score(row)
    truth, probs = pooled(world, row)
    predicted = probs.argmax(axis=1)
    table = board.rows[0].table
    assert table.metrics["macro_f1"].value == pytest.approx(
        oracle.f1_score(truth, predicted, average="macro"), abs=1e-12
    )
    assert table.per_class["mel"]["auc_pooled"].value == pytest.approx(
        oracle.roc_auc_score(truth == 1, probs[:, 1]), abs=1e-12
    )
    assert np.array_equal(board.rows[0].confusion, oracle.confusion_matrix(truth, predicted))
    assert table.metrics["accuracy"].n == len(world.dataset)


def test_every_metric_stands_under_its_name():
    board = World().score(World().row("a"))
    table = board.rows[0].table
    assert tuple(table.metrics) == IMAGE_METRICS == tuple(board.rows[0].by_fold)
    assert tuple(table.per_class) == CLASSES == board.classes
    assert all(tuple(metrics) == CLASS_METRICS for metrics in table.per_class.values())
    assert board.metrics[0] == board.primary
    assert set(board.metrics) == set(IMAGE_METRICS)


def test_fold_values_are_those_of_each_folds_predictions_alone():
    world = World()
    row = world.row("a")
    by_fold = world.score(row).rows[0].by_fold
    labels = dict(zip(world.dataset.image_ids, world.dataset.labels, strict=True))
    for training, predictions in row.test.items():
        truth = np.array([labels[image] for image in predictions.image_ids])
        predicted = predictions.probs.argmax(axis=1)
        one_hot = np.eye(4)[truth]
        expected = {
            "accuracy": (predicted == truth).mean(),
            "macro_f1": oracle.f1_score(truth, predicted, average="macro"),
            "mcc": oracle.matthews_corrcoef(truth, predicted),
            "log_loss": oracle.log_loss(truth, predictions.probs),
            "brier": ((predictions.probs - one_hot) ** 2).sum(axis=1).mean(),
            "ece": fifteen_bins(predictions.probs.max(axis=1), predicted == truth),
            "macro_auc": oracle.roc_auc_score(one_hot, predictions.probs, average="macro"),
            "macro_ap": oracle.average_precision_score(one_hot, predictions.probs),
        }
        for metric, value in expected.items():
            assert by_fold[metric][training.fold] == pytest.approx(value, abs=1e-12), metric


def fifteen_bins(top, right):
    """Expected calibration error over bins (lower, upper] of equal width."""
    binned = pd.Series(top - right).groupby(np.ceil(15 * top)).sum()
    return binned.abs().sum() / len(top)


def test_seeds_and_repeats_are_averaged_after_the_metric():
    world = World(seeds=(0, 1), repeats=2)
    row = world.row("a", seeds=(0, 1))
    scored = world.score(row).rows[0]
    values = {}
    for seed in (0, 1):
        for repeat in (0, 1):
            truth, probs = pooled(world, row, seed, repeat)
            values[seed, repeat] = oracle.f1_score(truth, probs.argmax(axis=1), average="macro")
    assert scored.table.metrics["macro_f1"].value == pytest.approx(np.mean(list(values.values())))
    by_seed = [np.mean([values[seed, repeat] for repeat in (0, 1)]) for seed in (0, 1)]
    assert scored.seed_sd["macro_f1"] == pytest.approx(np.std(by_seed, ddof=1))
    assert len(scored.by_fold["macro_f1"]) == 6


def test_further_seeds_are_shown_but_change_no_ranked_number():
    world = World()
    more = world.row("a", seeds=(0, 1, 2))
    with_more = world.score(more).rows[0]
    alone = world.score(world.row("a")).rows[0]
    assert with_more.seeds == (0, 1, 2)
    assert with_more.complete
    assert with_more.table == alone.table
    assert with_more.by_fold == alone.by_fold
    assert np.isnan(alone.seed_sd["macro_f1"])
    assert with_more.seed_sd["macro_f1"] > 0
    assert (with_more.confusion == alone.confusion).all()


def test_an_incomplete_row_shows_what_it_has_and_is_not_ranked():
    world = World()
    whole = world.row("whole")
    part = without(world.row("part", skill=3), TrainingKey(0, 0, 1))
    board = world.score(whole, part)
    first, second = board.rows
    assert (first.name, first.rank.best) == ("whole", 1)
    assert (second.name, second.rank) == ("part", Rank())
    assert not second.complete
    assert second.folds == (0, 2)
    estimate = second.table.metrics["macro_f1"]
    assert "incomplete: 2 of 3 folds" in estimate.marks
    assert estimate.n == sum(len(one) for one in part.test.values())
    truth, probs = pooled(world, part)
    assert estimate.value == pytest.approx(
        oracle.f1_score(truth, probs.argmax(axis=1), average="macro")
    )
    assert np.isnan(second.by_fold["macro_f1"][1])
    assert board.comparisons == ()


def test_an_incomplete_row_is_made_of_whole_passes_where_it_has_any():
    world = World(seeds=(0, 1))
    part = without(world.row("part", seeds=(0, 1)), TrainingKey(1, 0, 2))
    board = world.score(part)
    alone = World().score(make_row("part", world.protocol, world.dataset, world.roles))
    ours, theirs = board.rows[0].table.metrics, alone.rows[0].table.metrics
    assert ours["macro_f1"].value == theirs["macro_f1"].value
    assert "incomplete: 3 of 6 folds" in ours["macro_f1"].marks


def test_an_incomplete_row_without_a_whole_pass_is_made_of_common_folds():
    world = World(seeds=(0, 1))
    part = without(world.row("part", seeds=(0, 1)), TrainingKey(1, 0, 2), TrainingKey(0, 0, 0))
    row = world.score(part).rows[0]
    assert row.folds == (1,)
    assert "incomplete: 2 of 6 folds" in row.table.metrics["accuracy"].marks
    assert row.table.metrics["accuracy"].value == pytest.approx(row.by_fold["accuracy"][1])
    disjoint = without(part, TrainingKey(0, 0, 1), TrainingKey(1, 0, 0))
    lone = world.score(disjoint).rows[0]
    assert "incomplete: 1 of 6 folds" in lone.table.metrics["accuracy"].marks


def test_of_passes_without_a_common_fold_the_longest_counts():
    world = World(seeds=(0, 1))
    row = world.row("part", seeds=(0, 1))
    parts = {
        trainings: without(
            row, *(set(row.test) - {TrainingKey(*training) for training in trainings})
        )
        for trainings in (
            ((0, 0, 0), (1, 0, 1), (1, 0, 2)),
            ((0, 0, 1), (0, 0, 2), (1, 0, 0)),
        )
    }
    for part in parts.values():
        found = world.score(part).rows[0].table.metrics["accuracy"]
        assert "incomplete: 2 of 6 folds" in found.marks
        assert found.n == 160


def test_a_fold_that_a_seed_lacks_has_the_value_of_the_other_seeds():
    world = World(seeds=(0, 1))
    row = world.row("part", seeds=(0, 1))
    part = world.score(without(row, TrainingKey(1, 0, 2))).rows[0].by_fold["accuracy"]
    whole = world.score(row).rows[0].by_fold["accuracy"]
    truth, probs = pooled(world, without(row, TrainingKey(0, 0, 0), TrainingKey(0, 0, 1)))
    assert part[:2] == pytest.approx(whole[:2])
    assert part[2] == pytest.approx((probs.argmax(axis=1) == truth).mean())
    none = world.score(without(row, TrainingKey(0, 0, 2), TrainingKey(1, 0, 2))).rows[0]
    assert np.isnan(none.by_fold["accuracy"][2])


def test_rows_kept_out_are_shown_below_the_ranked_and_above_references():
    world = World()
    board = world.score(
        *world.references(),
        world.row("a"),
        world.row("kept", skill=4),
        without(world.row("part"), TrainingKey(0, 0, 0)),
        world.row("b", skill=3),
        kept=RowFacts(unranked="weights undeclared"),
    )
    assert [row.name for row in board.rows[:4]] == ["b", "a", "kept", "part"]
    assert {row.kind for row in board.rows[4:]} == {"reference"}
    assert [row.rank.best for row in board.rows] == [1, 2, None, None, None, None, None]
    assert [(one.a, one.b) for one in board.comparisons] == [("b", "a")]
    assert board.rows[2].facts.unranked == "weights undeclared"


def test_comparisons_and_ranks_use_the_shared_resamples():
    world = World(resamples=400)
    board = world.score(world.row("good", skill=4), world.row("bad", skill=0.3))
    (only,) = board.comparisons
    assert (only.models, only.methods) == ("better", "better")
    values = [row.table.metrics["macro_f1"].value for row in board.rows]
    assert only.difference == pytest.approx(values[0] - values[1])
    assert only.low < only.difference < only.high
    assert board.rows[0].rank == Rank(best=1, low=1, high=1, p_best=1.0, shares=(1, 0))


def test_a_control_ranks_nobody_and_tests_nothing():
    world = World(control=True)
    board = world.score(world.row("good", skill=4), world.row("bad", skill=0.3))
    assert board.control
    assert [row.rank for row in board.rows] == [Rank(), Rank()]
    (only,) = board.comparisons
    assert np.isnan([only.p, only.p_adjusted]).all()
    assert only.methods == "not tested"


def test_a_row_clears_the_references_only_with_its_whole_interval():
    world = World()
    board = world.score(world.row("good", skill=3), world.row("none", skill=0), *world.references())
    good, none, best = board.rows[:3]
    assert board.best_reference == best.name == "uniform"
    bar = best.table.metrics["macro_f1"].value
    assert good.clears_reference
    assert good.table.metrics["macro_f1"].low > bar
    assert not none.clears_reference
    assert not any(row.clears_reference for row in board.rows[2:])


def test_for_a_loss_the_interval_must_lie_below_the_best_reference():
    world = World(primary="log_loss")
    board = world.score(world.row("good", skill=3), world.row("none", skill=0), *world.references())
    assert [row.name for row in board.rows][:3] == ["good", "none", "prior"]
    assert board.best_reference == "prior"
    assert [row.clears_reference for row in board.rows[:2]] == [True, False]


def test_what_a_row_lacks_is_told_of_the_protocols_seeds_and_of_its_own():
    world = World(seeds=(0, 1))
    row = world.row("part", seeds=(0,))
    more = {
        training._replace(seed=2): one for training, one in row.test.items() if training.fold != 1
    }
    part, whole = (
        world.score(one).rows[0]
        for one in (replace(row, test={**row.test, **more}), world.row("whole", seeds=(0, 1)))
    )
    assert part.missing == (*(TrainingKey(1, 0, fold) for fold in range(3)), TrainingKey(2, 0, 1))
    assert whole.missing == ()


def test_the_bar_is_the_best_reference_that_is_complete():
    world = World()
    *others, uniform = world.references()
    best = world.score(world.row("a"), *others, uniform).rows[1]
    assert best.name == "uniform"
    part = without(
        uniform, TrainingKey(0, 0, min(range(3), key=best.by_fold["macro_f1"].__getitem__))
    )
    board = world.score(world.row("a"), *others, part)
    assert board.rows[1].name == "uniform"
    assert board.best_reference == board.rows[2].name != "uniform"


def test_of_a_loss_the_lowest_in_every_fold_has_mean_rank_one():
    world = World(primary="log_loss")
    board = world.score(world.row("bad", skill=0.3), world.row("good", skill=3))
    assert board.mean_ranks == {"good": 1, "bad": 2}


def test_an_image_tested_in_every_repeat_is_counted_once():
    world = World(repeats=2)
    assert world.score(world.row("a")).rows[0].tested == (240, 120)


def test_without_references_nothing_is_cleared():
    board = World().score(World().row("a"))
    assert board.best_reference == ""
    assert not board.rows[0].clears_reference


def test_the_facts_of_data_and_interval_are_given():
    world = World()
    board = world.score(world.row("a"))
    assert board.dataset.images == 240
    assert board.dataset.groups == 120
    assert board.dataset.unit == board.interval.unit == "lesion"
    assert board.dataset.groups_by_class == dict.fromkeys(CLASSES, 30)
    assert board.dataset.images_by_class == dict.fromkeys(CLASSES, 60)
    assert (board.interval.resamples, board.interval.level) == (200, 0.95)
    assert (board.folds, board.repeats) == (3, 1)


def test_a_board_without_rows_is_empty():
    board = World().score()
    assert board.rows == ()
    assert board.comparisons == ()


def test_the_same_rows_give_the_same_board_in_any_order():
    world = World()
    rows = [world.row(name) for name in "abcdef"]
    ours, theirs = world.score(*rows), world.score(*reversed(rows))
    assert [row.table for row in ours.rows] == [row.table for row in theirs.rows]
    assert ours.comparisons == theirs.comparisons


def test_a_row_that_lacks_the_protocols_seed_is_incomplete():
    world = World()
    asked = world.protocol.model_copy(update={"run": Run(seeds=[7])})
    board = score(asked, world.dataset, world.roles, [world.row("a", seeds=(0, 1))], {})
    assert not board.rows[0].complete
    assert board.rows[0].seeds == (0, 1)
    marks = board.rows[0].table.metrics["macro_f1"].marks
    assert "incomplete: no fold of seed 7, scored on seed 0, 1" in marks
