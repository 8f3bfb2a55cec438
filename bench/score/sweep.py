"""Hyperparameter selection on val, and its optimism.

In every fold the candidate with the best val macro-F1 is chosen (the score by which a training
chooses its epoch, too), and only then is its test part looked at. The optimism is val minus test of
the chosen one. Part of it is there without any choice, since the epoch was chosen on val as well;
what choosing among candidates adds is the optimism less the mean of val minus test over all.
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
    """One setting of the hyperparameters: what it sets, its row, its predictions by slot."""

    settings: Mapping[str, Any]
    row: str
    val: Mapping[TrainingKey, Predictions]
    test: Mapping[TrainingKey, Predictions]


@dataclass(frozen=True)
class Choice:
    """What one fold chose among how many; macro-F1 on val and test.

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
        """How much better the chosen one looked on val than it is on test."""
        return self.val - self.test


@dataclass(frozen=True)
class Sweep:
    """The candidates of one method with their mean val scores (NaN without a fold), the choices."""

    method: str
    candidates: tuple[Candidate, ...]
    val: tuple[float, ...]
    choices: tuple[Choice, ...]

    @property
    def test(self) -> float:
        """Mean test score of what the folds chose: no test image had a say in it."""
        return fmean(choice.test for choice in self.choices)

    @property
    def optimism(self) -> float:
        """Val minus test of the chosen, mean over the folds."""
        return fmean(choice.optimism for choice in self.choices)

    @property
    def optimism_of_choosing(self) -> float:
        """What choosing among candidates adds to it, mean over the folds."""
        return fmean(choice.optimism - choice.usual_gap for choice in self.choices)


def choose(
    method: str,
    candidates: Sequence[Candidate],
    protocol: Protocol,
    manifest: Dataset,
    roles: Roles,
) -> Sweep:
    """Let each fold choose its candidate on val; the first of equals, in the order given.

    A candidate that has not done a fold cannot be chosen there. Raises ResultsError where none has
    done any, PredictionError where predictions are not those of the fold's images.
    """
    slots = sorted({slot for each in candidates for slot in each.test if slot in each.val})
    if not slots:
        raise ResultsError(f"{method}: no fold is done with val predictions; nothing to choose")
    scores: dict[str, list[float]] = {each.row: [] for each in candidates}
    choices = []
    for slot in slots:
        column = slot.repeat * protocol.folds + slot.fold
        able = [each for each in candidates if slot in each.test and slot in each.val]
        val = [_score(each, each.val[slot], "val", column, manifest, roles) for each in able]
        test = [_score(each, each.test[slot], "test", column, manifest, roles) for each in able]
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
    manifest: Dataset,
    roles: Roles,
) -> float:
    """Macro-F1 over all classes; one neither there nor predicted counts 0, as in training."""
    rows = roles.rows(column, part)
    try:
        probs = predictions.for_ids(roles.image_ids[rows])
    except PredictionError as error:
        raise PredictionError(f"{candidate.row}, {part} of column {column}: {error}") from None
    codes = np.arange(len(manifest.classes))
    truth, predicted = manifest.labels[rows], probs.argmax(axis=1)
    return float(f1_score(truth, predicted, labels=codes, average="macro", zero_division=0))
