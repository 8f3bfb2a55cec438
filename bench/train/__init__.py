"""The training engine. Importing this package is fast; torch is imported when a training starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.method import FoldTask
from bench.predictions import Predictions


def fit_predict(task: FoldTask, build_model: Callable[[int], Any] | None = None) -> Predictions:
    """Train the task's recipe on train, choose on val, predict test.

    build_model  gives the torch module to train for a number of classes: images (N, 3, S, S)
                 normalised as for ImageNet to logits (N, num_classes). None: the recipe's `model`
    """
    from bench.train.fit import fit_predict as fit

    return fit(task, build_model)
