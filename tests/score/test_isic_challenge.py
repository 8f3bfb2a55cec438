"""The ISIC challenge's own scorer on the real ISIC 2019 ground truth says the same."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from bench.score.bootstrap import point_values, sort_scores
from bench.score.metrics import keys
from tests.real_data import needs_isic2019
from tests.score.cohorts import run_of
from tests.score.golden.isic_challenge import CLASSES, digest, predictions, read_truth

GOLDEN = Path(__file__).parent / "golden" / "isic_challenge.json"
RANKED = {"auc_pooled": "auc", "ap_pooled": "ap"}
CUT = {
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "ppv",
    "npv": "npv",
    "f1": "dice",
}
"""Ours and the scorer's names; its cut is at 0.5, which only hard predictions share with ours."""

ZEROED = "ISIC_0035068"
"""The one image to which the scorer gives no weight."""


@lru_cache(maxsize=1)
def ours():
    """Our values by prediction and (metric, class name or None)."""
    truth = read_truth()
    kept = np.array([name != ZEROED for name in truth.image_ids])
    found = {}
    for name, probs in predictions(truth.labels).items():
        run = run_of(truth.labels[kept], probs[kept])
        values = point_values([sort_scores(run)], run.groups)[0]
        named = ((m, None if c is None else CLASSES[c]) for m, c in keys(len(CLASSES)))
        found[name] = dict(zip(named, map(float, values), strict=True))
    return found


@lru_cache(maxsize=1)
def golden():
    return json.loads(GOLDEN.read_text())


@needs_isic2019
def test_the_golden_scores_are_of_these_predictions():
    truth = read_truth()
    assert golden()["images"] == len(truth.labels)
    made = {name: digest(scores) for name, scores in predictions(truth.labels).items()}
    assert golden()["sha256"] == made


@needs_isic2019
@pytest.mark.parametrize("name", ["soft", "hard", "blind"])
def test_balanced_accuracy_and_rankings_are_the_challenges(name):
    scores, own = golden()["scores"][name], ours()[name]
    theirs = scores["aggregate"]["balanced_accuracy"]
    assert own["balanced_accuracy", None] == pytest.approx(theirs, abs=1e-12)
    for metric, column in RANKED.items():
        for label in CLASSES:
            theirs = scores["per_category"][column][label]
            assert own[metric, label] == pytest.approx(theirs, abs=1e-12), (metric, label)
        mean = scores["macro_average"][column]
        assert own[f"macro_{metric}", None] == pytest.approx(mean, abs=1e-12)


@needs_isic2019
@pytest.mark.parametrize("name", ["hard", "blind"])
def test_rates_of_a_hard_decision_are_the_challenges_where_they_are_defined(name):
    scores, own = golden()["scores"][name]["per_category"], ours()[name]
    for metric, column in CUT.items():
        for label in CLASSES:
            if np.isfinite(own[metric, label]):
                theirs = scores[column][label]
                assert own[metric, label] == pytest.approx(theirs, abs=1e-12), (metric, label)
    undefined = {key for key, value in own.items() if key[0] in CUT and np.isnan(value)}
    assert undefined == ({("precision", "DF")} if name == "blind" else set())


@needs_isic2019
def test_the_precision_of_a_class_never_predicted_is_undefined_and_not_one():
    assert golden()["scores"]["blind"]["per_category"]["ppv"]["DF"] == 1.0
    assert np.isnan(ours()["blind"]["precision", "DF"])
