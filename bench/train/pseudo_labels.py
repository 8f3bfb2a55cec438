"""Pseudo-labels for unlabelled images.

A teacher is trained as the recipe says, on the fold's training part alone. What it is sure of among
the unlabelled images (its calibrated probability) becomes a label; a student of the same recipe
learns from both (Lee 2013; Xie et al. 2020, arXiv:1911.04252, without its noise). Val chooses for
both, and no test image is among the unlabelled ones (`bench.data.unlabelled`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bench.errors import MethodError
from bench.method import FoldTask, Images, LabelledPart, Part
from bench.predictions import Predictions
from bench.train.loop import StageJournal

TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class TwoStores(Images):
    """Images of one store, and behind them those of another, of the same size."""

    more: Images

    def __len__(self) -> int:
        return len(self.rows) + len(self.more)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Images (n, H, W, 3) uint8 RGB at the given positions."""
        taken = np.empty((len(positions), *self.pixels.shape[1:]), np.uint8)
        behind = positions >= len(self.rows)
        taken[~behind] = self.pixels[self.rows[positions[~behind]]]
        taken[behind] = self.more.take(positions[behind] - len(self.rows))
        return taken


def taught(task: FoldTask, fit: Callable[[FoldTask], Predictions]) -> FoldTask:
    """The student's task: its training part with what a teacher is sure of behind it.

    fit  trains a task and predicts its test part; for the teacher that is the unlabelled images
    Raises MethodError where the task has none.
    """
    if task.unlabelled is None:
        raise MethodError("unlabelled is not set by hand: run --unlabelled DIR")
    plain = task.recipe.with_overrides({"unlabelled": "", "temperature": True})
    teacher = replace(
        task,
        recipe=plain,
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
    told = {name: int(count) for name, count in zip(task.classes, counts, strict=True)}
    task.journal.fact("pseudo_labels", {"unlabelled": len(probs), **told})
    task.journal.note(
        f"learns from {len(sure)} of {len(probs)} unlabelled images, too, by labels of its own "
        f"(p >= {task.recipe.pseudo_threshold:g})"
    )
    return replace(task, train=_joined(task.train, task.unlabelled, sure, labels))


def _joined(train: LabelledPart, more: Part, sure: np.ndarray, labels: np.ndarray) -> LabelledPart:
    """The training part with some unlabelled images behind it, each a group of its own."""
    records = tuple(more.records[at] for at in sure)
    images = Images(more.images.pixels, more.images.rows[sure])
    groups = [f"unlabelled/{record.image_id}" for record in records]
    return LabelledPart(
        records=(*train.records, *records),
        images=TwoStores(train.images.pixels, train.images.rows, images),
        labels=np.concatenate([train.labels, labels]),
        group_ids=np.concatenate([train.group_ids, np.array(groups, dtype=object)]),
    )
