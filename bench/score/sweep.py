"""Hyperparameter selection on val, and its optimism.

In every fold the candidate with the best val macro-F1 is chosen (training chooses its epoch by the
same score), and then scored on test. The optimism is val minus test of the chosen candidate. Part
of it comes from the choice of the epoch on val; the part that the choice of the candidate adds is
the optimism minus the mean of val minus test over all candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from bench.dataset import Dataset
from bench.errors import PredictionError, ResultsError
from bench.predictions import Predictions, TrainingKey
from bench.protocol import Protocol, Roles


@dataclass(frozen=True)
class Candidate:
    """One setting of the hyperparameters: its values, its row, its predictions by training."""

    settings: Mapping[str, Any]
    row: str
    val: Mapping[TrainingKey, Predictions]
    test: Mapping[TrainingKey, Predictions]


@dataclass(frozen=True)
class Choice:
    """The chosen candidate of one fold, the number of candidates, macro-F1 on val and test.

    usual_gap  mean val minus test over all its candidates
    """

    slot: TrainingKey
    candidate: Candidate
    among: int
    val: float
    test: float
    usual_gap: float

    @property
    def optimism(self) -> float:
        """Val minus test of the chosen candidate."""
        return self.val - self.test


@dataclass(frozen=True)
class Sweep:
    """Candidates of one method, their mean val scores (NaN without a fold), and the choices."""

    method: str
    candidates: tuple[Candidate, ...]
    val: tuple[float, ...]
    choices: tuple[Choice, ...]

    @property
    def test(self) -> float:
        """Mean test score of the choices of the folds; no test image influences the choice."""
        return fmean(choice.test for choice in self.choices)

    @property
    def optimism(self) -> float:
        """Val minus test of the chosen, mean over the folds."""
        return fmean(choice.optimism for choice in self.choices)

    @property
    def optimism_of_choosing(self) -> float:
        """The optimism that choosing among candidates adds, mean over the folds."""
        return fmean(choice.optimism - choice.usual_gap for choice in self.choices)


def choose(
    method: str,
    candidates: Sequence[Candidate],
    protocol: Protocol,
    dataset: Dataset,
    roles: Roles,
) -> Sweep:
    """Choose the candidate of each fold on val; ties go to the first candidate.

    A candidate without predictions for a fold cannot be chosen there. Raises ResultsError without
    any fold, PredictionError if predictions are not those of the images of the fold.
    """
    slots = sorted({slot for each in candidates for slot in each.test if slot in each.val})
    if not slots:
        raise ResultsError(
            f"{method}: no finished fold has val predictions; run the candidates first"
        )
    scores: dict[str, list[float]] = {each.row: [] for each in candidates}
    choices = []
    for slot in slots:
        column = slot.repeat * protocol.folds + slot.fold
        able = [each for each in candidates if slot in each.test and slot in each.val]
        val = [_score(each, each.val[slot], "val", column, dataset, roles) for each in able]
        test = [_score(each, each.test[slot], "test", column, dataset, roles) for each in able]
        for each, score in zip(able, val, strict=True):
            scores[each.row].append(score)
        best = int(np.argmax(val))
        gap = fmean(v - t for v, t in zip(val, test, strict=True))
        choices.append(Choice(slot, able[best], len(able), val[best], test[best], gap))
    means = tuple(fmean(scores[each.row]) if scores[each.row] else np.nan for each in candidates)
    return Sweep(method, tuple(candidates), means, tuple(choices))


def _score(
    candidate: Candidate,
    predictions: Predictions,
    part: str,
    column: int,
    dataset: Dataset,
    roles: Roles,
) -> float:
    """Macro-F1 over all classes; an absent class that is never predicted counts 0, as in
    training."""
    rows = roles.rows(column, part)
    try:
        probs = predictions.for_ids(roles.image_ids[rows])
    except PredictionError as error:
        raise PredictionError(f"{candidate.row}, {part} of column {column}: {error}") from None
    codes = np.arange(len(dataset.classes))
    truth, predicted = dataset.labels[rows], probs.argmax(axis=1)
    return float(f1_score(truth, predicted, labels=codes, average="macro", zero_division=0))
