"""Statistics made of sums: the mean over runs, and the words beside a value."""

from __future__ import annotations

import numpy as np
import pytest

from bench.protocol import Interval
from bench.score.bootstrap import DrawnOnce
from bench.score.metric_sums import EstimateSpec, MetricSums, estimated, resampled, values_of
from bench.score.row_report import top_two
from tests.score.cohorts import make_run

INTERVAL = Interval(resamples=200, method="percentile")


def test_of_several_runs_value_and_resamples_are_means():
    runs = [make_run(images=600, groups=200, seed=seed) for seed in (1, 2)]
    plan = DrawnOnce(200, 200, 5)
    each = [top_two([run], plan, INTERVAL) for run in runs]
    assert top_two(runs, plan, INTERVAL).value == pytest.approx(np.mean([e.value for e in each]))
    all_sums = [MetricSums(run.groups, 4, run.group, run.truth) for run in runs]
    totals = [np.bincount(run.truth, minlength=4) for run in runs]
    assert values_of(all_sums, lambda sums: sums) == pytest.approx(np.mean(totals, axis=0))
    alone = [resampled([one], lambda sums: sums, plan) for one in all_sums]
    assert resampled(all_sums, lambda sums: sums, plan) == pytest.approx(np.mean(alone, axis=0))


@pytest.mark.parametrize(
    ("metric", "images", "groups", "marks"),
    [
        ("accuracy", 60, 49, ("few lesions",)),
        ("accuracy", 60, 50, ()),
        ("accuracy", 49, 50, ()),
        ("ece", 60, 50, ("biased",)),
        ("brier_resolution", 60, 49, ("few lesions", "biased")),
    ],
)
def test_the_words_are_those_of_the_metric_and_of_its_groups(metric, images, groups, marks):
    asked = EstimateSpec(metric, images, groups, "lesion")
    found = estimated(asked, 0.5, np.linspace(0, 1, 50), 0.0, INTERVAL)
    assert found.marks == marks
    assert found.n == images
    undefined = estimated(asked, float("nan"), np.linspace(0, 1, 50), 0.0, INTERVAL)
    assert undefined.marks == ()
