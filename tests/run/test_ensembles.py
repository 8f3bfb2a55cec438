"""Ensembles: which trainings of their members they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import PredictionError
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.run.ensembles import shared_slots

SAID = Predictions(np.array(["i"], dtype=object), np.ones((1, 1)), ("nv",))


def row(name: str, *slots: tuple[int, int], val: bool = True) -> RowPredictions:
    """A row that has these seeds and folds."""
    test = {TrainingKey(seed, 0, fold): SAID for seed, fold in slots}
    return RowPredictions(name, name, "trained", test, test if val else {})


def test_seeds_that_one_member_alone_has_are_left_out():
    one = row("one", (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))
    other = row("other", (0, 0), (0, 1), (2, 0))
    assert shared_slots([one, other]) == [TrainingKey(0, 0, 0), TrainingKey(0, 0, 1)]
    assert shared_slots([one, one]) == sorted(one.test)


def test_members_without_a_whole_seed_in_common_are_told_what_each_lacks():
    with pytest.raises(PredictionError) as refusal:
        shared_slots([row("one", (0, 0), (0, 1), (0, 2)), row("other", (0, 0), (1, 0))])
    message = str(refusal.value)
    assert "one lacks seed 1 fold 0; other lacks seed 0 fold 1, 2; run the missing folds" in message


def test_a_member_without_predictions_of_val_is_refused():
    with pytest.raises(PredictionError, match="theirs: has no predictions of val"):
        shared_slots([row("one", (0, 0)), row("theirs", (0, 0), val=False)])
