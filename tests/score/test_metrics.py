"""Every metric against scikit-learn with sample weights, torchmetrics, and definitions by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as oracle
from torchmetrics.functional.classification import multiclass_calibration_error

from bench.errors import ProtocolError
from bench.score.metrics import (
    IMAGE_METRICS,
    confidence_bins,
    higher_is_better,
    refuse_unknown,
    thresholds_from_val,
)
from tests.score.cohorts import make_run, run_of, weighted


def by_scikit_learn(run, weights):
    """What scikit-learn makes of the same images, each weighted as its group."""
    truth, predicted, probs = run.truth, run.predicted, run.probs
    weight = weights[run.group].astype(float)
    labels = np.arange(run.classes)
    given = {"sample_weight": weight, "labels": labels}
    recall = oracle.recall_score(truth, predicted, average=None, **given, zero_division=np.nan)
    precision = oracle.precision_score(
        truth, predicted, average=None, **given, zero_division=np.nan
    )
    f1 = oracle.f1_score(truth, predicted, average=None, **given, zero_division=np.nan)
    found = {
        ("accuracy", None): oracle.accuracy_score(truth, predicted, sample_weight=weight),
        ("balanced_accuracy", None): recall.mean(),
        ("macro_f1", None): f1.mean(),
        ("weighted_f1", None): oracle.f1_score(
            truth, predicted, average="weighted", **given, zero_division=0
        ),
        ("mcc", None): oracle.matthews_corrcoef(truth, predicted, sample_weight=weight),
        ("kappa", None): oracle.cohen_kappa_score(truth, predicted, **given),
        ("log_loss", None): oracle.log_loss(truth, probs, **given),
        ("brier", None): oracle.brier_score_loss(truth, probs, **given, scale_by_half=False),
    }
    for code in labels:
        own = truth == code
        flags = {"sample_weight": weight, "zero_division": np.nan}
        found["recall", code] = recall[code]
        found["precision", code] = precision[code]
        found["f1", code] = f1[code]
        found["specificity", code] = oracle.recall_score(~own, predicted != code, **flags)
        found["npv", code] = oracle.precision_score(~own, predicted != code, **flags)
        above = probs[:, code] > run.thresholds[run.fold, code]
        found["sens_at_spec_90", code] = oracle.recall_score(own, above, **flags)
        found["auc_pooled", code] = rank_score(oracle.roc_auc_score, own, probs[:, code], weight)
        found["ap_pooled", code] = rank_score(
            oracle.average_precision_score, own, probs[:, code], weight
        )
        for name, score in (("auc", oracle.roc_auc_score), ("ap", oracle.average_precision_score)):
            folds = [run.fold == fold for fold in range(run.folds)]
            scores = [
                rank_score(score, own[here], probs[here, code], weight[here]) for here in folds
            ]
            defined = [one for one in scores if not math.isnan(one)]
            found[name, code] = float(np.mean(defined)) if defined else math.nan
    for macro, name in (
        ("macro_auc", "auc"),
        ("macro_ap", "ap"),
        ("macro_auc_pooled", "auc_pooled"),
        ("macro_ap_pooled", "ap_pooled"),
    ):
        found[macro, None] = np.mean([found[name, code] for code in labels])
    return found


def rank_score(score, own, scores, weight):
    """scikit-learn's value; NaN where a side is missing."""
    present = weight > 0
    if not own[present].any() or (score is oracle.roc_auc_score and own[present].all()):
        return math.nan
    return score(own[present], scores[present], sample_weight=weight[present])


def assert_equal(run, weights):
    ours = weighted(run, weights)
    theirs = by_scikit_learn(run, weights)
    assert set(ours) - set(theirs) == {("ece", None)}
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, abs=1e-12, nan_ok=True), key


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("decimals", [None, 2, 1], ids=["distinct", "some ties", "many ties"])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn_with_group_weights(decimals, seed):
    run = make_run(seed=seed, decimals=decimals)
    assert_equal(run, np.ones(run.groups, dtype=int))
    weights = np.random.default_rng(seed).poisson(1, run.groups)
    assert_equal(run, weights)


@pytest.mark.usefixtures("kernels")
def test_a_resample_equals_the_images_written_out_as_often_as_they_were_drawn():
    run = make_run(seed=4, decimals=1)
    weights = np.random.default_rng(4).poisson(1, run.groups)
    copies = np.repeat(np.arange(len(run.truth)), weights[run.group])
    repeated = run_of(
        run.truth[copies],
        run.probs[copies],
        fold=run.fold[copies],
        thresholds=run.thresholds,
    )
    ours = weighted(run, weights)
    for key, value in weighted(repeated, np.ones(len(copies), dtype=int)).items():
        assert ours[key] == pytest.approx(value, abs=1e-12), key


@pytest.mark.usefixtures("kernels")
def test_precisions_of_a_long_ranking_equal_scikit_learn():
    """Their fractions are summed over one bottom, which would not hold a thousand factors."""
    run = make_run(images=3000, groups=1000, classes=2, folds=1)
    found = weighted(run, np.full(1000, 2))
    theirs = oracle.average_precision_score(run.truth == 1, run.probs[:, 1])
    assert found["ap", 1] == pytest.approx(theirs, abs=1e-12)
    assert found["ap_pooled", 1] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.usefixtures("kernels")
def test_a_class_absent_from_one_fold_is_averaged_over_the_other_folds():
    run = make_run(seed=5)
    keep = ~((run.truth == 2) & (run.fold == 1))
    lost = run_of(
        run.truth[keep],
        run.probs[keep],
        fold=run.fold[keep],
        group=run.group[keep],
        thresholds=run.thresholds,
    )
    assert_equal(lost, np.ones(lost.groups, dtype=int))


@pytest.mark.usefixtures("kernels")
def test_an_absent_class_is_undefined_and_so_is_every_macro():
    run = make_run(seed=6)
    keep = run.truth != 3
    lost = run_of(run.truth[keep], run.probs[keep], group=run.group[keep], fold=run.fold[keep])
    found = weighted(lost, np.ones(lost.groups, dtype=int))
    assert not math.isnan(found["precision", 3])  # it is called, and wrongly each time
    for metric in ("recall", "f1", "auc", "ap", "auc_pooled", "ap_pooled"):
        assert math.isnan(found[metric, 3])
        assert not math.isnan(found[metric, 0])
    for metric in ("balanced_accuracy", "macro_f1", "macro_auc", "macro_ap", "macro_auc_pooled"):
        assert math.isnan(found[metric, None])
    assert found["accuracy", None] == pytest.approx(
        (lost.predicted == lost.truth).mean(), abs=1e-15
    )


def test_an_absent_class_has_no_weight_in_weighted_f1():
    run = make_run(seed=6)
    keep = run.truth != 3
    lost = run_of(run.truth[keep], run.probs[keep], group=run.group[keep], fold=run.fold[keep])
    found = weighted(lost, np.ones(lost.groups, dtype=int))["weighted_f1", None]
    theirs = oracle.f1_score(lost.truth, lost.predicted, average="weighted", zero_division=0)
    assert found == pytest.approx(theirs, abs=1e-12)


@pytest.mark.usefixtures("kernels")
def test_constant_scores_give_chance_and_the_first_class():
    probs = np.full((40, 4), 0.25)
    found = weighted(run_of(np.arange(40) % 4, probs), np.ones(40, dtype=int))
    assert found["auc", 1] == 0.5
    assert found["ap", 1] == 0.25
    assert found["recall", 0] == 1
    assert found["recall", 1] == 0
    assert math.isnan(found["precision", 1])
    assert math.isnan(found["mcc", None])
    assert found["kappa", None] == 0


@pytest.mark.usefixtures("kernels")
def test_perfect_scores_reach_the_ends_of_every_range():
    truth = np.arange(60) % 4
    probs = (
        np.eye(4)[truth] * 0.6 + 0.1 + np.linspace(0, 1e-3, 60)[:, None] * (np.eye(4)[truth] - 0.25)
    )
    found = weighted(run_of(truth, probs), np.arange(60) % 3)
    for metric in ("accuracy", "macro_f1", "mcc", "kappa", "macro_auc", "macro_ap"):
        assert found[metric, None] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_ece_equals_torchmetrics(seed):
    import torch

    run = make_run(seed=seed, images=500, groups=200)
    weights = np.random.default_rng(seed).poisson(1, run.groups)
    copies = np.repeat(np.arange(len(run.truth)), weights[run.group])
    theirs = multiclass_calibration_error(
        torch.from_numpy(run.probs[copies]),
        torch.from_numpy(run.truth[copies]),
        num_classes=run.classes,
        n_bins=15,
    )
    assert weighted(run, weights)["ece", None] == pytest.approx(float(theirs), abs=1e-6)


def test_confidence_bins_hold_their_upper_edge():
    edges = np.linspace(0, 1, 16)[1:]
    assert confidence_bins(edges).tolist() == list(range(15))
    assert confidence_bins(np.array([0.5, 1.0])).tolist() == [7, 14]


def test_log_loss_of_a_certain_error_is_finite_as_in_scikit_learn():
    probs = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = weighted(run_of([0, 1], probs), np.ones(2, dtype=int))
    theirs = oracle.log_loss([0, 1], probs, labels=[0, 1])
    assert found["log_loss", None] == pytest.approx(theirs, abs=1e-12)
    assert found["brier", None] == 1


@pytest.mark.parametrize("negatives", [1, 9, 10, 11, 30, 57])
def test_the_threshold_is_the_roc_curves_best_point_at_90_percent(negatives):
    rng = np.random.default_rng(negatives)
    truth = np.repeat([0, 1], [negatives, 20])
    score = np.round(rng.uniform(size=len(truth)) + 0.2 * truth, 2)
    probs = np.stack([-score, score], axis=1)
    threshold = thresholds_from_val(truth, probs)[1]
    predicted = score > threshold
    fpr, tpr, _ = oracle.roc_curve(truth, score, drop_intermediate=False)
    assert predicted[truth == 0].mean() <= 0.1 + 1e-12
    assert predicted[truth == 1].mean() == tpr[fpr <= 0.1 + 1e-12].max()


def test_a_class_without_val_negatives_has_no_threshold():
    found = thresholds_from_val(np.array([1, 1]), np.full((2, 2), 0.5))
    assert math.isnan(found[1])
    assert found[0] == 0.5


def test_without_thresholds_the_sensitivity_is_undefined():
    run = make_run(seed=7)
    run.thresholds[1, 2] = np.nan
    found = weighted(run, np.ones(run.groups, dtype=int))
    assert math.isnan(found["sens_at_spec_90", 2])
    assert not math.isnan(found["sens_at_spec_90", 1])


def test_an_image_at_its_classes_threshold_is_not_caught():
    probs = np.array([[0.5, 0.5], [0.4, 0.6]])
    run = run_of([1, 1], probs, thresholds=np.array([[0.5, 0.5]]))
    found = weighted(run, np.ones(2, dtype=int))
    assert found["sens_at_spec_90", 1] == 0.5


@pytest.mark.parametrize(
    "metric",
    ["log_loss", "brier", "ece", "classwise_ece", "brier_reliability", "cost", "cost_aware"],
)
def test_of_losses_costs_and_calibration_errors_less_is_better(metric):
    assert not higher_is_better(metric)
    assert higher_is_better("brier_resolution")


def test_an_unknown_metric_is_refused_by_name():
    refuse_unknown(IMAGE_METRICS)
    with pytest.raises(ProtocolError, match="macro_f2"):
        refuse_unknown(("macro_f1", "macro_f2"))
