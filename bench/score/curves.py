"""ROC and precision-recall curves over the pooled predictions, thinned to what a page can show."""

from __future__ import annotations

import numpy as np

from bench.closeup import CurvePoint, RankCurves
from bench.score.runs import Run

POINTS = 100


def rank_curves(run: Run, code: int, target: str) -> RankCurves | None:
    """The curves of one class against the rest; None where it has no positives or no negatives."""
    order = run.orders[code][-1]
    positive = run.truth[order] == code
    if positive.all() or not positive.any():
        return None
    score = run.probs[order, code]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    hits, met = np.cumsum(positive)[ends], ends + 1
    recall = hits / hits[-1]
    false = (met - hits) / (met[-1] - hits[-1])
    precision = hits / met
    roc = _thinned(np.append(0, false), np.append(0, recall), np.append(0, met))
    return RankCurves(target, roc, _thinned(recall, precision, met))


def _thinned(x: np.ndarray, y: np.ndarray, met: np.ndarray) -> tuple[CurvePoint, ...]:
    """About `POINTS` points, evenly spread along the curve, its ends among them."""
    path = np.cumsum(np.append(0, np.abs(np.diff(x)) + np.abs(np.diff(y))))
    marks = np.linspace(0, path[-1], POINTS)
    kept = np.unique(np.append(np.searchsorted(path, marks), len(x) - 1).clip(0, len(x) - 1))
    return tuple(CurvePoint(float(x[at]), float(y[at]), n=int(met[at])) for at in kept)
