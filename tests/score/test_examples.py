"""The images that are shown: the surest right and the surest wrong one."""

import numpy as np

from bench.predictions import Predictions
from bench.score.row_report import Shown, most_confident

PROBS = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9], [0.1, 0.9]])
IDS = np.array(["a", "b", "c", "d", "f", "e"], dtype=object)
LABELS = np.array([0, 0, 0, 0, 1, 1])


def test_the_surest_right_and_the_surest_wrong_are_found_and_ties_go_to_the_first_id():
    predictions = Predictions(IDS, PROBS, ("x", "y"))
    assert most_confident(predictions, LABELS, 0) == (Shown("a", 0, 0.9), Shown("c", 1, 0.8))
    assert most_confident(predictions, LABELS, 1) == (Shown("e", 1, 0.9), None)


def test_the_order_of_the_predictions_changes_nothing():
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(6)
        predictions = Predictions(IDS[order], PROBS[order], ("x", "y"))
        assert most_confident(predictions, LABELS[order], 1) == (Shown("e", 1, 0.9), None)
