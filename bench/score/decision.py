"""What acting on a probability is worth: decision curves, and answering the surest images only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.closeup import Curve, CurvePoint, Decision
from bench.score.bootstrap import Plan
from bench.score.metrics import ratio
from bench.score.runs import Run
from bench.score.sums import Band, Ledger, band

THRESHOLDS = np.arange(1, 100) / 100
COVERAGES = np.arange(1, 21) / 20


def decision_curve(
    runs: Sequence[Run], tempered: Sequence[Run], plan: Plan, level: float
) -> Decision:
    """Net benefit (Vickers & Elkin 2006) of runs with two classes; `tempered` may be none.

    At threshold t an image is acted on where its probability is t or more:
    TP/n - FP/n * t/(1 - t).
    """
    found = band([_ledger(run) for run in runs], _benefits, plan, level)
    count = len(runs[0].truth)
    third = len(THRESHOLDS)
    curves = [_curve(found, slice(k * third, (k + 1) * third), count) for k in range(3)]
    warm: Curve = ()
    if tempered:
        also = band([_ledger(run) for run in tempered], _benefits, plan, level)
        warm = _curve(also, slice(0, third), count)
    return Decision(model=curves[0], tempered=warm, treat_all=curves[1], advantage=curves[2])


def _ledger(run: Run) -> Ledger:
    """Images by outcome and by how many of the thresholds their probability reaches."""
    reached = np.searchsorted(THRESHOLDS, run.probs[:, 1], side="right")
    width = len(THRESHOLDS) + 1
    return Ledger(run.groups, 2 * width, run.group, run.truth * width + reached)


def _benefits(sums: np.ndarray) -> np.ndarray:
    """Net benefit of the model, of treating all, and of the model beyond the better default."""
    width = len(THRESHOLDS) + 1
    cells = sums.reshape(2, width, -1)
    benign, malignant = cells.sum(axis=1)
    false, true = (np.cumsum(one[::-1], axis=0)[::-1][1:] for one in cells)
    odds = (THRESHOLDS / (1 - THRESHOLDS))[:, None]
    images = benign + malignant
    model = ratio(true - odds * false, images)
    everyone = ratio(malignant - odds * benign, images)
    return np.concatenate([model, everyone, model - np.maximum(everyone, 0)])


def _curve(found: Band, where: slice, count: int) -> Curve:
    ends = (found.value[where], found.low[where], found.high[where])
    return tuple(
        CurvePoint(float(x), float(y), float(low), float(high), count)
        for x, y, low, high in zip(THRESHOLDS, *ends, strict=True)
    )


def risk_coverage(runs: Sequence[Run], plan: Plan, level: float) -> Curve:
    """The error among the surest images: x share answered, y share of those that is wrong.

    Confidence is the top probability (Geifman & El-Yaniv 2017). An image is answered where its own
    reaches what the given share reaches, so ties are answered together and x is what it came to.
    Resamples keep the threshold.
    """
    cuts = [_cuts(run) for run in runs]
    ledgers = []
    for run, cut in zip(runs, cuts, strict=True):
        top = run.probs.max(axis=1)
        reached = np.searchsorted(cut, -top, side="left")  # the first cut that it reaches
        wrong = (run.called != run.truth).astype(np.int64)
        ledgers.append(Ledger(run.groups, 2 * len(COVERAGES), run.group, 2 * reached + wrong))
    found = band(ledgers, _risks, plan, level)
    totals = np.mean([one.total() for one in ledgers], axis=0).reshape(-1, 2).sum(axis=1)
    kept = np.cumsum(totals)
    return tuple(
        CurvePoint(
            float(kept[at] / kept[-1]),
            float(found.value[at]),
            float(found.low[at]),
            float(found.high[at]),
            round(float(kept[at])),
        )
        for at in range(len(COVERAGES))
    )


def _cuts(run: Run) -> np.ndarray:
    """Negated top probability (20,), ascending, that each share of `COVERAGES` reaches."""
    ordered = np.sort(-run.probs.max(axis=1))
    return ordered[np.ceil(COVERAGES * len(ordered) - 1e-9).astype(np.int64) - 1]


def _risks(sums: np.ndarray) -> np.ndarray:
    cells = np.cumsum(sums.reshape(len(COVERAGES), 2, -1), axis=0)
    return ratio(cells[:, 1], cells.sum(axis=1))
