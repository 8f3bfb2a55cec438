"""Predictions of a method, keyed by image id, never by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.errors import PredictionError, listing

SUM_TOLERANCE = 1e-3
SUM_ROUNDING = 1e-6
"""Allowance for rounding errors of a float32 sum; 0.3 + 0.699 is within the tolerance."""


def sum_to_one(sums: np.ndarray) -> np.ndarray:
    """Mask (N,) bool of the sums of probabilities (N,) that are 1 within the tolerance."""
    return np.asarray(np.abs(sums - 1) <= SUM_TOLERANCE + SUM_ROUNDING)


@dataclass(frozen=True)
class Predictions:
    """Class probabilities of images.

    image_ids (N,) of str, unique. probs (N, C) float, non-negative, rows sum to 1 within 1e-3.
    classes   C names, the order of the columns. Raises PredictionError with the first offenders.
    """

    image_ids: np.ndarray
    probs: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        ids = np.asarray(self.image_ids, dtype=object)
        probs = np.asarray(self.probs)
        object.__setattr__(self, "image_ids", ids)
        object.__setattr__(self, "probs", probs)
        object.__setattr__(self, "classes", tuple(self.classes))
        if probs.shape != (len(ids), len(self.classes)):
            raise PredictionError(
                f"probabilities have the shape {probs.shape}, "
                f"expected ({len(ids)} images, {len(self.classes)} classes)"
            )
        if not np.issubdtype(probs.dtype, np.floating):
            raise PredictionError(
                f"probabilities are {probs.dtype}, expected floating point numbers"
            )
        self._refuse(pd.Series(ids).duplicated().to_numpy(), "duplicate image ids")
        self._refuse(~np.isfinite(probs).all(axis=1), "probabilities that are not finite")
        self._refuse((probs < 0).any(axis=1), "negative probabilities")
        sums = probs.sum(axis=1, dtype=np.float64)
        self._refuse(~sum_to_one(sums), "probabilities that do not sum to 1")

    def _refuse(self, wrong: Any, what: str) -> None:
        if wrong.any():
            raise PredictionError(f"{what}: {listing(self.image_ids[wrong].tolist())}")

    def __len__(self) -> int:
        return len(self.image_ids)

    def for_ids(self, image_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Probabilities (N, C) in the order of `image_ids`.

        Raises PredictionError unless the two sets of ids are equal.
        """
        if np.array_equal(self.image_ids, image_ids):  # the usual case for jobs, without a search
            return self.probs.copy()
        wanted = pd.Index(np.asarray(image_ids, dtype=object))
        have = pd.Index(self.image_ids)
        at = have.get_indexer(wanted)
        used = np.zeros(len(have), dtype=bool)
        used[at[at >= 0]] = True
        if used.all() and (at >= 0).all():
            return np.asarray(self.probs[at])
        missing, extra = wanted.difference(have), have.difference(wanted)
        faults = [
            f"{len(ids)} {what}: {listing(ids.tolist())}"
            for ids, what in ((missing, "images without prediction"), (extra, "unknown images"))
            if len(ids)
        ]
        raise PredictionError("; ".join(faults))

    def to_frame(self) -> pd.DataFrame:
        """The columns of a predictions file: `image_id`, then `p_<class>` in class order."""
        frame = pd.DataFrame(self.probs, columns=[f"p_{name}" for name in self.classes])
        frame.insert(0, "image_id", self.image_ids)
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        """Read the columns of a predictions file; columns are matched by class name."""
        wanted = ["image_id", *(f"p_{name}" for name in classes)]
        missing = [column for column in wanted if column not in frame.columns]
        if missing:
            raise PredictionError(f"missing columns: {listing(missing)}")
        probs = frame[wanted[1:]].to_numpy()
        return cls(frame["image_id"].to_numpy(dtype=object), probs, tuple(classes))


class TrainingKey(NamedTuple):
    """One training of a row: seed, repeat of the split, fold.

    If a protocol has arms, `fold` counts over all arms: it is the column of the roles file.
    """

    seed: int
    repeat: int
    fold: int


@dataclass(frozen=True)
class RowPredictions:
    """All predictions of one row of the leaderboard.

    test, val  predictions by training; `val` may be incomplete (submissions have none)
    """

    name: str
    method: str
    kind: str  # "trained", "submitted" or "reference"
    test: Mapping[TrainingKey, Predictions]
    val: Mapping[TrainingKey, Predictions] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds with at least one prediction."""
        return tuple(sorted({key.seed for key in self.test}))

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that are present in every seed and repeat of this row."""
        runs: dict[tuple[int, int], set[int]] = {}
        for key in self.test:
            runs.setdefault((key.seed, key.repeat), set()).add(key.fold)
        return tuple(sorted(set.intersection(*runs.values()))) if runs else ()

    def missing(
        self, seeds: Iterable[int], repeats: int, folds: Iterable[int]
    ) -> tuple[TrainingKey, ...]:
        """The trainings without test predictions; includes further seeds of the row."""
        keys = product(sorted({*seeds, *self.seeds}), range(repeats), folds)
        return tuple(key for key in map(TrainingKey._make, keys) if key not in self.test)

    def only(self, keys: AbstractSet[TrainingKey]) -> RowPredictions:
        """The row with the predictions of these trainings only."""
        test, val = (
            {key: predictions for key, predictions in part.items() if key in keys}
            for part in (self.test, self.val)
        )
        return replace(self, test=test, val=val)
