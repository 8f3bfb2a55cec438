"""Methods: options (Recipe), input (FoldTask), reports (Journal) and the method itself (Method).

A method receives images, age, sex and localization, and the labels of train and val. It never
receives the label, diagnosis type, source or group of a test image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """N images of a cache of M: pixels (M, H, W, 3) uint8 RGB, rows (N,) indices into them."""

    pixels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Images (n, H, W, 3) uint8 RGB at the given positions."""
        return np.asarray(self.pixels[self.rows[positions]])


@dataclass(frozen=True, slots=True)
class Part:
    """N images without labels and their metadata, in image-id order."""

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
    """Receives the reports of a training and keeps them in the job's folder."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Add a row to history.csv: `epoch`, `seconds`, losses, val metrics, other numbers."""

    def fact(self, name: str, value: Any) -> None:
        """Add a fact to record.json: `selected_epoch`, `val_score`, `parameters`, ..."""

    def note(self, sentence: str) -> None:
        """Add a sentence to the log, the record and the row's page."""

    def val_predictions(self, predictions: Predictions) -> None:
        """Keep the predictions of the val part, for thresholds and calibration."""


@dataclass(frozen=True, slots=True)
class FoldTask:
    """The input of a method: train on train, select on val, predict test.

    classes   class names in the order of the probability columns
    seed      with column, the number of the fold, the only source of randomness
    device    "cpu" or "cuda"
    threads   number of CPU threads that the job may use
    weights   file of pretrained weights; None: train from scratch and report it
    folder    folder for checkpoints, kept over interruptions
    chain     the preprocessing of the images, step by step
    devices   processes that share the job, each on a separate device; this is one of them
    checkpoint_seconds  interval of checkpoints: the most work that an interruption loses
    tensorboard  folder for TensorBoard events; None: write none
    dataset   name of the dataset, for reports
    unlabelled  unlabelled images, in no part of the fold; None: there are none
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
    """A method of the bench; fit_predict returns the predictions of the test part.

    inputs  files or folders that the method reads beside the task (features, tables); their
            content is part of the job id. A relative path is below the folder of the method's file
    """

    name: str
    recipe: Recipe
    fit_predict: Callable[[FoldTask], Predictions]
    inputs: Sequence[str | Path] = ()
