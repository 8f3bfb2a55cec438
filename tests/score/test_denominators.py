"""What a metric is worked out on, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.score.metrics import keys
from bench.score.row import denominators
from tests.score.cohorts import run_of

CALLED = np.array([0, 1, 0, 1, 0])
TRUTH = [0, 0, 0, 1, 1]
GROUP = np.array([0, 0, 1, 1, 2])


def run(truth=TRUTH, called=CALLED, group=GROUP):
    return run_of(truth, np.where(np.eye(2)[called] == 1, 0.9, 0.1), group=group)


def counted(*runs):
    images, groups = denominators(runs)
    return dict(zip(keys(2), zip(images.tolist(), groups.tolist(), strict=True), strict=True))


@pytest.mark.parametrize(
    ("metric", "images", "groups"),
    [
        ("recall", 3, 2),
        ("specificity", 2, 2),
        ("precision", 3, 3),
        ("npv", 2, 2),
        ("f1", 4, 2),  # of class 0, or called so
        ("sens_at_spec_90", 3, 2),
        ("auc", 5, 2),
        ("ap_pooled", 5, 2),
    ],
)
def test_a_class_metric_counts_its_denominator_and_the_groups_of_its_smallest_part(
    metric, images, groups
):
    assert counted(run())[metric, 0] == (images, groups)


def test_an_average_over_classes_counts_the_groups_of_the_smallest_class():
    of_class_1 = run([0, 0, 0, 0, 1])
    assert counted(of_class_1)["balanced_accuracy", None] == (5, 1)
    assert counted(of_class_1)["accuracy", None] == (5, 3)


def test_over_runs_images_are_a_mean_and_groups_the_fewest():
    fewer = run(TRUTH[:3], CALLED[:3], GROUP[:3])
    found = counted(run(), fewer)
    assert found["accuracy", None] == (4, 2)
    assert found["recall", 1] == (1, 0)
    assert counted(fewer, run()) == found
