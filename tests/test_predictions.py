"""Predictions are joined by image id, and are probabilities."""

import numpy as np
import pytest

from bench.errors import PredictionError
from bench.predictions import Predictions, RowPredictions, TrainingKey

PROBS = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])


def predictions(probs=PROBS, ids=("a", "b", "c")):
    return Predictions(np.array(ids, dtype=object), probs, ("x", "y"))


def test_predictions_are_found_by_id_in_any_order():
    assert (predictions().for_ids(["c", "a", "b"]) == PROBS[[2, 0, 1]]).all()
    assert (predictions().for_ids(["a", "b", "c"]) == PROBS).all()


@pytest.mark.parametrize("asked", [["a", "b", "c"], ["b", "a", "c"]])
def test_what_is_done_to_the_found_leaves_the_predictions_as_they_are(asked):
    given = predictions(PROBS.copy())
    given.for_ids(asked)[:] = 7
    assert (given.probs == PROBS).all()


def test_other_ids_than_asked_for_are_named():
    with pytest.raises(PredictionError, match="1 images without prediction: d.*unknown images: c"):
        predictions().for_ids(["a", "b", "d"])


@pytest.mark.parametrize(
    ("probs", "said"),
    [
        (PROBS[:, :1], "shape"),
        (PROBS.astype(int), "floating"),
        (np.array([[0.2, 0.8], [np.nan, 1], [1, 0.0]]), "not finite: b"),
        (np.array([[0.2, 0.8], [-0.5, 1.5], [1, 0.0]]), "negative probabilities: b"),
        (np.array([[0.2, 0.8], [0.5, 0.5], [1, 0.1]]), "sum to 1: c"),
    ],
)
def test_what_is_no_probability_is_refused_by_image(probs, said):
    with pytest.raises(PredictionError, match=said):
        predictions(probs)


def test_the_same_image_twice_is_refused():
    with pytest.raises(PredictionError, match="duplicate image ids: a"):
        predictions(ids=("a", "b", "a"))


def test_classes_of_a_file_are_found_by_name():
    frame = predictions().to_frame()[["p_y", "image_id", "p_x"]]
    assert (Predictions.from_frame(frame, ("x", "y")).probs == PROBS).all()
    with pytest.raises(PredictionError, match="missing columns: p_z"):
        Predictions.from_frame(frame, ("x", "z"))


def test_a_row_has_the_folds_that_all_its_seeds_have():
    slots = [TrainingKey(0, 0, 0), TrainingKey(0, 0, 1), TrainingKey(1, 0, 1)]
    row = RowPredictions("r", "r", "trained", dict.fromkeys(slots, predictions()))
    assert row.seeds == (0, 1)
    assert row.folds == (1,)
