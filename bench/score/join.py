"""Predictions joined with labels by image id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bench.dataset import Dataset
from bench.errors import PredictionError, RolesError, listing
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import Protocol, Roles
from bench.score.metrics import thresholds_from_val


@dataclass(frozen=True)
class Cohort:
    """Who is resampled: the groups with a test image in any fold.

    group (N,) int64 group number of every image of the roster, -1 where it is never tested
    groups    how many groups there are
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    roles: Roles
    folds: int
    repeats: int
    group: np.ndarray
    groups: int

    @property
    def columns(self) -> int:
        """Fold columns of a whole row: folds times repeats."""
        return self.folds * self.repeats

    @cached_property
    def test_train_ratio(self) -> float:
        """Test images to train images, mean over the fold columns."""
        rows = self.roles.rows
        sizes = [(len(rows(k, "test")), len(rows(k, "train"))) for k in range(self.columns)]
        return float(np.mean([test / train if train else np.nan for test, train in sizes]))


@dataclass(frozen=True)
class Val:
    """One fold's val part: place (V,) in the roster, truth (V,) class index, probs (V, C)."""

    place: np.ndarray
    truth: np.ndarray
    probs: np.ndarray


@dataclass(frozen=True)
class Run:
    """Out-of-fold predictions of one seed and repeat, pooled; image for image the same everywhere.

    truth (N,) class index. probs (N, C) float64. fold (N,) 0 to F-1. group (N,) cohort's number
    thresholds (F, C)  score above which an image is called positive, from val; NaN without
    place (N,) of every image in the roster; val, by fold, what it chose thresholds from. Both are
              empty where nobody looks closer than at the whole
    """

    truth: np.ndarray
    probs: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    thresholds: np.ndarray
    groups: int
    place: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    val: Mapping[int, Val] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return int(self.probs.shape[1])

    @property
    def folds(self) -> int:
        """Number of folds F of a repeat, also those this run has not."""
        return len(self.thresholds)

    def groups_in(self, chosen: np.ndarray | slice = slice(None)) -> int:
        """How many groups have an image among the chosen, (N,) bool; among all if not said."""
        return int(np.count_nonzero(np.bincount(self.group[chosen])))

    @cached_property
    def called(self) -> np.ndarray:
        """Predicted class of every image (N,): the largest probability, ties to the first."""
        return np.asarray(np.argmax(self.probs, axis=1))

    @cached_property
    def detected(self) -> np.ndarray:
        """Whether each image's own class scores above its fold's threshold (N,)."""
        own = self.probs[np.arange(len(self.truth)), self.truth]
        above: np.ndarray = own > self.thresholds[self.fold, self.truth]
        return above

    @cached_property
    def orders(self) -> tuple[np.ndarray, ...]:
        """Image positions (N,) by descending score, by class."""
        return tuple(descending(column).astype(np.int32) for column in self.probs.T)

    @cached_property
    def present(self) -> np.ndarray:
        """Folds of which this run has images, ascending."""
        return np.flatnonzero(np.bincount(self.fold, minlength=self.folds))


def descending(score: np.ndarray) -> np.ndarray:
    """Positions (N,) by descending score; equal ones stay in their order."""
    order = np.argsort(-score)  # many times faster than a stable sort, and the same without ties
    ordered = score[order]
    tied = (ordered[1:] == ordered[:-1]).any()
    return np.argsort(-score, kind="stable") if tied else order


def divided(order: np.ndarray, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """An order (N,) part by part, and how long each is (P,); part (N,) of every image."""
    small = part.astype(np.min_scalar_type(parts))  # the fewer bytes, the faster they are sorted
    by_part = order[np.argsort(small[order], kind="stable")]
    return by_part, np.bincount(part, minlength=parts)


def cohort(protocol: Protocol, manifest: Dataset, roles: Roles) -> Cohort:
    """Who is tested and resampled. Raises RolesError if the roles are of other images or folds."""
    if not np.array_equal(roles.image_ids, manifest.image_ids):
        roles.refuse_other_roster(manifest)
        raise RolesError(f"the roles and {manifest.name} do not hold the same images")
    folds, repeats = protocol.folds, protocol.split.repeats
    if roles.columns < folds * repeats:
        raise RolesError(
            f"the roles have {roles.columns} fold columns, protocol {protocol.name} needs "
            f"{folds * repeats} ({repeats} x {folds})"
        )
    tested = np.zeros(len(manifest), dtype=bool)
    for column in range(folds * repeats):
        tested[roles.rows(column, "test")] = True
    names, codes = np.unique(roles.group_ids[tested], return_inverse=True)
    group = np.full(len(manifest), -1, dtype=np.int64)
    group[tested] = codes
    return Cohort(
        manifest.classes, manifest.labels, roles, folds, repeats, group, groups=len(names)
    )


def refuse_unknown_slots(row: RowPredictions, cohort: Cohort) -> None:
    """Raise PredictionError for predictions of folds or repeats that the protocol has not."""
    strange = [
        str(slot)
        for slot in row.test
        if not (0 <= slot.fold < cohort.folds and 0 <= slot.repeat < cohort.repeats)
    ]
    if strange:
        raise PredictionError(
            f"row {row.name}: predictions of folds that the protocol has not: {listing(strange)}; "
            f"it has {cohort.repeats} x {cohort.folds}"
        )


def join(row: RowPredictions, slots: Sequence[TrainingKey], cohort: Cohort) -> Run:
    """The slots of one seed and repeat, joined with their labels by image id.

    Raises PredictionError naming row and slot where the ids are not the fold's test images.
    """
    places, probs, folds, vals = [], [], [], {}
    thresholds = np.full((cohort.folds, len(cohort.classes)), np.nan)
    for slot in sorted(slots):
        column = slot.repeat * cohort.folds + slot.fold
        rows = cohort.roles.rows(column, "test")
        probs.append(_aligned(row, slot, row.test[slot], rows, cohort))
        places.append(rows)
        folds.append(np.full(len(rows), slot.fold))
        if slot in row.val:
            known = cohort.roles.rows(column, "val")
            scores = _aligned(row, slot, row.val[slot], known, cohort, "val")
            vals[slot.fold] = Val(known, cohort.labels[known], scores)
            thresholds[slot.fold] = thresholds_from_val(cohort.labels[known], scores)
    where = np.concatenate(places)
    return Run(
        truth=cohort.labels[where],
        probs=np.concatenate(probs),
        fold=np.concatenate(folds),
        group=cohort.group[where],
        thresholds=thresholds,
        groups=cohort.groups,
        place=where,
        val=vals,
    )


def _aligned(
    row: RowPredictions,
    slot: TrainingKey,
    predictions: Predictions,
    rows: np.ndarray,
    cohort: Cohort,
    part: str = "test",
) -> np.ndarray:
    where = f"row {row.name}, seed {slot.seed}, repeat {slot.repeat}, fold {slot.fold} ({part})"
    if predictions.classes != cohort.classes:
        raise PredictionError(
            f"{where}: classes {', '.join(predictions.classes)}; "
            f"expected {', '.join(cohort.classes)}"
        )
    try:
        probs = predictions.for_ids(cohort.roles.image_ids[rows])
    except PredictionError as error:
        raise PredictionError(f"{where}: {error}") from None
    return probs.astype(np.float64)
