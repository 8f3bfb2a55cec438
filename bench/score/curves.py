"""ROC and precision-recall curves over the pooled predictions, thinned to what a page can show."""

from __future__ import annotations

import numpy as np

from bench.closeup import CurvePoint, RankCurves
from bench.score.bootstrap import Plan
from bench.score.kernels import compiled
from bench.score.metrics import ratio
from bench.score.runs import Run
from bench.score.sums import Band, Ledger, band

POINTS = 100


def rank_curves(run: Run, code: int, target: str, plan: Plan, level: float) -> RankCurves | None:
    """The curves of one class against the rest; None where it has no positives or no negatives.

    Bands are vertical (Fawcett 2006): the middle `level` of what the resamples reach at the same x,
    with the curve of each drawn through its values at the shown thresholds.
    """
    order = run.orders[code]
    positive = run.truth[order] == code
    if positive.all() or not positive.any():
        return None
    score = run.probs[order, code]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    hits, met = np.cumsum(positive)[ends], ends + 1
    recall = hits / hits[-1]
    false = (met - hits) / (met[-1] - hits[-1])
    precision = hits / met
    roc = _thinned(np.append(0, false), np.append(0, recall))
    ranked = _thinned(recall, precision)
    cuts = np.unique(np.append(np.maximum(roc - 1, 0), ranked))  # places in `ends`
    places = (np.append(0, false)[roc], recall[ranked])
    found = _band(run, order, positive, ends[cuts], places, plan, level)
    split = len(roc)
    return RankCurves(
        target,
        _curve(places[0], np.append(0, recall)[roc], np.append(0, met)[roc], found, slice(split)),
        _curve(places[1], precision[ranked], met[ranked], found, slice(split, None)),
    )


def _thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Places of about `POINTS` points, evenly spread along the curve, its ends among them."""
    path = np.cumsum(np.append(0, np.abs(np.diff(x)) + np.abs(np.diff(y))))
    marks = np.linspace(0, path[-1], POINTS)
    return np.unique(np.append(np.searchsorted(path, marks), len(x) - 1).clip(0, len(x) - 1))


def _band(
    run: Run,
    order: np.ndarray,
    positive: np.ndarray,
    last: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    plan: Plan,
    level: float,
) -> Band:
    """Sensitivity at the false positive rates, then precision at the recalls, of `places`.

    last  position in `order` of the last image called positive at each threshold, ascending
    """
    step = np.searchsorted(last, np.arange(len(order)))
    ledger = Ledger(run.groups, 2 * len(last), run.group[order], 2 * step + positive)

    def heights(sums: np.ndarray) -> np.ndarray:
        cells = np.cumsum(sums.reshape(len(last), 2, -1), axis=0)
        rates = ratio(cells, cells[-1])
        precision = ratio(cells[:, 1], cells.sum(axis=1))
        false, recall = (
            np.concatenate([np.zeros((1, rates.shape[2])), r]) for r in rates.swapaxes(0, 1)
        )
        out = np.empty((len(places[0]) + len(places[1]), rates.shape[2]))
        interpolate = compiled().interpolate
        interpolate(places[0], false, recall, out[: len(places[0])])
        interpolate(places[1], recall[1:], precision, out[len(places[0]) :])
        return out

    return band([ledger], heights, plan, level)


def _curve(
    x: np.ndarray, y: np.ndarray, met: np.ndarray, found: Band, where: slice
) -> tuple[CurvePoint, ...]:
    ends = (found.low[where], found.high[where])
    return tuple(
        CurvePoint(float(a), float(b), float(low), float(high), int(n))
        for a, b, n, low, high in zip(x, y, met, *ends, strict=True)
    )
