"""The benchmark of the verdicts at a tiny size, and its macro-F1 against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks import verdicts

TINY = verdicts.Shape("tiny", (30, 30, 20), (45, 40, 20), 0.6)


def test_a_sample_has_the_groups_and_images_of_its_shape():
    sample = verdicts.draw(TINY, 0.0, np.random.default_rng(0))
    assert np.bincount(sample.label).tolist() == [45, 40, 20]
    assert len(np.unique(sample.group)) == 80
    assert sample.features.shape == (2, 105, verdicts.FEATURES)


def test_the_value_of_a_contender_is_scikit_learns_macro_f1():
    rng = np.random.default_rng(0)
    sample = verdicts.draw(TINY, 0.0, rng)
    (run,) = verdicts.passes(sample, 0, 1.0, 1, 1, rng)
    row = verdicts.contender("a", sample, [run], np.ones((80, 1)))
    theirs = f1_score(sample.label, run[2], average="macro")
    assert row.value == pytest.approx(theirs)
    assert row.replicates == pytest.approx([theirs])
    assert row.trainings == 5


def test_every_rule_is_counted_for_every_design(monkeypatch):
    monkeypatch.setattr(verdicts, "PILOTS", 2)
    monkeypatch.setattr(verdicts, "STEPS", 2)
    lines = verdicts.table(TINY, share=0.15, sets=3, resamples=64)
    assert "3 data sets" in lines[1]
    rules = [line.rsplit("%", 2)[0] for line in lines[3:]]
    assert len(rules) == 8
    for design in verdicts.DESIGNS:
        assert sum(design in rule for rule in rules) >= 2


def test_what_is_outside_its_aim_is_marked():
    rule = "these methods, trained again, 3 seeds"
    assert verdicts.misses(rule, 0.05, 0.8, 400) == ""
    assert verdicts.misses(rule, 0.05, 0.5, 400) == " MISSES"
    assert verdicts.misses(rule, 0.2, 0.9, 400) == " MISSES"
