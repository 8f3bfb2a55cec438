"""Methods: what they are told to do (Recipe), what they are given (FoldTask), what they are.

A method sees images, age, sex and localization, and the labels of train and val. Of a test image
it never sees a label, a diagnosis type, a source or a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.dataset import UnlabelledRecord
from bench.predictions import Predictions
from bench.recipe import OWN_MODEL, Recipe, parse_overrides

__all__ = [
    "OWN_MODEL",
    "FoldTask",
    "Images",
    "Journal",
    "LabelledPart",
    "Method",
    "Part",
    "Recipe",
    "parse_overrides",
]


@dataclass(frozen=True, slots=True)
class Images:
    """Some images of a store: pixels (M, H, W, 3) uint8 RGB of all, rows (N,) of the ones meant."""

    pixels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Images (n, H, W, 3) uint8 RGB at the given positions."""
        return np.asarray(self.pixels[self.rows[positions]])


@dataclass(frozen=True, slots=True)
class Part:
    """Images without labels, and what may be known of them. N images in image-id order."""

    records: tuple[UnlabelledRecord, ...]
    images: Images

    def __len__(self) -> int:
        return len(self.records)

    @property
    def image_ids(self) -> np.ndarray:
        """Image ids (N,) of str."""
        return np.array([record.image_id for record in self.records], dtype=object)


@dataclass(frozen=True, slots=True)
class LabelledPart(Part):
    """Images with class indices labels (N,) int64 and group ids (N,) of str."""

    labels: np.ndarray
    group_ids: np.ndarray


class Journal(Protocol):
    """Where a method tells what it does while it learns. All of it ends up in the job's folder."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """One row of history.csv: `epoch`, `seconds`, losses, val metrics, whatever there is."""

    def fact(self, name: str, value: Any) -> None:
        """A fact for record.json: `selected_epoch`, `val_score`, `parameters`, ..."""

    def note(self, sentence: str) -> None:
        """A sentence that must be seen: in the log, in the record and on the page."""

    def val_predictions(self, predictions: Predictions) -> None:
        """Predictions of the val part, for thresholds and calibration."""


@dataclass(frozen=True, slots=True)
class FoldTask:
    """What a method is given: learn from train, choose on val, predict test.

    classes   the order of every probability column
    seed      with column, the number of the fold, the only source of randomness
    device    "cpu" or "cuda"; threads: as many as the job may use
    weights   file of pretrained weights, or None: then train from scratch and say so
    folder    a folder of the job's own, kept over interruptions: checkpoints go here
    chain     what was done to every image before: the store's preprocessing, step by step
    devices   processes that share the job, each on a device of its own; this is one of them
    checkpoint_seconds  longest time that an interruption may undo
    tensorboard  folder for TensorBoard's events, or None: tell it nothing
    dataset   its name, for what is written down
    unlabelled  images of no part of the fold, which nobody has labelled; None: there are none
    """

    classes: tuple[str, ...]
    train: LabelledPart
    val: LabelledPart
    test: Part
    recipe: Recipe
    seed: int
    column: int
    device: str
    threads: int
    weights: Path | None
    folder: Path
    journal: Journal
    chain: tuple[Mapping[str, Any], ...] = ()
    devices: int = 1
    checkpoint_seconds: float = 60.0
    tensorboard: Path | None = None
    dataset: str = ""
    unlabelled: Part | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the bench. fit_predict gives the predictions of the test part."""

    name: str
    recipe: Recipe
    fit_predict: Callable[[FoldTask], Predictions]
