"""What holds for any predictions at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.protocol import Interval
from bench.score.bootstrap import (
    Plan,
    accelerations,
    clopper_pearson,
    distributions,
    point_sums,
    point_values,
    sort_scores,
)
from bench.score.metrics import PROPORTIONS, keys
from bench.score.row import interval_of
from bench.score.significance import holm, rank_rows
from tests.score.cohorts import make_run, run_of, use_numpy_kernels

RANGES = {"mcc": (-1, 1), "kappa": (-1, 1), "log_loss": (0, 37), "brier": (0, 2)}
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def runs(draw):
    """Any run: few images, few groups, coarse scores, classes and folds that may be missing."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    classes = draw(st.integers(2, 5))
    images = draw(st.integers(1, 60))
    groups = draw(st.integers(1, images))
    group = np.unique(rng.integers(0, groups, images), return_inverse=True)[1]
    truth = rng.integers(0, draw(st.integers(1, classes)), images)
    levels = draw(st.sampled_from([1, 2, 4, 1000]))
    raw = rng.integers(0, levels, (images, classes)) + 1e-3
    probs = raw / raw.sum(axis=1, keepdims=True)
    folds = draw(st.integers(1, 4))
    fold = group % folds
    thresholds = rng.uniform(size=(folds, classes))
    return run_of(truth, probs, group=group, fold=fold, thresholds=thresholds)


def ranges(metric):
    return RANGES.get(metric, (0, 1))


@given(runs())
@QUICK
def test_values_and_intervals_are_ordered_and_within_the_metrics_range(run):
    sorted_scores = sort_scores(run)
    (replicates,) = distributions([[sorted_scores]], Plan(run.groups, 128, seed=1))
    points = point_values([sorted_scores], run.groups)[0]
    pulls = accelerations([run], [point_sums(sorted_scores, run.groups)])
    for place, (metric, _) in enumerate(keys(run.classes)):
        least, most = ranges(metric)
        inside = replicates[place][np.isfinite(replicates[place])]
        assert ((inside >= least - 1e-9) & (inside <= most + 1e-9)).all(), metric
        low, high, method = interval_of(
            metric, float(points[place]), replicates[place], pulls[place], run.groups, Interval()
        )
        assert method or np.isnan([low, high]).all()
        if method:
            assert least - 1e-9 <= low <= high <= most + 1e-9, metric
        if method == "clopper-pearson":
            assert metric in PROPORTIONS
            assert low <= points[place] <= high


@given(runs(), st.integers(0, 2**63))
@QUICK
def test_compiled_and_numpy_agree_on_anything(run, seed):
    plan = Plan(run.groups, 64, seed=seed)
    ours = distributions([[sort_scores(run)]], plan)[0]
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_numpy_kernels(monkeypatch)
        theirs = distributions([[sort_scores(run)]], plan)[0]
    assert np.allclose(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)


@given(runs(), st.randoms(use_true_random=False))
@QUICK
def test_permuting_images_changes_nothing(run, random):
    order = list(range(len(run.truth)))
    random.shuffle(order)
    shuffled = run_of(
        run.truth[order],
        run.probs[order],
        group=run.group[order],
        fold=run.fold[order],
        thresholds=run.thresholds,
    )
    ours, theirs = (point_values([sort_scores(each)], run.groups) for each in (run, shuffled))
    assert np.allclose(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)


@given(runs(), st.integers(1, 150), st.sampled_from([64, 128]), st.integers(1, 3))
@QUICK
def test_chunks_and_threads_change_nothing(run, resamples, chunk, workers):
    whole = Plan(run.groups, resamples, seed=2)
    parts = Plan(run.groups, resamples, seed=2, chunk=chunk, workers=workers)
    ours, theirs = (distributions([[sort_scores(run)]], plan)[0] for plan in (whole, parts))
    assert np.array_equal(ours, theirs, equal_nan=True)


@given(st.integers(1, 500), st.floats(0.5, 0.999), st.data())
@QUICK
def test_clopper_pearson_holds_the_share_and_its_mirror(count, level, data):
    hits = data.draw(st.integers(0, count))
    low, high = clopper_pearson(hits, count, level)
    assert 0 <= low <= hits / count <= high <= 1
    mirrored = clopper_pearson(count - hits, count, level)
    assert np.allclose((1 - high, 1 - low), mirrored, atol=1e-9)


@given(st.lists(st.floats(0, 1), max_size=12))
@QUICK
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= after <= 1 for p, after in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
@QUICK
def test_ranks_lie_between_one_and_the_number_of_rows(rows, seed):
    replicates = np.random.default_rng(seed).integers(0, 3, (rows, 40)).astype(float)
    ranks = rank_rows(list(replicates[:, 0]), replicates, 0.95, higher=True)
    assert all(1 <= rank.low <= rank.high <= rows for rank in ranks)
    assert np.isclose(sum(rank.p_best for rank in ranks), 1)


def test_copies_of_a_lesions_images_narrow_an_interval_less_than_new_lesions_do():
    run = make_run(images=200, groups=200, folds=1, seed=1)
    twice = np.concatenate([np.arange(200)] * 2)
    same, new = run.group[twice], np.arange(400)
    widths = []
    for group in (same, new):
        grown = run_of(run.truth[twice], run.probs[twice], group=group)
        (replicates,) = distributions([[sort_scores(grown)]], Plan(grown.groups, 2000, seed=3))
        widths.append(np.ptp(np.quantile(replicates[0], [0.025, 0.975])))
    assert widths[1] < 0.8 * widths[0]


@given(runs(), st.randoms(use_true_random=False))
@QUICK
def test_renaming_classes_permutes_tables(run, random):
    new = list(range(run.classes))  # the class `code` is called new[code] afterwards
    random.shuffle(new)
    untied = run.probs + 1e-9 * np.arange(run.classes)  # no two largest probabilities
    probs, thresholds = np.empty_like(untied), np.empty_like(run.thresholds)
    probs[:, new], thresholds[:, new] = untied, run.thresholds
    rest = {"group": run.group, "fold": run.fold}
    same = run_of(run.truth, untied, thresholds=run.thresholds, **rest)
    renamed = run_of(np.array(new)[run.truth], probs, thresholds=thresholds, **rest)
    plan = Plan(run.groups, 64, seed=5)
    ours, theirs = (distributions([[sort_scores(each)]], plan)[0] for each in (same, renamed))
    named = {key: place for place, key in enumerate(keys(run.classes))}
    moved = [named[m, code if code is None else new[code]] for m, code in keys(run.classes)]
    assert np.allclose(ours, theirs[moved], rtol=1e-9, atol=1e-9, equal_nan=True)


@given(runs(), st.integers(0, 2**63))
@QUICK
def test_a_seed_gives_equal_results_on_every_run(run, seed):
    first, again = (
        distributions([[sort_scores(run)]], Plan(run.groups, 64, seed))[0] for _ in range(2)
    )
    assert np.array_equal(first, again, equal_nan=True)


@given(st.integers(0, 2**32 - 1), st.integers(40, 120))
@QUICK
def test_an_interval_of_a_smooth_metric_contains_its_estimate(seed, groups):
    run = make_run(images=2 * groups, groups=groups, folds=1, seed=seed)
    sorted_scores = sort_scores(run)
    (replicates,) = distributions([[sorted_scores]], Plan(run.groups, 512, seed=6))
    points = point_values([sorted_scores], run.groups)[0]
    pulls = accelerations([run], [point_sums(sorted_scores, run.groups)])
    places = {key: place for place, key in enumerate(keys(run.classes))}
    for metric in ("accuracy", "log_loss", "brier"):
        at = places[metric, None]
        point = float(points[at])
        low, high, _ = interval_of(metric, point, replicates[at], pulls[at], run.groups, Interval())
        assert low <= point <= high, metric
