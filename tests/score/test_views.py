"""Other views of the same predictions: averaged over lesions, two classes, another temperature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as oracle
from scipy.optimize import minimize_scalar

from bench.dataset import Dataset, Record
from bench.score.bootstrap import Plan
from bench.score.derived_rows import averaged, subset, temperatures, tempered, two_classes
from bench.score.join import build_cohort, join
from bench.score.metrics import keys, sensitive_thresholds, thresholds_from_val
from bench.score.row import read_row, score_run
from bench.score.row_report import unit_codes, unit_tables
from tests.score.cohorts import CLASSES, World, run_of


@pytest.fixture(scope="module")
def world():
    return World(lesions=240)


@pytest.fixture(scope="module")
def cohort(world):
    return build_cohort(world.protocol, world.dataset, world.roles)


@pytest.fixture(scope="module")
def run(world, cohort):
    row = world.row("a", skill=1.2)
    return join(row, list(row.test), cohort)


def values_of(run):
    return dict(zip(keys(run.classes), score_run(run).values, strict=True))


def test_lesions_are_scored_on_their_mean_probabilities(world, run):
    lesions = world.dataset.table["lesion_id"].to_numpy()
    frame = pd.DataFrame(run.probs).assign(lesion=lesions[run.place], truth=run.truth)
    means = frame.groupby("lesion").mean()
    predicted = means[[0, 1, 2, 3]].to_numpy().argmax(axis=1)
    own = averaged(run, np.unique(lesions, return_inverse=True)[1])
    found = values_of(own)
    truth = means["truth"].astype(int)
    assert len(own.truth) == world.dataset.table["lesion_id"].nunique()
    assert found["balanced_accuracy", None] == pytest.approx(
        oracle.balanced_accuracy_score(truth, predicted), abs=1e-12
    )
    assert found["macro_f1", None] == pytest.approx(
        oracle.f1_score(truth, predicted, average="macro"), abs=1e-12
    )


def test_thresholds_of_lesions_come_from_lesions_of_val(world, run):
    lesions = np.unique(world.dataset.table["lesion_id"], return_inverse=True)[1]
    own = averaged(run, lesions)
    part = run.val[0]
    means = pd.DataFrame(part.probs).groupby(lesions[part.place]).mean().to_numpy()
    truth = pd.Series(part.truth).groupby(lesions[part.place]).first().to_numpy()
    assert own.thresholds[0] == pytest.approx(thresholds_from_val(truth, means))


def test_a_unit_of_one_image_each_changes_nothing(run):
    alone = averaged(run, np.arange(run.place.max() + 1))
    assert values_of(alone) == pytest.approx(values_of(run), nan_ok=True)


def test_probabilities_of_two_classes_sum_to_one():
    """Of float32 they come near it only."""
    run = run_of([0, 1, 2], np.array([[0.5, 0.3, 0.1]] * 3))
    assert two_classes(run, [1]).probs.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert two_classes(run, [1]).probs[0, 1] == pytest.approx(1 / 3)


def test_a_unit_in_two_folds_stays_two_items():
    """Patients may be in two folds where lesions are what is kept together."""
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    run = run_of([0, 0, 0], probs, fold=np.array([0, 1, 1]))
    items = averaged(replace(run, place=np.arange(3)), np.zeros(3, dtype=int))
    assert items.fold.tolist() == [0, 1]
    assert items.probs[:, 0] == pytest.approx([0.9, 0.45])


def test_a_patient_of_two_diagnoses_counts_once_for_each():
    labels = ["mel", "mel", "nv", "nv"]
    records = [
        Record(f"I{i}", label, lesion_id=f"L{label}", patient_id="P")
        for i, label in enumerate(labels)
    ]
    dataset = Dataset.from_records("two", ("mel", "nv"), records)
    world = World()
    row = world.row("a")
    run = join(row, list(row.test), build_cohort(world.protocol, world.dataset, world.roles))
    chosen = np.arange(len(run.truth)) < 4
    mine = replace(
        subset(run, chosen),
        truth=dataset.labels,
        place=np.arange(4),
        fold=np.zeros(4, dtype=int),
        val={},
    )
    items = averaged(mine, np.zeros(4, dtype=int))
    assert items.truth.tolist() == [0, 1]
    assert items.probs[0] == pytest.approx(mine.probs[:2].mean(axis=0))


def test_only_units_that_the_data_names_are_shown(world, cohort):
    row = read_row(world.row("a"), world.protocol, cohort)
    plan = Plan(cohort.groups, 64, 1)
    tables = unit_tables(row, unit_codes(world.dataset), cohort, plan, world.protocol.interval)
    assert [table.unit for table in tables] == ["lesion"]
    assert tables[0].units == tables[0].items == 240
    assert tables[0].table.metrics["accuracy"].n == 240


def test_images_without_a_lesion_are_units_of_their_own():
    records = [
        Record(f"I{i}", "nv", lesion_id=lesion) for i, lesion in enumerate(["L", "L", None, None])
    ]
    codes = unit_codes(Dataset.from_records("some", ("nv",), records))["lesion"]
    assert codes[0] == codes[1]
    assert len(set(codes.tolist())) == 3


def test_units_that_are_never_tested_are_not_counted(world, cohort):
    row = read_row(world.row("a"), world.protocol, cohort)
    part = subset(row.counted[0].run, row.counted[0].run.fold == 1)
    row = replace(row, counted=(score_run(part),))
    plan = Plan(cohort.groups, 64, 1)
    (table,) = unit_tables(row, unit_codes(world.dataset), cohort, plan, world.protocol.interval)
    assert table.units == table.items == 80


def test_two_classes_join_their_probabilities(run):
    pair = two_classes(run, [1, 3])
    truth = np.isin(run.truth, [1, 3])
    scores = run.probs[:, [1, 3]].sum(axis=1)
    found = values_of(pair)
    by_fold = [
        oracle.roc_auc_score(truth[run.fold == fold], scores[run.fold == fold]) for fold in range(3)
    ]
    assert found["auc", 1] == pytest.approx(np.mean(by_fold), abs=1e-12)
    assert found["auc_pooled", 1] == pytest.approx(oracle.roc_auc_score(truth, scores), abs=1e-12)
    assert found["recall", 1] == pytest.approx(oracle.recall_score(truth, scores > 0.5))


def test_thresholds_of_two_classes_come_from_two_classes_of_val(run):
    pair = two_classes(run, [1, 3])
    for fold, part in run.val.items():
        negative = ~np.isin(part.truth, [1, 3])
        scores = np.sort(part.probs[negative][:, [1, 3]].sum(axis=1))
        least = next(one for one in scores if (scores <= one).mean() >= 0.9)
        assert pair.thresholds[fold, 1] == pytest.approx(least, abs=1e-6)


@pytest.mark.parametrize("positive", [(0, 1, 3), (3, 0, 1), (1, 3, 0)])
def test_ties_of_joined_classes_are_no_matter_of_rounding(positive):
    """Tenths as float32: summed in another order they differ in their last bits."""
    rng = np.random.default_rng(0)
    tenths = rng.multinomial(10, [0.2, 0.3, 0.3, 0.2], 400)
    truth = rng.integers(0, 4, 400)
    run = run_of(truth, (tenths / 10).astype(np.float32).astype(np.float64))
    pair = two_classes(run, positive)
    score = tenths[:, list(positive)].sum(axis=1)
    assert len(np.unique(pair.probs[:, 1])) == len(np.unique(score))
    expected = oracle.roc_auc_score(np.isin(truth, positive), score)
    assert values_of(pair)["auc", 1] == pytest.approx(expected, abs=1e-15)


def test_ties_of_averaged_lesions_are_no_matter_of_rounding():
    rng = np.random.default_rng(1)
    tenths = rng.multinomial(10, [0.3, 0.3, 0.4], 300)
    lesion, place = np.arange(300) // 3, np.arange(300)
    probs = (tenths / 10).astype(np.float32).astype(np.float64)
    run = replace(run_of(np.repeat(rng.integers(0, 3, 100), 3), probs), place=place)
    own = averaged(run, lesion)
    sums = tenths.reshape(100, 3, 3).sum(axis=1)
    for code in range(3):
        assert len(np.unique(own.probs[:, code])) == len(np.unique(sums[:, code]))


def test_the_temperature_is_that_of_scipys_optimum_on_val(run):
    found = temperatures(run)
    for fold, part in run.val.items():

        def loss(log_t, part=part):
            logits = np.log(part.probs) / np.exp(log_t)
            return oracle.log_loss(
                part.truth,
                np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
                labels=range(4),
            )

        best = minimize_scalar(loss, bracket=(-1, 1))
        assert np.log(found[fold]) == pytest.approx(best.x, abs=1e-4)
    calibrated = tempered(run, found)
    assert np.array_equal(calibrated.predicted, run.predicted)
    fold = run.fold == 1
    logits = np.log(run.probs[fold]) / found[1]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert calibrated.probs[fold] == pytest.approx(expected, abs=1e-9)


def test_without_the_val_of_one_fold_there_is_no_temperature(run):
    part = {fold: val for fold, val in run.val.items() if fold}
    assert np.isnan(temperatures(replace(run, val=part))).all()


def test_thresholds_keep_their_promise_on_the_images_they_were_chosen_from():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, len(CLASSES), rng.integers(5, 60))
        probs = np.round(rng.dirichlet(np.ones(4), len(truth)), rng.integers(1, 4))
        for percent in (90, 95):
            for code in np.unique(truth):
                own = truth == code
                if own.all():
                    continue
                high = thresholds_from_val(truth, probs, percent)[code]
                assert (probs[~own, code] <= high).mean() >= percent / 100
                low = sensitive_thresholds(truth, probs, percent)[code]
                assert (probs[own, code] > low).mean() >= percent / 100
                lower = np.sort(probs[~own, code])
                if (less := lower[lower < high]).size:
                    assert (probs[~own, code] <= less.max()).mean() < percent / 100
                more = probs[own, code][probs[own, code] > low].min()
                assert (probs[own, code] > more).mean() < percent / 100
