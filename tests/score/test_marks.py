"""What stands beside a number, and which predictions are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.errors import PredictionError, ProtocolError, RolesError
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import Metrics
from bench.score.leaderboard import dataset_facts, score
from bench.score.row import few_mark, partly_undefined
from tests.score.cohorts import World, make_dataset, make_protocol, make_roles


def test_few_lesions_are_marked_where_the_smallest_part_has_fewer_than_50():
    table = World(lesions=240).score(make_world_row(240)).rows[0].table  # 60 lesions a class
    assert table.metrics["macro_f1"].marks == ()
    assert table.per_class["mel"]["recall"].marks == ()
    assert table.per_class["mel"]["auc_pooled"].marks == ()
    assert "few lesions" in table.per_class["mel"]["auc"].marks  # 20 a fold
    assert "few lesions" in table.metrics["macro_auc"].marks
    few = World(lesions=120).score(make_world_row(120)).rows[0].table
    assert "few lesions" in few.metrics["macro_f1"].marks
    assert "few lesions" not in few.metrics["accuracy"].marks


def test_fifty_lesions_are_not_few():
    table = World(lesions=200).score(make_world_row(200)).rows[0].table
    assert table.per_class["mel"]["recall"].marks == ()
    below = World(lesions=196).score(make_world_row(196)).rows[0].table
    assert below.per_class["mel"]["recall"].marks == ("few lesions",)


def test_one_percent_of_resamples_without_a_value_is_told():
    replicates = np.zeros(1000)
    replicates[:9] = np.nan
    assert partly_undefined(replicates) == ()
    replicates[:10] = np.nan
    assert partly_undefined(replicates) == ("undefined in 1% of resamples",)


def make_world_row(lesions):
    return World(lesions=lesions).row("a")


def test_counts_of_images_and_groups_stand_in_the_class_table():
    table = World().score(World().row("a")).rows[0].table.per_class["bkl"]
    assert (table["support"].value, table["support"].n) == (60, 60)
    assert (table["groups"].value, table["groups"].n) == (30, 60)
    assert np.isnan(table["support"].low)
    assert table["recall"].n == 60
    assert table["specificity"].n == 180


def test_ece_is_marked_biased():
    estimate = World().score(World().row("a")).rows[0].table.metrics["ece"]
    assert estimate.method == "bias-corrected"
    assert "biased" in estimate.marks


def test_without_val_predictions_sens_at_spec_90_is_undefined_and_says_so():
    world = World()
    table = world.score(world.row("a", val=False)).rows[0].table.per_class["mel"]
    assert np.isnan(table["sens_at_spec_90"].value)
    assert table["sens_at_spec_90"].marks == ("no val predictions",)
    with_val = world.score(world.row("a")).rows[0].table.per_class["mel"]
    assert 0 < with_val["sens_at_spec_90"].low < with_val["sens_at_spec_90"].high <= 1


def test_without_the_val_of_one_seed_sens_at_spec_90_says_so_too():
    world = World(seeds=(0, 1))
    row = world.row("a", seeds=(0, 1))
    half = replace(
        row, val={training: one for training, one in row.val.items() if training.seed == 0}
    )
    table = world.score(half).rows[0].table.per_class["mel"]
    assert np.isnan(table["sens_at_spec_90"].value)
    assert table["sens_at_spec_90"].marks == ("no val predictions",)


def test_a_threshold_that_val_cannot_give_says_so():
    world = World()
    others = (world.dataset.labels != 1) & (world.roles.parts[:, 1] == 2)
    world.roles.parts[others, 1] = 0
    table = world.score(world.row("a")).rows[0].table.per_class
    assert table["mel"]["sens_at_spec_90"].marks == ("val holds no other class",)


def test_a_class_missing_from_a_fold_names_the_folds_of_its_mean():
    world = World()
    gone = (world.dataset.labels == 3) & (world.roles.parts[:, 1] == 3)
    world.roles.parts[gone, 1] = 0
    table = world.score(world.row("a")).rows[0].table
    assert "2 of 3 folds (0, 2)" in table.per_class["vasc"]["auc"].marks
    assert "2 of 3 folds (0, 2)" in table.per_class["vasc"]["ap"].marks
    assert "vasc: 2 of 3 folds (0, 2)" in table.metrics["macro_auc"].marks
    assert "vasc: 2 of 3 folds (0, 2)" in table.metrics["macro_ap"].marks
    assert not np.isnan(table.metrics["macro_auc"].value)
    assert all("folds" not in mark for mark in table.per_class["mel"]["auc"].marks)


def test_a_fold_of_one_class_alone_has_an_average_precision_and_no_auc():
    world = World()
    gone = (world.dataset.labels != 3) & (world.roles.parts[:, 1] == 3)
    world.roles.parts[gone, 1] = 0
    table = world.score(world.row("a")).rows[0].table
    assert "2 of 3 folds (0, 2)" in table.per_class["vasc"]["auc"].marks
    assert all("folds" not in mark for mark in table.per_class["vasc"]["ap"].marks)
    assert table.per_class["vasc"]["ap"].n == 180
    assert table.per_class["vasc"]["auc"].n == 160


def test_support_is_of_the_repeat_that_tests_most():
    world = World(repeats=2)
    gone = (world.dataset.labels == 3) & (world.roles.parts[:, 1] == 3)
    world.roles.parts[gone, 1] = 0
    table = world.score(world.row("a")).rows[0].table.per_class["vasc"]
    assert (table["support"].value, table["groups"].value) == (60, 30)


def test_a_class_missing_altogether_makes_macros_undefined_and_is_named():
    world = World()
    for column in range(3):
        gone = (world.dataset.labels == 3) & (world.roles.parts[:, column] == 3)
        world.roles.parts[gone, column] = 0
    board = world.score(world.row("a"), world.row("b"), *world.references())
    table = next(row for row in board.rows if row.name == "a").table
    assert np.isnan(table.metrics["balanced_accuracy"].value)
    for metric in ("balanced_accuracy", "macro_f1", "macro_auc_pooled", "macro_ap_pooled"):
        assert table.metrics[metric].marks == ("undefined: vasc",)
    for metric in ("macro_auc", "macro_ap"):
        assert "undefined: vasc" in table.metrics[metric].marks
    assert table.per_class["vasc"]["recall"].n == 0
    assert table.per_class["vasc"]["auc"].n == 0
    assert np.isnan(table.per_class["vasc"]["auc"].value)
    assert table.metrics["accuracy"].value > 0


def test_predictions_of_other_images_are_refused_with_row_and_slot():
    world = World()
    row = world.row("a")
    training = TrainingKey(0, 0, 1)
    one = row.test[training]
    fewer = Predictions(one.image_ids[1:], one.probs[1:], one.classes)
    with pytest.raises(PredictionError, match=r"row a, seed 0, repeat 0, fold 1 \(test\).*IMG_"):
        world.score(replace(row, test={**row.test, training: fewer}))
    swapped = {**row.test, training: row.test[TrainingKey(0, 0, 2)]}
    with pytest.raises(PredictionError, match=r"fold 1 \(test\): 80 images without prediction"):
        world.score(replace(row, test=swapped))
    with pytest.raises(PredictionError, match=r"fold 1 \(val\)"):
        world.score(replace(row, val={**row.val, training: row.val[TrainingKey(0, 0, 2)]}))


def test_predictions_of_other_classes_or_folds_are_refused():
    world = World()
    row = world.row("a")
    training = TrainingKey(0, 0, 0)
    one = row.test[training]
    renamed = Predictions(one.image_ids, one.probs, ("bkl", "mel", "vasc", "nv"))
    with pytest.raises(PredictionError, match="row a.*classes bkl, mel, vasc, nv"):
        world.score(replace(row, test={**row.test, training: renamed}))
    with pytest.raises(
        PredictionError, match="row a: predictions of folds that are not in the protocol"
    ):
        world.score(replace(row, test={**row.test, TrainingKey(0, 0, 3): one}))
    with pytest.raises(
        PredictionError, match="row a: predictions of folds that are not in the protocol"
    ):
        world.score(replace(row, test={**row.test, TrainingKey(0, 1, 0): one}))
    with pytest.raises(PredictionError, match="row empty: no predictions"):
        world.score(RowPredictions("empty", "empty", "trained", {}))
    with pytest.raises(PredictionError, match="rows with the same name: a"):
        world.score(row, row)


def test_roles_of_other_images_or_too_few_folds_are_refused():
    world = World()
    other = make_dataset(60)
    with pytest.raises(RolesError):
        score(world.protocol, other, world.roles, [world.row("a")], {})
    with pytest.raises(RolesError, match="3 fold columns.*needs 6"):
        score(make_protocol(repeats=2), world.dataset, world.roles, [world.row("a")], {})


def test_a_metric_that_is_none_is_refused():
    world = World()
    wrong = world.protocol.model_copy(update={"metrics": Metrics(primary="f2")})
    with pytest.raises(ProtocolError, match="f2"):
        score(wrong, world.dataset, world.roles, [world.row("a")], {})


@pytest.mark.parametrize(
    ("unit", "mark"),
    [
        ("patient", "few patients"),
        ("lesion", "few lesions"),
        ("group", "few groups"),
        ("image", "few groups"),
    ],
)
def test_the_mark_of_few_groups_names_the_unit_of_the_data(unit, mark):
    assert few_mark(unit) == mark


def test_class_counts_are_of_lesions_though_duplicates_join_groups():
    dataset = make_dataset()
    protocol = make_protocol()
    roles = make_roles(dataset, protocol)
    first, second = sorted(set(dataset.native_groups.tolist()))[:2]
    joined = np.where(roles.group_ids == second, first, roles.group_ids)
    facts = dataset_facts(dataset, replace(roles, group_ids=joined))
    assert (facts.units, facts.groups) == (120, 119)
    assert sum(facts.units_by_class.values()) == 120
    assert facts.size == "240 images of 120 lesions (119 groups)"
