"""The training engine. Importing this package is cheap: torch comes when a training starts."""

from __future__ import annotations

from bench.method import FoldTask
from bench.predictions import Predictions


def fit_predict(task: FoldTask) -> Predictions:
    """Train the task's recipe on train, choose on val, predict test."""
    from bench.train.fit import fit_predict as fit

    return fit(task)
