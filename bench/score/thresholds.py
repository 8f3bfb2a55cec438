"""Operating points, decision curves, ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from bench.leaderboard import Curve, CurvePoint, Decision, OperatingPoint, RankCurves
from bench.protocol import Interval
from bench.score.bootstrap import Plan
from bench.score.derived_rows import thresholds
from bench.score.join import Run
from bench.score.metric_sums import Band, EstimateSpec, MetricSums, band, estimates, joined
from bench.score.metrics import ratio, sensitive_thresholds, thresholds_from_val

AIMS: tuple[tuple[str, int, Callable[..., np.ndarray]], ...] = (
    ("specificity", 90, thresholds_from_val),
    ("specificity", 95, thresholds_from_val),
    ("sensitivity", 95, sensitive_thresholds),
)
"""What val has to promise, in per cent, and how the threshold for it is chosen."""


def operating_points(
    runs: Sequence[Run], code: int, target: str, plan: Plan, interval: Interval
) -> tuple[OperatingPoint, ...]:
    """Sensitivity, specificity and precision on test for class `code` at each of `AIMS`.

    The thresholds are each fold's own. None where a fold lacks val predictions, or its val a class.
    """
    chosen = [
        [
            thresholds(run.thresholds.shape, run.val, partial(choose, percent=percent))[:, code]
            for _, percent, choose in AIMS
        ]
        for run in runs
    ]
    if not all(
        np.isfinite(threshold[run.present]).all()
        for run, each in zip(runs, chosen, strict=True)
        for threshold in each
    ):
        return ()
    ledgers = [_operating_sums(run, code, each) for run, each in zip(runs, chosen, strict=True)]
    asked = [one for at in range(len(AIMS)) for one in _asked(runs[0], code, chosen[0][at])]
    found = estimates(ledgers, _rates, asked, plan, interval)
    return tuple(
        OperatingPoint(target, aim, percent, *found[3 * at : 3 * at + 3])
        for at, (aim, percent, _) in enumerate(AIMS)
    )


def _called(run: Run, code: int, threshold: np.ndarray) -> np.ndarray:
    return np.asarray(run.probs[:, code] > threshold[run.fold])


def _operating_sums(run: Run, code: int, chosen: Sequence[np.ndarray]) -> MetricSums:
    own = run.truth == code
    return joined(
        [
            MetricSums(run.groups, 4, run.group, 2 * own + _called(run, code, threshold))
            for threshold in chosen
        ]
    )


def _rates(sums: np.ndarray) -> np.ndarray:
    """Sensitivity, specificity and precision of every point, from its four cells."""
    clear, alarm, missed, hit = sums.reshape(len(AIMS), 4, -1).swapaxes(0, 1)
    rates = [ratio(hit, hit + missed), ratio(clear, clear + alarm), ratio(hit, hit + alarm)]
    return np.stack(rates, axis=1).reshape(3 * len(AIMS), -1)


def _asked(run: Run, code: int, threshold: np.ndarray) -> list[EstimateSpec]:
    own, called = run.truth == code, _called(run, code, threshold)
    parts = {"sensitivity": own, "specificity": ~own, "precision": called}
    return [
        EstimateSpec(name, int(part.sum()), run.groups_in(part)) for name, part in parts.items()
    ]


THRESHOLDS = np.arange(1, 100) / 100
COVERAGES = np.arange(1, 21) / 20


def decision_curve(
    runs: Sequence[Run], tempered: Sequence[Run], plan: Plan, level: float
) -> Decision:
    """Net benefit (Vickers & Elkin 2006) of runs with two classes; `tempered` may be none.

    At threshold t an image is acted on where its probability is t or more:
    TP/n - FP/n * t/(1 - t).
    """
    found = band([_decision_sums(run) for run in runs], _benefits, plan, level)
    count = len(runs[0].truth)
    third = len(THRESHOLDS)
    curves = [_decision_points(found, slice(k * third, (k + 1) * third), count) for k in range(3)]
    warm: Curve = ()
    if tempered:
        also = band([_decision_sums(run) for run in tempered], _benefits, plan, level)
        warm = _decision_points(also, slice(0, third), count)
    return Decision(model=curves[0], tempered=warm, treat_all=curves[1], advantage=curves[2])


def _decision_sums(run: Run) -> MetricSums:
    """Images by outcome and by how many of the thresholds their probability reaches."""
    reached = np.searchsorted(THRESHOLDS, run.probs[:, 1], side="right")
    width = len(THRESHOLDS) + 1
    return MetricSums(run.groups, 2 * width, run.group, run.truth * width + reached)


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


def _decision_points(found: Band, where: slice, count: int) -> Curve:
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
        ledgers.append(MetricSums(run.groups, 2 * len(COVERAGES), run.group, 2 * reached + wrong))
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
    from bench.score import kernels

    step = np.searchsorted(last, np.arange(len(order)))
    ledger = MetricSums(run.groups, 2 * len(last), run.group[order], 2 * step + positive)

    def heights(sums: np.ndarray) -> np.ndarray:
        cells = np.cumsum(sums.reshape(len(last), 2, -1), axis=0)
        rates = ratio(cells, cells[-1])
        precision = ratio(cells[:, 1], cells.sum(axis=1))
        false, recall = (
            np.concatenate([np.zeros((1, rates.shape[2])), r]) for r in rates.swapaxes(0, 1)
        )
        out = np.empty((len(places[0]) + len(places[1]), rates.shape[2]))
        kernels.interpolate(places[0], false, recall, out[: len(places[0])])
        kernels.interpolate(places[1], recall[1:], precision, out[len(places[0]) :])
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
