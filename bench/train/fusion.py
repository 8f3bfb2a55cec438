"""Late fusion of the image model with a classifier of age, sex and localization.

The metadata classifier is a logistic regression with balanced classes, fitted on train. The joint
probabilities are the product of both models' probabilities, each to the power of a weight that is
fitted on val (the log opinion pool of `bench.calibrate`). A missing value is a category.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from bench.calibrate import OpinionPool, fit_pool
from bench.data.metadata_words import metadata_words
from bench.method import FoldTask, Part


class Fusion(Protocol):
    """Combines a model's probabilities with the metadata of a part."""

    def __call__(self, part: Part, probs: np.ndarray) -> np.ndarray:
        """Joint probabilities (N, C) of a part from the model's (N, C)."""


class NoFusion:
    """Null variant: the image model alone."""

    def __call__(self, part: Part, probs: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """The probabilities, unchanged."""
        return probs


class LateFusion:
    """Log opinion pool of the image model and the metadata classifier, weights fitted on val."""

    def __init__(self, task: FoldTask, val: np.ndarray) -> None:
        self.classes = len(task.classes)
        self.model = _metadata_model(task)
        members = np.stack([val, self._metadata_probs(task.val)])
        self.pool: OpinionPool = fit_pool("log", members, task.val.labels)
        image, metadata = (round(float(weight), 6) for weight in self.pool.weights)
        task.journal.fact("fusion_weights", {"image": image, "metadata": metadata})

    def __call__(self, part: Part, probs: np.ndarray) -> np.ndarray:
        """Joint probabilities (N, C) of a part from the model's (N, C)."""
        joint = self.pool(np.stack([probs, self._metadata_probs(part)]))
        return np.asarray(joint, dtype=probs.dtype)

    def _metadata_probs(self, part: Part) -> np.ndarray:
        probs = np.zeros((len(part), self.classes))
        probs[:, self.model.classes_] = self.model.predict_proba(metadata_words(part.records))
        return probs


def build_fusion(task: FoldTask, val: np.ndarray) -> Fusion:
    """The recipe's fusion. val: the image model's probabilities (N, C) of the val part."""
    return LateFusion(task, val) if task.recipe.metadata == "late" else NoFusion()


def _metadata_model(task: FoldTask) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    model = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    return model.fit(metadata_words(task.train.records), task.train.labels)
