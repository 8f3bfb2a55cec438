"""The resampling plan and its distributions: who is drawn, and what may not change the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as oracle

from bench.score.bootstrap import Plan, distributions, point_values, sort_scores
from bench.score.derived_rows import subset
from bench.score.join import Run
from bench.score.metrics import RESAMPLED_CLASS_METRICS, keys
from tests.score import numpy_kernels as streams
from tests.score.cohorts import drawn_weights, make_run, run_of, use_numpy_kernels

GOLDEN = [5, 4, 3, 0, 2, 0, 0, 0]
"""First draws among 7 of stream 3 of seed 42: they may never change."""


def spread(run: Run, plan: Plan) -> np.ndarray:
    return distributions([[sort_scores(run)]], plan)[0]


def test_splitmix_gives_its_published_sequence():
    """The first outputs of SplitMix64 from seed 1234567, as its author publishes them."""
    steps = np.arange(1, 4, dtype=np.uint64) * streams.GAMMA + np.uint64(1234567)
    assert streams.mix(steps).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_streams_never_change():
    assert streams.picks(streams.starts(42, 3, 1)[0], 7, 8).tolist() == GOLDEN


def test_a_plans_resamples_are_the_streams_of_its_seed():
    for seed in (1, 42):
        weights = drawn_weights(7, 70, seed)
        for resample in (0, 3, 69):
            picked = streams.picks(streams.starts(seed, resample, 1)[0], 7, 7)
            assert weights[:, resample].tolist() == np.bincount(picked, minlength=7).tolist()


def test_streams_do_not_depend_on_where_a_chunk_begins():
    whole = streams.starts(9, 0, 200)
    assert np.array_equal(streams.starts(9, 130, 5), whole[130:135])
    assert len(np.unique(whole)) == 200
    assert not np.intersect1d(whole, streams.starts(10, 0, 200)).size


@pytest.mark.parametrize("groups", [1, 2, 3, 64, 301])
def test_compiled_and_numpy_draw_the_same_groups(groups):
    from bench.score import kernels

    ours, theirs = (np.zeros((groups, 64), dtype=np.uint8) for _ in range(2))
    kernels.draw(np.uint64(5), 64, ours)
    streams.draw(np.uint64(5), 64, theirs)
    assert np.array_equal(ours, theirs)


def test_each_resample_draws_as_many_groups_as_there_are_and_each_alike():
    groups, resamples = 150, 2048
    weights = drawn_weights(groups, resamples, seed=1)
    assert (weights.sum(axis=0) == groups).all()
    # multinomial: mean 1, variance 1 - 1/G; no pair of groups drawn together
    mean = weights.mean(axis=1)
    assert np.abs(mean - 1).max() < 5 / np.sqrt(resamples)
    assert weights.var() == pytest.approx(1 - 1 / groups, abs=0.02)
    together = np.corrcoef(weights) - np.eye(groups)
    assert np.abs(together).max() < 6 / np.sqrt(resamples)


@pytest.mark.parametrize("decimals", [None, 1])
def test_compiled_and_numpy_give_the_same_distributions(decimals, monkeypatch):
    run = make_run(seed=1, decimals=decimals)
    plan = Plan(run.groups, 130, seed=3)
    ours = spread(run, plan)
    use_numpy_kernels(monkeypatch)
    theirs = spread(run, plan)
    assert np.allclose(ours, theirs, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(("chunk", "workers"), [(64, 1), (128, 3), (1024, 2), (4096, 1)])
def test_chunks_and_threads_change_no_bit(chunk, workers):
    run = make_run(seed=2)
    plan = Plan(run.groups, 300, seed=4)
    other = Plan(run.groups, 300, seed=4, chunk=chunk, workers=workers)
    assert np.array_equal(spread(run, plan), spread(run, other), equal_nan=True)


def test_fewer_resamples_are_the_first_of_more():
    run = make_run(seed=2)
    more, fewer = (spread(run, Plan(run.groups, count, seed=4)) for count in (200, 70))
    assert np.array_equal(more[:, :70], fewer, equal_nan=True)


def test_rows_beside_each_other_change_no_bit():
    runs = [make_run(seed=seed) for seed in (1, 2)]
    plan = Plan(runs[0].groups, 100, seed=4)
    both = distributions([[sort_scores(run)] for run in runs], plan)
    for run, replicates in zip(runs, both, strict=True):
        assert np.array_equal(replicates, spread(run, plan), equal_nan=True)


def test_a_row_of_two_runs_is_the_mean_of_their_metrics():
    runs = [make_run(seed=seed) for seed in (1, 2)]
    plan = Plan(runs[0].groups, 100, seed=4)
    (pooled,) = distributions([[sort_scores(run) for run in runs]], plan)
    mean = (spread(runs[0], plan) + spread(runs[1], plan)) / 2
    assert np.allclose(pooled, mean, rtol=0, atol=1e-15, equal_nan=True)


def test_a_resample_is_what_scikit_learn_makes_of_the_drawn_groups():
    run = make_run(seed=3)
    plan = Plan(run.groups, 40, seed=8)
    replicates = spread(run, plan)
    weights = drawn_weights(run.groups, 40, seed=8)
    place = {key: row for row, key in enumerate(keys(run.classes))}
    for resample in range(40):
        weight = weights[run.group, resample].astype(float)
        f1 = oracle.f1_score(run.truth, run.predicted, average="macro", sample_weight=weight)
        auc = oracle.roc_auc_score(run.truth == 1, run.probs[:, 1], sample_weight=weight)
        assert replicates[place["macro_f1", None], resample] == pytest.approx(f1, abs=1e-12)
        assert replicates[place["auc_pooled", 1], resample] == pytest.approx(auc, abs=1e-12)


def test_one_group_can_only_be_drawn_whole():
    run = make_run(images=30, groups=1, folds=1)
    replicates = spread(run, Plan(1, 70, seed=1))
    point = point_values([sort_scores(run)], 1)[0]
    assert np.array_equal(replicates, np.repeat(point[:, None], 70, axis=1), equal_nan=True)


def test_the_distribution_is_centred_on_the_estimate_and_as_wide_as_theory():
    """Accuracy over one-image groups is a binomial share."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    own = np.where(rng.uniform(size=400) < 0.8, 0.7, 0.3)
    probs = np.where(np.eye(2)[truth] == 1, own[:, None], 1 - own[:, None])
    replicates = spread(run_of(truth, probs), Plan(400, 4000, seed=1))[0]
    share = (own > 0.5).mean()
    assert replicates.mean() == pytest.approx(share, abs=0.002)
    assert replicates.std() == pytest.approx(np.sqrt(share * (1 - share) / 400), rel=0.05)


def test_whole_groups_are_drawn_so_copies_of_an_image_bring_nothing():
    """Every image twice in its group: the same distribution as once."""
    run = make_run(seed=5, images=90, groups=90)
    twice = np.repeat(np.arange(90), 2)
    doubled = run_of(
        run.truth[twice],
        run.probs[twice],
        group=run.group[twice],
        fold=run.fold[twice],
        thresholds=run.thresholds,
    )
    plan = Plan(90, 200, seed=6)
    kept = [row for row, (name, _) in enumerate(keys(4)) if name not in ("ap", "macro_ap")]
    once, again = spread(run, plan)[kept], spread(doubled, plan)[kept]
    assert np.allclose(once, again, rtol=0, atol=1e-12, equal_nan=True)


def test_renaming_classes_permutes_the_tables():
    run = make_run(seed=6)
    order = np.array([2, 0, 3, 1])  # new class k is the old class order[k]
    renamed = run_of(
        np.argsort(order)[run.truth],
        run.probs[:, order],
        group=run.group,
        fold=run.fold,
        thresholds=run.thresholds[:, order],
    )
    plan = Plan(run.groups, 100, seed=7)
    ours, theirs = spread(run, plan), spread(renamed, plan)
    place = {key: row for row, key in enumerate(keys(4))}
    for (metric, code), row in place.items():
        old = row if code is None else place[metric, int(order[code])]
        assert np.allclose(theirs[row], ours[old], rtol=0, atol=1e-12, equal_nan=True), metric
    assert len(place) == 13 + 4 * len(RESAMPLED_CLASS_METRICS)


def test_shuffling_images_changes_nothing():
    run = make_run(seed=7, decimals=1)
    order = np.random.default_rng(1).permutation(len(run.truth))
    shuffled = run_of(
        run.truth[order],
        run.probs[order],
        group=run.group[order],
        fold=run.fold[order],
        thresholds=run.thresholds,
    )
    plan = Plan(run.groups, 100, seed=7)
    assert np.allclose(spread(run, plan), spread(shuffled, plan), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("seed", range(12))
def test_parts_of_a_run_are_drawn_as_each_would_be_by_itself(seed):
    """Ties, thresholds that a fold lacks, and parts without an image among them."""
    rng = np.random.default_rng(seed)
    run = make_run(seed=seed, decimals=[None, 1, 2][seed % 3])
    run.thresholds[1, :2] = np.nan
    parts = 2 + seed % 4
    part = rng.integers(0, parts, len(run.truth))
    part[(run.fold == 1) & (part == 0)] = 1  # so part 0 needs no threshold of fold 1
    part[part == parts - 1] -= seed % 2  # and the last part may be empty
    whole, plan = sort_scores(run, part, parts), Plan(run.groups, 150, 3, chunk=64)
    (replicates,) = distributions([[whole]], plan)
    points = point_values([whole], run.groups).reshape(-1, parts)
    for number, table in enumerate(np.split(replicates, parts, axis=1)):
        if not (part == number).any():
            assert np.isnan(table).all()
            assert np.isnan(points[:, number]).all()
            continue
        alone = sort_scores(subset(run, part == number))
        np.testing.assert_allclose(table, distributions([[alone]], plan)[0], atol=1e-12)
        expected = point_values([alone], run.groups)[0]
        np.testing.assert_allclose(points[:, number], expected, atol=1e-12)
