"""Dummy baselines: majority, prior, uniform."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.dataset import Dataset
from bench.errors import RolesError
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import Protocol, Roles
from bench.score.join import Cohort, build_cohort

KIND = "reference"


def references(
    protocol: Protocol, dataset: Dataset, roles: Roles, seeds: Sequence[int]
) -> list[RowPredictions]:
    """Three rows of kind "reference", with every fold of every repeat for every seed.

    majority  the training part's most frequent class, probability 1 (ties: the first class)
    prior     the training part's class shares
    uniform   labels drawn uniformly from the seed, probability 1

    Raises RolesError where a fold has no training images.
    """
    cohort = build_cohort(protocol, dataset, roles)
    draws: dict[str, Callable[[Cohort, int, int, int], np.ndarray]] = {
        "majority": _majority,
        "prior": _prior,
        "uniform": _uniform,
    }
    rows_made = []
    for name, draw in draws.items():
        test = {}
        for repeat in range(cohort.repeats):
            for fold in range(cohort.folds):
                column = repeat * cohort.folds + fold
                rows = roles.rows(column, "test")
                for seed in seeds:
                    probs = draw(cohort, column, seed, len(rows))
                    test[TrainingKey(seed, repeat, fold)] = Predictions(
                        roles.image_ids[rows], probs, cohort.classes
                    )
        rows_made.append(RowPredictions(name=name, method=name, kind=KIND, test=test))
    return rows_made


def _shares(cohort: Cohort, column: int) -> np.ndarray:
    rows = cohort.roles.rows(column, "train")
    if not len(rows):
        raise RolesError(f"fold column {column} has no training images")
    return np.asarray(np.bincount(cohort.labels[rows], minlength=len(cohort.classes)) / len(rows))


def _majority(cohort: Cohort, column: int, _seed: int, images: int) -> np.ndarray:
    return _one_hot(np.full(images, np.argmax(_shares(cohort, column))), len(cohort.classes))


def _prior(cohort: Cohort, column: int, _seed: int, images: int) -> np.ndarray:
    return np.tile(_shares(cohort, column), (images, 1))


def _uniform(cohort: Cohort, column: int, seed: int, images: int) -> np.ndarray:
    from bench.score import kernels

    codes = np.empty(images, dtype=np.int64)
    kernels.pick(np.uint64(seed % 2**64), column, len(cohort.classes), codes)
    return _one_hot(codes, len(cohort.classes))


def _one_hot(codes: np.ndarray, classes: int) -> np.ndarray:
    table: np.ndarray = np.eye(classes)[codes]
    return table
