"""Subgroups: who is in which, what is said of small ones, and gaps corrected for being picked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as oracle

from bench.dataset import Dataset, Record
from bench.leaderboard import Estimate, Subgroup
from bench.score.bootstrap import DrawnOnce
from bench.score.derived_rows import two_classes
from bench.score.join import build_cohort, join
from bench.score.row import FEW_GROUPS
from bench.score.subgroups import (
    MALIGNANT,
    TOO_FEW,
    _gaps,
    _Part,
    attributes,
    max_t,
    subgroups,
    unsplit,
)
from tests.score.cohorts import World


def dressed(dataset, **columns):
    return replace(dataset, table=dataset.table.assign(**columns))


@pytest.fixture(scope="module")
def world():
    world = World(lesions=400, resamples=200)
    lesion = np.arange(len(world.dataset)) // 2
    world.dataset = dressed(
        world.dataset,
        sex=np.where(lesion % 10 < 5, "female", "male"),
        age=np.where(lesion < 30, 15.0, np.where(lesion < 200, 45.0, np.nan)),
        source="one",
        localization=np.where(world.dataset.labels == 3, "back", "face"),
    )
    return world


@pytest.fixture(scope="module")
def run(world):
    row = world.row("a", skill=1.0)
    return join(row, list(row.test), build_cohort(world.protocol, world.dataset, world.roles))


@pytest.fixture(scope="module")
def found(world, run):
    plan = DrawnOnce(run.groups, 200, 1)
    known = attributes(world.dataset)
    return subgroups([run], [two_classes(run, [1])], known, plan, world.protocol.interval)


def test_ages_are_put_in_bands_and_missing_ones_kept_apart():
    ages = [0, 19.5, 20, 79, 80, 95, np.nan]
    records = [Record(f"I{i}", "nv", age=age) for i, age in enumerate(ages)]
    dataset = Dataset.from_records("ages", ("nv",), records)
    assert attributes(dataset)["age"].tolist() == [
        "0 to 19",
        "0 to 19",
        "20 to 39",
        "60 to 79",
        "80 or more",
        "80 or more",
        "not stated",
    ]


def test_each_subgroups_numbers_are_those_of_its_images(world, run, found):
    sex = world.dataset.table["sex"].to_numpy()[run.place]
    for group in found[0]:
        if group.attribute == "sex":
            own = sex == group.value
            accuracy = oracle.accuracy_score(run.truth[own], run.predicted[own])
            assert group.metrics["accuracy"].value == pytest.approx(accuracy, abs=1e-12)
            assert group.metrics["balanced_accuracy"].value == pytest.approx(
                oracle.balanced_accuracy_score(run.truth[own], run.predicted[own]), abs=1e-12
            )
            assert group.metrics["accuracy"].n == group.images == own.sum()
            assert group.metrics["accuracy"].low < accuracy < group.metrics["accuracy"].high
    assert {g.value for g in found[0] if g.attribute == "sex"} == {"female", "male"}


def test_of_fewer_than_fifty_groups_nothing_is_said(found):
    young = next(g for g in found[0] if g.value == "0 to 19")
    assert (young.groups, young.too_few, dict(young.metrics)) == (30, True, {})
    assert not [gap for gap in found[1] if "0 to 19" in (gap.worst, gap.best)]


@pytest.mark.parametrize(("lesions", "few"), [(49, True), (50, False)])
def test_fifty_groups_are_enough_to_be_spoken_of(world, run, lesions, few):
    lesion = np.arange(len(world.dataset)) // 2
    known = {"sex": pd.Categorical(np.where(lesion < lesions, "female", "male"))}
    plan = DrawnOnce(run.groups, 64, 1)
    (female, _), gaps = subgroups([run], [], known, plan, world.protocol.interval)
    assert (female.groups, female.too_few) == (lesions, few)
    assert bool(gaps) != few


def test_a_class_average_is_undefined_where_a_class_is_absent(found):
    back = next(g for g in found[0] if g.value == "back")
    for metric in ("macro_f1", "balanced_accuracy", "macro_auc"):
        assert np.isnan(back.metrics[metric].value)
        assert back.metrics[metric].n == 200
        assert "3 classes absent" in back.metrics[metric].marks[0]
    assert np.isfinite(back.metrics["accuracy"].value)
    assert not [g for g in found[1] if g.metric == "macro_f1" and g.attribute == "localization"]


def test_attributes_that_split_nothing_say_why(world):
    why = unsplit(attributes(world.dataset))
    assert why["source"] == "the same in all images: one"
    assert why["dx_type"] == "not in the metadata"
    assert why["image_size"] == "not looked up: report --image-sizes reads it from the files"


def test_sizes_that_few_groups_have_are_one_subgroup():
    sizes = ["600x450"] * 50 + ["640x480"] * 49 + ["1024x1024"] * 80
    lesions = [f"L{i}" for i in range(99)] + [f"L{100 + i // 2}" for i in range(80)]
    records = [
        Record(f"I{i:03}", "nv", lesion_id=lesion, image_size=size)
        for i, (lesion, size) in enumerate(zip(lesions, sizes, strict=True))
    ]
    dataset = Dataset.from_records("sizes", ("nv",), records)
    assert attributes(dataset)["image_size"].tolist() == ["600x450"] * 50 + ["other sizes"] * 129


def test_a_gap_names_the_worst_and_lies_within_its_interval(found):
    for gap in found[1]:
        values = {
            g.value: g.metrics[gap.metric].value
            for g in found[0]
            if g.attribute == gap.attribute and not g.too_few
        }
        values = {key: value for key, value in values.items() if key not in gap.left_out}
        spread = values[gap.best] - values[gap.worst]
        if gap.metric == "brier":
            spread = -spread
        assert spread == pytest.approx(gap.difference.value)
        assert gap.difference.value == pytest.approx(max(values.values()) - min(values.values()))
        assert gap.difference.low < gap.difference.value < gap.difference.high
        assert gap.pairs >= 1


def test_a_gap_counts_the_pairs_of_all_attributes(found):
    values = {}
    for group in found[0]:
        if not group.too_few:
            values.setdefault(group.attribute, []).append(group.value)
    pairs = sum(len(each) * (len(each) - 1) // 2 for each in values.values())
    counted = {gap.pairs for gap in found[1] if gap.metric == "accuracy"}
    assert counted == {pairs} == {3}


def test_of_few_malignant_lesions_nothing_is_said_and_nothing_enters_a_gap(world, run, found):
    """Of a class of a few hundred images, some subgroups hold fewer than fifty lesions."""
    unsaid = said = 0
    for group in found[0]:
        mine = attributes(world.dataset)[group.attribute][run.place] == group.value
        malignant = mine & np.isin(run.truth, [1])
        few = len(np.unique(run.group[malignant])) < FEW_GROUPS
        for name in MALIGNANT:
            one = group.metrics.get(name)
            if one is None:
                continue
            assert np.isfinite(one.value) != few
            assert (TOO_FEW in one.marks) == few
            own = [
                gap for gap in found[1] if (gap.attribute, gap.metric) == (group.attribute, name)
            ]
            assert not few or all(group.value not in (gap.worst, gap.best) for gap in own)
            unsaid, said = unsaid + few, said + (not few)
            if name == "malignant_sensitivity":
                assert one.n == malignant.sum()  # of all malignant images, not of the subgroup
    assert unsaid
    assert said


@pytest.mark.parametrize(
    ("metric", "widest", "worst"), [("accuracy", 1.0, "old"), ("brier", 2.0, "young")]
)
def test_a_gap_is_no_wider_than_its_metric(metric, widest, worst):
    parts = [
        _Part(
            Subgroup(
                "age", name, 60, 60, too_few=False, metrics={metric: Estimate(widest * value)}
            ),
            {metric: widest * replicates},
        )
        for name, value, replicates in (
            ("old", 0.02, np.tile([0.0, 0.2], 50)),
            ("young", 0.98, np.tile([0.8, 1.0], 50)[::-1]),
        )
    ]
    (gap,) = _gaps(parts, metric, 0.95)
    assert (gap.worst, gap.difference.high) == (worst, widest)
    assert 0 < gap.difference.low < gap.difference.value == pytest.approx(0.96 * widest)


def test_a_subgroup_too_often_undefined_is_left_out_of_a_gap_by_name():
    rng = np.random.default_rng(0)
    rarely = rng.normal(0.5, 0.05, 1000)
    often = rarely - 0.4
    rarely[:9], often[:10] = np.nan, np.nan
    parts = [
        _Part(
            Subgroup(
                "age", name, 60, 60, too_few=False, metrics={"macro_f1": Estimate(value, n=n)}
            ),
            {"macro_f1": replicates},
        )
        for name, value, n, replicates in (
            ("child", 0.1, 5, often),
            ("young", 0.5, 7, rarely),
            ("old", 0.4, 11, rarely - 0.1),
        )
    ]
    (gap,) = _gaps(parts, "macro_f1", 0.95)
    assert (gap.worst, gap.best, gap.left_out, gap.pairs) == ("old", "young", ("child",), 1)
    assert gap.difference.n == 18  # the metric's own denominators


def test_calibration_errors_of_subgroups_are_marked_biased(found):
    errors = [g.metrics["ece"] for g in found[0] if not g.too_few]
    assert errors
    assert all("biased" in one.marks for one in errors)
    assert not any("biased" in g.metrics["brier"].marks for g in found[0] if not g.too_few)


def test_max_t_of_one_pair_is_about_a_normal_interval():
    rng = np.random.default_rng(0)
    replicates = rng.normal(0.3, 0.1, (1, 20_000))
    critical, spread = max_t(np.array([0.3]), replicates, 0.95)
    assert critical == pytest.approx(1.96, abs=0.03)
    assert spread[0] == pytest.approx(0.1, rel=0.02)


def test_max_t_of_many_independent_pairs_is_sidaks():
    rng = np.random.default_rng(0)
    replicates = rng.normal(0, 1, (20, 40_000))
    critical, _ = max_t(np.zeros(20), replicates, 0.95)
    assert critical == pytest.approx(3.016, abs=0.04)  # normal quantile of (1 + 0.95**(1/20)) / 2


def test_a_picked_gap_that_is_chance_is_called_beyond_chance_rarely():
    """Six equal subgroups, 200 data sets: the largest of 15 gaps is seldom called real."""
    rng = np.random.default_rng(1)
    predicted = 0
    for _ in range(200):
        wrong = [rng.random(100) < 0.3 for _ in range(6)]
        means = np.array([one.mean() for one in wrong])
        replicates = np.stack([rng.choice(one, (400, 100)).mean(axis=1) for one in wrong])
        pairs = [(a, b) for a in range(6) for b in range(a)]
        points = np.array([means[a] - means[b] for a, b in pairs])
        apart = np.stack([replicates[a] - replicates[b] for a, b in pairs])
        critical, spread = max_t(points, apart, 0.95)
        predicted += bool((np.abs(points) > critical * spread).any())
    assert predicted <= 20
