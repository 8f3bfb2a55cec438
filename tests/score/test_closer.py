"""What a row's page adds, against scikit-learn, torchmetrics and definitions written out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from bench.errors import DataError
from bench.protocol import Interval
from bench.score.bootstrap import DrawnOnce, Plan
from bench.score.calibration import BINS, calibration, equal_mass_bins
from bench.score.derived_rows import subset, tempered, two_classes
from bench.score.join import Val
from bench.score.metric_sums import EstimateSpec, MetricSums, estimates, resampled
from bench.score.metrics import (
    brier_scores,
    confidence_bins,
    ratio,
    sensitive_thresholds,
    thresholds_from_val,
)
from bench.score.row_report import (
    confusion_shares,
    expected_costs,
    parse_costs,
    partial_auc,
    top_two,
)
from bench.score.thresholds import (
    THRESHOLDS,
    decision_curve,
    operating_points,
    rank_curves,
    risk_coverage,
)
from tests.score.cohorts import drawn_weights, make_run

INTERVAL = Interval(resamples=200)
LABELS = ("a", "b", "c", "d")


@pytest.fixture(scope="module", params=[None, 1])
def run(request):
    return make_run(images=600, groups=200, decimals=request.param)


@pytest.fixture(scope="module")
def plan(run):
    return DrawnOnce(run.groups, 200, 5)


@pytest.fixture(scope="module")
def found(run, plan):
    return calibration([run], LABELS, [two_classes(run, [1])], plan, INTERVAL, tempered=False)


def test_resamples_of_a_ledger_are_those_of_its_groups_weights(run):
    weights = drawn_weights(run.groups, 70, 5).astype(float)
    value = run.probs[:, 0]
    metric_sums = MetricSums(run.groups, 4, run.group, run.truth, 3, run.group, run.fold, value)
    replicates = resampled([metric_sums], lambda sums: sums, Plan(run.groups, 70, 5))
    for at in range(70):
        per_image = weights[run.group, at]
        assert replicates[:4, at].tolist() == np.bincount(run.truth, per_image, 4).tolist()
        assert replicates[4:, at] == pytest.approx(np.bincount(run.fold, per_image * value, 3))


def test_what_is_drawn_once_is_what_is_drawn_each_time():
    once, anew = DrawnOnce(50, 200, 3), Plan(50, 200, 3)
    for first, count in ((0, 200), (64, 100), (128, 72)):
        kept = [batch.copy() for batch in once.batches(first, count)]
        replicates = [batch.copy() for batch in anew.batches(first, count)]
        assert np.array_equal(kept, replicates)


def test_a_proportions_bca_interval_is_the_engines_own(run, plan):
    from bench.score.bootstrap import accelerations, distributions, sort_scores
    from bench.score.row import interval_of, score_run

    right = (run.predicted == run.truth).astype(int)
    (mine,) = estimates(
        [MetricSums(run.groups, 2, run.group, right)],
        lambda sums: ratio(sums[1], sums.sum(axis=0))[None],
        [EstimateSpec("accuracy", len(right), run.groups, "lesion")],
        plan,
        INTERVAL,
    )
    scored = score_run(run)
    replicates = distributions([[sort_scores(run)]], plan)[0][0]
    pull = accelerations([run], [scored.sums])[0]
    low, high, method = interval_of("accuracy", scored.values[0], replicates, pull, 200, INTERVAL)
    assert (mine.value, mine.method) == (scored.values[0], method)
    assert (mine.low, mine.high) == pytest.approx((low, high), abs=1e-12)


def test_calibration_errors_are_torchmetrics_own(run, found):
    probs, truth = torch.tensor(run.probs), torch.tensor(run.truth)
    top = multiclass_calibration_error(probs, truth, num_classes=4, n_bins=BINS, norm="l1")
    by_class = [
        binary_calibration_error(
            probs[:, code].contiguous(), (truth == code).int(), n_bins=BINS, norm="l1"
        )
        for code in range(4)
    ]
    # torchmetrics bins in float32, so a probability that ends in .x may fall on the other side
    slack = 1e-6 if len(np.unique(run.probs)) > 1000 else 0.02
    assert found.metrics["ece"].value == pytest.approx(float(top), abs=slack)
    for label, expected in zip(LABELS, by_class, strict=True):
        assert found.by_class[label].value == pytest.approx(float(expected), abs=slack)
    mean = np.mean([one.value for one in found.by_class.values()])
    assert found.metrics["classwise_ece"].value == pytest.approx(mean)


def test_ece_of_equal_mass_is_its_definition(run, found):
    top = run.probs.max(axis=1)
    bins = equal_mass_bins(top)
    right = run.predicted == run.truth
    expected = sum(
        abs(top[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    )
    assert found.metrics["ece_equal_mass"].value == pytest.approx(expected, abs=1e-12)
    if len(np.unique(top)) == len(top):
        assert set(np.bincount(bins)) == {600 // BINS}


def test_the_brier_score_falls_into_reliability_resolution_and_uncertainty(run, found):
    one_hot = np.eye(4)[run.truth]
    binned = 0.0
    for code in range(4):
        bins = confidence_bins(run.probs[:, code])
        means = np.array([run.probs[bins == b, code].mean() for b in bins])
        binned += ((means - one_hot[:, code]) ** 2).mean()
    part = {
        name: found.metrics[f"brier_{name}"].value
        for name in ("reliability", "resolution", "uncertainty")
    }
    assert part["reliability"] - part["resolution"] + part["uncertainty"] == pytest.approx(
        # outcomes vary within a bin around their own mean: that is in the binned score as well
        binned,
        abs=1e-12,
    )
    shares = one_hot.mean(axis=0)
    assert part["uncertainty"] == pytest.approx((shares * (1 - shares)).sum())
    expected = sum(oracle.brier_score_loss(one_hot[:, c], run.probs[:, c]) for c in range(4))
    assert found.metrics["brier"].value == pytest.approx(expected, abs=1e-12)
    assert found.metrics["brier"].value == pytest.approx(brier_scores(run.truth, run.probs).mean())


def test_the_reliability_curve_is_scikit_learns(run, found):
    pair = two_classes(run, [1])
    right, mean = calibration_curve(pair.truth, pair.probs[:, 1], n_bins=BINS)
    if len(np.unique(run.probs)) > 1000:  # scikit-learn's bins are [lower, upper)
        assert [point.x for point in found.malignant] == pytest.approx(mean.tolist())
        assert [point.y for point in found.malignant] == pytest.approx(right.tolist())
    assert sum(point.n for point in found.malignant) == 600
    assert sum(point.n for point in found.reliability) == 600
    assert all(point.low <= point.high for point in found.reliability)


def test_net_benefit_is_its_definition(run, plan):
    pair = two_classes(run, [1])
    curve = decision_curve([pair], [], plan, 0.95)
    acts, truth = pair.probs[:, 1], pair.truth == 1
    for point, everyone, gain in zip(curve.model, curve.treat_all, curve.advantage, strict=True):
        odds = point.x / (1 - point.x)
        acted = acts >= point.x
        expected = (acted & truth).mean() - (acted & ~truth).mean() * odds
        assert point.y == pytest.approx(expected, abs=1e-12)
        assert everyone.y == pytest.approx(truth.mean() - (~truth).mean() * odds, abs=1e-12)
        assert gain.y == pytest.approx(expected - max(everyone.y, 0), abs=1e-12)
    assert [point.x for point in curve.model] == THRESHOLDS.tolist()


def test_net_benefit_at_another_temperature_is_that_of_its_probabilities(run, plan):
    pair, calibrated = (two_classes(one, [1]) for one in (run, tempered(run, np.full(3, 3.0))))
    curve = decision_curve([pair], [calibrated], plan, 0.95)
    for point in curve.tempered:
        acted, truth = calibrated.probs[:, 1] >= point.x, calibrated.truth == 1
        odds = point.x / (1 - point.x)
        expected = (acted & truth).mean() - (acted & ~truth).mean() * odds
        assert point.y == pytest.approx(expected, abs=1e-12)
    assert [point.y for point in curve.tempered] != [point.y for point in curve.model]


def test_risk_at_a_coverage_is_the_error_of_the_surest(run, plan):
    curve = risk_coverage([run], plan, 0.95)
    top, wrong = run.probs.max(axis=1), run.predicted != run.truth
    for share, point in zip(np.arange(1, 21) / 20, curve, strict=True):
        least = np.sort(top)[::-1][round(share * 600) - 1]
        kept = top >= least
        assert point.x == pytest.approx(kept.mean())
        assert point.y == pytest.approx(wrong[kept].mean())
        assert point.n == kept.sum()
    assert curve[-1].y == pytest.approx(wrong.mean())


def test_top_two_is_scikit_learns(plan):
    run = make_run(images=600, groups=200)
    assert top_two([run], plan, INTERVAL).value == pytest.approx(
        oracle.top_k_accuracy_score(run.truth, run.probs, k=2)
    )


def test_top_two_gives_ties_to_the_first_classes(plan):
    run = make_run(images=600, groups=200, decimals=1)
    order = np.argsort(-run.probs, axis=1, kind="stable")[:, :2]
    expected = (order == run.truth[:, None]).any(axis=1).mean()
    assert top_two([run], plan, INTERVAL).value == pytest.approx(expected)


def test_partial_auc_is_scikit_learns_by_fold_and_in_every_resample(run, plan):
    pair = two_classes(run, [1])
    found = partial_auc([pair], plan, INTERVAL)

    def expected(weights):
        return np.mean(
            [
                oracle.roc_auc_score(
                    pair.truth[pair.fold == fold],
                    pair.probs[pair.fold == fold, 1],
                    max_fpr=0.1,
                    sample_weight=weights[pair.fold == fold],
                )
                for fold in range(3)
            ]
        )

    assert found.value == pytest.approx(expected(np.ones(600)), abs=1e-12)
    weights = drawn_weights(pair.groups, 200, 5)
    replicates = [expected(weights[pair.group, at]) for at in range(200)]
    assert found.low == pytest.approx(np.quantile(replicates, 0.025), abs=1e-9)
    assert found.high == pytest.approx(np.quantile(replicates, 0.975), abs=1e-9)


@pytest.mark.parametrize(("groups", "marks"), [(100, ("few groups",)), (400, ())])
def test_partial_auc_is_marked_by_the_rarer_side(groups, marks):
    pair = two_classes(make_run(images=600, groups=groups), [1])
    sides = [pair.groups_in(pair.truth == code) for code in (0, 1)]
    assert (min(sides) < 50 < max(sides)) == bool(marks)
    assert partial_auc([pair], DrawnOnce(groups, 100, 5), INTERVAL).marks == marks


def test_partial_auc_without_positives_is_undefined(run, plan):
    pair = two_classes(run, [1])
    none = subset(pair, pair.truth == 0)
    assert np.isnan(partial_auc([none], plan, INTERVAL).value)


def with_val(run, seed=1):
    rng = np.random.default_rng(seed)
    val = {}
    for fold in range(run.folds):
        other = make_run(images=200, groups=80, seed=seed + fold)
        val[fold] = Val(rng.permutation(200), other.truth, other.probs)
    from dataclasses import replace

    return replace(run, val=val)


def test_operating_points_are_those_of_vals_thresholds(run, plan):
    mine = with_val(run)
    points = operating_points([mine], 2, "c", plan, INTERVAL)
    assert [(p.aim, p.percent) for p in points] == [
        ("specificity", 90),
        ("specificity", 95),
        ("sensitivity", 95),
    ]
    own = run.truth == 2
    choices = [
        partial(thresholds_from_val, percent=90),
        partial(thresholds_from_val, percent=95),
        partial(sensitive_thresholds, percent=95),
    ]
    for point, choose in zip(points, choices, strict=True):
        cut = np.array([choose(mine.val[f].truth, mine.val[f].probs)[2] for f in range(3)])
        predicted = run.probs[:, 2] > cut[run.fold]
        assert point.sensitivity.value == pytest.approx(oracle.recall_score(own, predicted))
        assert point.specificity.value == pytest.approx(oracle.recall_score(~own, ~predicted))
        assert point.precision.value == pytest.approx(oracle.precision_score(own, predicted))
        assert point.sensitivity.n == own.sum()
        assert point.specificity.n == (~own).sum()
        assert point.precision.n == predicted.sum()
    assert len({point.specificity.value for point in points}) == 3


def test_an_image_at_the_threshold_is_not_called(plan):
    """Where val is the test part, its thresholds are scores of the test part."""
    run = make_run(images=600, groups=200, folds=1)
    mine = replace(run, val={0: Val(run.place, run.truth, run.probs)})
    point = operating_points([mine], 2, "c", plan, INTERVAL)[0]
    below = np.sort(run.probs[run.truth != 2, 2])
    predicted = np.count_nonzero(below > below[-(-len(below) * 9 // 10) - 1])
    assert point.specificity.value == pytest.approx(1 - predicted / len(below))
    assert point.specificity.value >= 0.9


def test_without_val_there_is_no_operating_point(run, plan):
    assert operating_points([run], 2, "c", plan, INTERVAL) == ()


def test_curves_end_where_scikit_learns_do_and_lie_on_them(run, plan):
    curves = rank_curves(run, 0, "a", plan, 0.95)
    own = run.truth == 0
    false, hit, _ = oracle.roc_curve(own, run.probs[:, 0], drop_intermediate=False)
    points = set(zip(np.round(false, 12), np.round(hit, 12), strict=True))
    assert {(round(p.x, 12), round(p.y, 12)) for p in curves.roc} <= points
    assert (curves.roc[0].x, curves.roc[0].y) == (0, 0)
    assert (curves.roc[-1].x, curves.roc[-1].y) == (1, 1)
    precision, recall, _ = oracle.precision_recall_curve(own, run.probs[:, 0])
    points = set(zip(np.round(recall, 12), np.round(precision, 12), strict=True))
    assert {(round(p.x, 12), round(p.y, 12)) for p in curves.precision_recall} <= points
    assert len(curves.roc) <= 101


def test_a_point_of_a_curve_tells_how_many_images_are_called_there(run, plan):
    curves = rank_curves(run, 0, "a", plan, 0.95)
    own = run.truth == 0
    for point in curves.roc:
        assert point.n == pytest.approx(point.x * (~own).sum() + point.y * own.sum())
    for point in curves.precision_recall:
        assert point.n * point.y == pytest.approx(point.x * own.sum())
    assert curves.roc[-1].n == curves.precision_recall[-1].n == 600


def test_bands_are_the_quantiles_of_scikit_learns_curves_under_the_plans_weights(plan):
    run = make_run(images=600, groups=200, decimals=1)  # few thresholds: none is thinned away
    curves = rank_curves(run, 0, "a", plan, 0.9)
    own, score = run.truth == 0, run.probs[:, 0]
    weights = drawn_weights(run.groups, plan.resamples, plan.seed)[run.group]
    x = np.array([point.x for point in curves.roc])
    recalls = np.array([point.x for point in curves.precision_recall])
    up, right = [], []
    for replicates in weights.T:
        false, hit, _ = oracle.roc_curve(
            own, score, sample_weight=replicates, drop_intermediate=False
        )
        up.append(np.interp(x, false, hit))
        precision, recall, _ = oracle.precision_recall_curve(own, score, sample_weight=replicates)
        met = slice(None, -1)  # scikit-learn adds a point of recall 0 and precision 1
        right.append(np.interp(recalls, recall[met][::-1], precision[met][::-1]))
    for curve, replicates in ((curves.roc, up), (curves.precision_recall, right)):
        low, high = np.quantile(replicates, [0.05, 0.95], axis=0)
        assert [point.low for point in curve] == pytest.approx(low.tolist(), abs=1e-9)
        assert [point.high for point in curve] == pytest.approx(high.tolist(), abs=1e-9)


def test_a_thinned_curves_band_holds_it(plan):
    run = make_run(images=600, groups=200)
    curves = rank_curves(run, 0, "a", plan, 0.95)
    inner = [point for point in curves.roc if 0.02 < point.x < 0.98]
    assert all(point.low - 0.03 <= point.y <= point.high + 0.03 for point in inner)
    assert all(0 <= point.high - point.low < 0.4 for point in inner)


def test_a_class_that_is_absent_or_alone_has_no_curve(run, plan):
    assert rank_curves(subset(run, run.truth != 0), 0, "a", plan, 0.95) is None
    assert rank_curves(subset(run, run.truth == 0), 0, "a", plan, 0.95) is None


def test_shares_of_calls_are_scikit_learns_normalised_confusion(run, plan):
    found = confusion_shares([run], plan, Interval(resamples=200, method="percentile"))
    theirs = oracle.confusion_matrix(run.truth, run.predicted, normalize="true")
    assert np.array([[one.value for one in line] for line in found]) == pytest.approx(theirs)
    assert [line[0].n for line in found] == np.bincount(run.truth).tolist()
    weights = drawn_weights(run.groups, plan.resamples, plan.seed)[run.group].astype(float)
    replicates = [
        oracle.confusion_matrix(run.truth, run.predicted, sample_weight=one, normalize="true")
        for one in weights.T
    ]
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    assert np.array([[one.low for one in line] for line in found]) == pytest.approx(low)
    assert np.array([[one.high for one in line] for line in found]) == pytest.approx(high)


def test_a_call_that_never_happens_has_an_exact_interval(run, plan):
    never = replace(run, probs=run.probs * [1, 1, 1, 0] + [0.1, 0, 0, 0])
    one = confusion_shares([never], plan, INTERVAL)[0][3]
    groups = len(np.unique(run.group[run.truth == 0]))
    assert (one.value, one.low, one.method) == (0.0, 0.0, "clopper-pearson")
    assert one.high == pytest.approx(1 - 0.025 ** (1 / groups))


COSTS = "truth,a,b,c,d\na,0,1,1,1\nb,10,0,5,5\nc,1,1,0,1\nd,1,2,1,0\n"


def test_cost_is_the_mean_over_images_of_what_each_call_costs(run, plan):
    costs = parse_costs(COSTS, LABELS, "costs.csv")
    found = expected_costs([run], costs, plan, INTERVAL)
    assert found["cost"].value == pytest.approx(
        np.mean([costs[t, c] for t, c in zip(run.truth, run.predicted, strict=True)])
    )
    cheapest = [np.argmin([p @ costs[:, c] for c in range(4)]) for p in run.probs]
    assert found["cost_aware"].value == pytest.approx(
        np.mean([costs[t, c] for t, c in zip(run.truth, cheapest, strict=True)])
    )
    assert found["cost"].low < found["cost"].value < found["cost"].high


def test_costs_may_stand_in_any_order():
    turned = "truth,d,c,b,a\nd,0,1,2,1\nc,1,0,1,1\nb,5,5,0,10\na,1,1,1,0\n"
    first, second = (parse_costs(text, LABELS, "f") for text in (COSTS, turned))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("begin", ["\ufeff", "\ufeff\n"])
def test_a_byte_order_mark_before_the_costs_is_no_matter(begin):
    marked = parse_costs(begin + COSTS, LABELS, "costs.csv")
    assert np.array_equal(marked, parse_costs(COSTS, LABELS, "costs.csv"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "header"),
        ("truth,a,b\n", "header"),
        (COSTS.replace("truth", "called"), "header must be truth,a,b,c,d; it is called, a"),
        (COSTS.replace("d,1,2,1,0", ""), "one row a class"),
        (COSTS.replace("10", "-1"), "b called a costs '-1'"),
        (COSTS.replace("10", "nan"), "give a number"),
        (COSTS.replace("d,1,2,1,0", "d,1,2,1"), "row d has 3 costs"),
    ],
)
def test_a_cost_matrix_that_is_none_is_refused(text, word):
    with pytest.raises(DataError, match=word):
        parse_costs(text, LABELS, "costs.csv")


def test_an_absent_class_has_no_calibration_of_resolution_but_counts_in_n(plan):
    run = make_run(images=600, groups=200)
    part = subset(run, run.truth != 0)
    found = calibration([part], LABELS, [], plan, INTERVAL, tempered=False)
    assert found.malignant == ()
    assert found.metrics["ece"].n == (run.truth != 0).sum()


def test_intervals_of_rates_move_with_the_plan_not_with_its_parts(run):
    small = partial(risk_coverage, [run], level=0.95)
    found = small(plan=Plan(run.groups, 200, 5))
    assert found == small(plan=DrawnOnce(run.groups, 200, 5))
    other = small(plan=Plan(run.groups, 200, 6))
    assert [point.y for point in other] == [point.y for point in found]
    assert [point.low for point in other] != [point.low for point in found]
    assert [point.high for point in other] != [point.high for point in found]
