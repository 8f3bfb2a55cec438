"""Pseudo-labels for unlabelled images.

A teacher is trained by the recipe on the fold's training part. Unlabelled images with a calibrated
probability of at least `pseudo_threshold` get its label; a student of the same recipe is trained on
both (Lee 2013; Xie et al. 2020, arXiv:1911.04252, without its noise). Val selects the weights of
both, and no test image is among the unlabelled ones (`bench.data.unlabelled`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bench.errors import MethodError
from bench.method import FoldTask, Images, LabelledPart, Part
from bench.predictions import Predictions
from bench.train.diagnostics import StageJournal

TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class ConcatenatedImages(Images):
    """Images of one cache followed by those of another, of the same size."""

    more: Images

    def __len__(self) -> int:
        return len(self.rows) + len(self.more)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Images (n, H, W, 3) uint8 RGB at the given positions."""
        taken = np.empty((len(positions), *self.pixels.shape[1:]), np.uint8)
        second = positions >= len(self.rows)
        taken[~second] = self.pixels[self.rows[positions[~second]]]
        taken[second] = self.more.take(positions[second] - len(self.rows))
        return taken


def student_task(task: FoldTask, fit: Callable[[FoldTask], Predictions]) -> FoldTask:
    """The student's task: its training part is extended by pseudo-labelled images.

    fit  trains a task and predicts its test part; the teacher's are the unlabelled images
    Raises MethodError for a task without unlabelled images.
    """
    if task.unlabelled is None:
        raise MethodError("unlabelled cannot be set by --set; use run --unlabelled DIR")
    recipe = task.recipe.with_overrides({"unlabelled": "", "temperature": True})
    teacher = replace(
        task,
        recipe=recipe,
        test=task.unlabelled,
        unlabelled=None,
        folder=task.folder / TEACHER,
        journal=StageJournal(task.journal, TEACHER),
        tensorboard=None,
    )
    predictions = fit(teacher)
    probs = predictions.for_ids(task.unlabelled.image_ids)
    sure = np.flatnonzero(probs.max(axis=1) >= task.recipe.pseudo_threshold)
    labels = probs[sure].argmax(axis=1).astype(np.int64)
    counts = np.bincount(labels, minlength=len(task.classes))
    by_class = {name: int(count) for name, count in zip(task.classes, counts, strict=True)}
    task.journal.fact("pseudo_labels", {"unlabelled": len(probs), **by_class})
    task.journal.note(
        f"trained also on {len(sure)} of {len(probs)} unlabelled images, with pseudo-labels "
        f"(p >= {task.recipe.pseudo_threshold:g})"
    )
    return replace(task, train=_extended(task.train, task.unlabelled, sure, labels))


def _extended(
    train: LabelledPart, more: Part, sure: np.ndarray, labels: np.ndarray
) -> LabelledPart:
    """The training part followed by the chosen unlabelled images, one group each."""
    records = tuple(more.records[position] for position in sure)
    images = Images(more.images.pixels, more.images.rows[sure])
    groups = [f"unlabelled/{record.image_id}" for record in records]
    return LabelledPart(
        records=(*train.records, *records),
        images=ConcatenatedImages(train.images.pixels, train.images.rows, images),
        labels=np.concatenate([train.labels, labels]),
        group_ids=np.concatenate([train.group_ids, np.array(groups, dtype=object)]),
    )
