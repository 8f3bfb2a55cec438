"""The classification report that everybody knows, as text: scikit-learn's, of one job or a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import classification_report


def report_text(title: str, classes: Sequence[str], labels: np.ndarray, probs: np.ndarray) -> str:
    """Precision, recall, F1 and support by class of probabilities (N, C) with labels (N,).

    Points only, without intervals: those stand on the leaderboard. Undefined is nan.
    """
    table = classification_report(
        labels,
        probs.argmax(axis=1),
        labels=np.arange(len(classes)),
        target_names=list(classes),
        digits=3,
        zero_division=np.nan,
    )
    return f"{title}\n\n{table}"
