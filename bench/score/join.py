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
    """The resampled groups: those with a test image in any fold.

    group   (N,) int64 group number of every image of the dataset, -1 if it is never tested
    groups  number of groups
    unit    what a group is: "patient", "lesion", "group" or "image"
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    roles: Roles
    folds: int
    repeats: int
    group: np.ndarray
    groups: int
    unit: str = "group"

    @property
    def columns(self) -> int:
        """Number of fold columns: folds times repeats."""
        return self.folds * self.repeats

    @cached_property
    def test_train_ratio(self) -> float:
        """Test images to train images, mean over the fold columns."""
        rows = self.roles.rows
        sizes = [(len(rows(k, "test")), len(rows(k, "train"))) for k in range(self.columns)]
        return float(np.mean([test / train if train else np.nan for test, train in sizes]))


@dataclass(frozen=True)
class Val:
    """Val part of one fold: place (V,) in the image list, truth (V,) class index, probs (V, C)."""

    place: np.ndarray
    truth: np.ndarray
    probs: np.ndarray


@dataclass(frozen=True)
class Run:
    """Pooled out-of-fold predictions of one seed and repeat; the same image order in all arrays.

    truth (N,)         class index
    probs (N, C)       float64
    fold (N,)          0 to F-1
    group (N,)         group number of the cohort
    thresholds (F, C)  an image with a score above it is predicted positive; from val, NaN without
    place (N,)         in the image list; may be empty, as `val`, if only metrics of all images are
                       needed
    val                val part by fold
    unit               of the cohort
    """

    truth: np.ndarray
    probs: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    thresholds: np.ndarray
    groups: int
    place: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    val: Mapping[int, Val] = field(default_factory=dict)
    unit: str = "group"

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return int(self.probs.shape[1])

    @property
    def folds(self) -> int:
        """Number of folds F of a repeat, including folds without predictions in this run."""
        return len(self.thresholds)

    def groups_in(self, chosen: np.ndarray | slice = slice(None)) -> int:
        """Number of groups with an image among the chosen, (N,) bool; all images by default."""
        return int(np.count_nonzero(np.bincount(self.group[chosen])))

    @cached_property
    def predicted(self) -> np.ndarray:
        """Predicted class of every image (N,): the largest probability, ties to the first."""
        return np.asarray(np.argmax(self.probs, axis=1))

    @cached_property
    def detected(self) -> np.ndarray:
        """Whether the score of the true class is above the threshold of its fold (N,)."""
        own = self.probs[np.arange(len(self.truth)), self.truth]
        above: np.ndarray = own > self.thresholds[self.fold, self.truth]
        return above

    @cached_property
    def orders(self) -> tuple[np.ndarray, ...]:
        """Image positions (N,) by descending score, by class."""
        return tuple(descending(column).astype(np.int32) for column in self.probs.T)

    @cached_property
    def present(self) -> np.ndarray:
        """Folds with images in this run, ascending."""
        return np.flatnonzero(np.bincount(self.fold, minlength=self.folds))


def descending(score: np.ndarray) -> np.ndarray:
    """Positions (N,) by descending score; ties keep their order."""
    order = np.argsort(-score)  # many times faster than a stable sort, and the same without ties
    ordered = score[order]
    tied = (ordered[1:] == ordered[:-1]).any()
    return np.argsort(-score, kind="stable") if tied else order


def divided(order: np.ndarray, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """An order (N,) sorted by part, stable, and the size of each part (P,); part (N,)."""
    small = part.astype(np.min_scalar_type(parts))  # the fewer bytes, the faster they are sorted
    by_part = order[np.argsort(small[order], kind="stable")]
    return by_part, np.bincount(part, minlength=parts)


def build_cohort(protocol: Protocol, dataset: Dataset, roles: Roles) -> Cohort:
    """The tested and resampled groups. Raises RolesError if images or folds of the roles differ."""
    if not np.array_equal(roles.image_ids, dataset.image_ids):
        roles.refuse_other_roster(dataset)
        raise RolesError(f"the roles and {dataset.name} do not hold the same images")
    folds, repeats = protocol.folds, protocol.split.repeats
    if roles.columns < folds * repeats:
        raise RolesError(
            f"the roles have {roles.columns} fold columns, protocol {protocol.name} needs "
            f"{folds * repeats} ({repeats} x {folds})"
        )
    tested = np.zeros(len(dataset), dtype=bool)
    for column in range(folds * repeats):
        tested[roles.rows(column, "test")] = True
    names, codes = np.unique(roles.group_ids[tested], return_inverse=True)
    group = np.full(len(dataset), -1, dtype=np.int64)
    group[tested] = codes
    return Cohort(
        dataset.classes, dataset.labels, roles, folds, repeats, group, len(names), dataset.unit
    )


def refuse_unknown_trainings(row: RowPredictions, cohort: Cohort) -> None:
    """Raise PredictionError for predictions of folds or repeats that are not in the protocol."""
    unknown = [
        str(training)
        for training in row.test
        if not (0 <= training.fold < cohort.folds and 0 <= training.repeat < cohort.repeats)
    ]
    if unknown:
        raise PredictionError(
            f"row {row.name}: predictions of folds that are not in the protocol: "
            f"{listing(unknown)}; it has {cohort.repeats} x {cohort.folds}"
        )


def join(row: RowPredictions, trainings: Sequence[TrainingKey], cohort: Cohort) -> Run:
    """Join the trainings of one seed and repeat with the labels by image id.

    Raises PredictionError naming row and training where the ids are not the test images of the
    fold.
    """
    places, probs, folds, vals = [], [], [], {}
    thresholds = np.full((cohort.folds, len(cohort.classes)), np.nan)
    for training in sorted(trainings):
        column = training.repeat * cohort.folds + training.fold
        rows = cohort.roles.rows(column, "test")
        probs.append(_aligned(row, training, row.test[training], rows, cohort))
        places.append(rows)
        folds.append(np.full(len(rows), training.fold))
        if training in row.val:
            known = cohort.roles.rows(column, "val")
            scores = _aligned(row, training, row.val[training], known, cohort, "val")
            vals[training.fold] = Val(known, cohort.labels[known], scores)
            thresholds[training.fold] = thresholds_from_val(cohort.labels[known], scores)
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
        unit=cohort.unit,
    )


def _aligned(
    row: RowPredictions,
    training: TrainingKey,
    predictions: Predictions,
    rows: np.ndarray,
    cohort: Cohort,
    part: str = "test",
) -> np.ndarray:
    where = (
        f"row {row.name}, seed {training.seed}, repeat {training.repeat}, "
        f"fold {training.fold} ({part})"
    )
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
