"""Dummy baselines: majority, prior, uniform."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.dataset import Dataset
from bench.errors import RolesError
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import Protocol, Roles
from bench.score.join import Cohort, cohort

KIND = "reference"


def references(
    protocol: Protocol, manifest: Dataset, roles: Roles, seeds: Sequence[int]
) -> list[RowPredictions]:
    """Three rows of kind "reference", with every fold of every repeat for every seed.

    majority  the training part's most frequent class, probability 1 (ties: the first class)
    prior     the training part's class shares
    uniform   labels drawn uniformly from the seed, probability 1

    Raises RolesError where a fold has no training images.
    """
    who = cohort(protocol, manifest, roles)
    made: dict[str, Callable[[Cohort, int, int, int], np.ndarray]] = {
        "majority": _majority,
        "prior": _prior,
        "uniform": _uniform,
    }
    found = []
    for name, draw in made.items():
        test = {}
        for repeat in range(who.repeats):
            for fold in range(who.folds):
                column = repeat * who.folds + fold
                rows = roles.rows(column, "test")
                for seed in seeds:
                    probs = draw(who, column, seed, len(rows))
                    test[TrainingKey(seed, repeat, fold)] = Predictions(
                        roles.image_ids[rows], probs, who.classes
                    )
        found.append(RowPredictions(name=name, method=name, kind=KIND, test=test))
    return found


def _shares(who: Cohort, column: int) -> np.ndarray:
    rows = who.roles.rows(column, "train")
    if not len(rows):
        raise RolesError(f"fold column {column} has no training images")
    return np.asarray(np.bincount(who.labels[rows], minlength=len(who.classes)) / len(rows))


def _majority(who: Cohort, column: int, _seed: int, images: int) -> np.ndarray:
    return _one_hot(np.full(images, np.argmax(_shares(who, column))), len(who.classes))


def _prior(who: Cohort, column: int, _seed: int, images: int) -> np.ndarray:
    return np.tile(_shares(who, column), (images, 1))


def _uniform(who: Cohort, column: int, seed: int, images: int) -> np.ndarray:
    from bench.score import kernels

    codes = np.empty(images, dtype=np.int64)
    kernels.pick(np.uint64(seed % 2**64), column, len(who.classes), codes)
    return _one_hot(codes, len(who.classes))


def _one_hot(codes: np.ndarray, classes: int) -> np.ndarray:
    table: np.ndarray = np.eye(classes)[codes]
    return table
