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
"""Target on val, in per cent, and the function that chooses the threshold for it."""


def operating_points(
    runs: Sequence[Run], code: int, target: str, plan: Plan, interval: Interval
) -> tuple[OperatingPoint, ...]:
    """Sensitivity, specificity and precision on test for class `code` at each of `AIMS`.

    Each fold has its own threshold. Empty if a fold has no val predictions or its val part lacks a
    class.
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
    all_sums = [_operating_sums(run, code, each) for run, each in zip(runs, chosen, strict=True)]
    specs = [spec for at in range(len(AIMS)) for spec in _asked(runs[0], code, chosen[0][at])]
    rates = estimates(all_sums, _rates, specs, plan, interval)
    return tuple(
        OperatingPoint(target, aim, percent, *rates[3 * at : 3 * at + 3])
        for at, (aim, percent, _) in enumerate(AIMS)
    )


def _predicted(run: Run, code: int, threshold: np.ndarray) -> np.ndarray:
    return np.asarray(run.probs[:, code] > threshold[run.fold])


def _operating_sums(run: Run, code: int, chosen: Sequence[np.ndarray]) -> MetricSums:
    own = run.truth == code
    return joined(
        [
            MetricSums(run.groups, 4, run.group, 2 * own + _predicted(run, code, threshold))
            for threshold in chosen
        ]
    )


def _rates(sums: np.ndarray) -> np.ndarray:
    """Sensitivity, specificity and precision of every point, from its four cells."""
    clear, alarm, missed, hit = sums.reshape(len(AIMS), 4, -1).swapaxes(0, 1)
    rates = [ratio(hit, hit + missed), ratio(clear, clear + alarm), ratio(hit, hit + alarm)]
    return np.stack(rates, axis=1).reshape(3 * len(AIMS), -1)


def _asked(run: Run, code: int, threshold: np.ndarray) -> list[EstimateSpec]:
    own, predicted = run.truth == code, _predicted(run, code, threshold)
    parts = {"sensitivity": own, "specificity": ~own, "precision": predicted}
    return [
        EstimateSpec(name, int(part.sum()), run.groups_in(part), run.unit)
        for name, part in parts.items()
    ]


THRESHOLDS = np.arange(1, 100) / 100
COVERAGES = np.arange(1, 21) / 20


def decision_curve(
    runs: Sequence[Run], tempered: Sequence[Run], plan: Plan, level: float
) -> Decision:
    """Net benefit (Vickers & Elkin 2006) of runs with two classes; `tempered` may be empty.

    At threshold t an image is predicted malignant if its probability is t or more:
    TP/n - FP/n * t/(1 - t).
    """
    benefits = band([_decision_sums(run) for run in runs], _benefits, plan, level)
    count = len(runs[0].truth)
    third = len(THRESHOLDS)
    curves = [
        _decision_points(benefits, slice(k * third, (k + 1) * third), count) for k in range(3)
    ]
    calibrated: Curve = ()
    if tempered:
        calibrated_benefits = band(
            [_decision_sums(run) for run in tempered], _benefits, plan, level
        )
        calibrated = _decision_points(calibrated_benefits, slice(0, third), count)
    return Decision(model=curves[0], tempered=calibrated, treat_all=curves[1], advantage=curves[2])


def _decision_sums(run: Run) -> MetricSums:
    """Images by outcome and by the number of thresholds that their probability reaches."""
    reached = np.searchsorted(THRESHOLDS, run.probs[:, 1], side="right")
    width = len(THRESHOLDS) + 1
    return MetricSums(run.groups, 2 * width, run.group, run.truth * width + reached)


def _benefits(sums: np.ndarray) -> np.ndarray:
    """Net benefit of the model, of treating all, and of the model minus the better default."""
    width = len(THRESHOLDS) + 1
    cells = sums.reshape(2, width, -1)
    benign, malignant = cells.sum(axis=1)
    false, true = (np.cumsum(side[::-1], axis=0)[::-1][1:] for side in cells)
    odds = (THRESHOLDS / (1 - THRESHOLDS))[:, None]
    images = benign + malignant
    model = ratio(true - odds * false, images)
    everyone = ratio(malignant - odds * benign, images)
    return np.concatenate([model, everyone, model - np.maximum(everyone, 0)])


def _decision_points(benefits: Band, where: slice, count: int) -> Curve:
    ends = (benefits.value[where], benefits.low[where], benefits.high[where])
    return tuple(
        CurvePoint(float(x), float(y), float(low), float(high), count)
        for x, y, low, high in zip(THRESHOLDS, *ends, strict=True)
    )


def risk_coverage(runs: Sequence[Run], plan: Plan, level: float) -> Curve:
    """Risk-coverage curve: x share of the images accepted, y error rate of these.

    Confidence is the top probability (Geifman & El-Yaniv 2017). Images tied at the threshold are
    accepted together, so x is the share actually accepted. Resamples keep the thresholds.
    """
    cuts = [_cuts(run) for run in runs]
    all_sums = []
    for run, cut in zip(runs, cuts, strict=True):
        top = run.probs.max(axis=1)
        reached = np.searchsorted(cut, -top, side="left")  # the first threshold that it reaches
        wrong = (run.predicted != run.truth).astype(np.int64)
        all_sums.append(MetricSums(run.groups, 2 * len(COVERAGES), run.group, 2 * reached + wrong))
    risks = band(all_sums, _risks, plan, level)
    totals = np.mean([sums.total() for sums in all_sums], axis=0).reshape(-1, 2).sum(axis=1)
    kept = np.cumsum(totals)
    return tuple(
        CurvePoint(
            float(kept[at] / kept[-1]),
            float(risks.value[at]),
            float(risks.low[at]),
            float(risks.high[at]),
            round(float(kept[at])),
        )
        for at in range(len(COVERAGES))
    )


def _cuts(run: Run) -> np.ndarray:
    """Negated confidence threshold (20,), ascending, for each of `COVERAGES`."""
    ordered = np.sort(-run.probs.max(axis=1))
    return ordered[np.ceil(COVERAGES * len(ordered) - 1e-9).astype(np.int64) - 1]


def _risks(sums: np.ndarray) -> np.ndarray:
    cells = np.cumsum(sums.reshape(len(COVERAGES), 2, -1), axis=0)
    return ratio(cells[:, 1], cells.sum(axis=1))


POINTS = 100


def rank_curves(run: Run, code: int, target: str, plan: Plan, level: float) -> RankCurves | None:
    """ROC and precision-recall curves of one class against the rest; None without both sides.

    Bands are vertical (Fawcett 2006): percentile intervals at the same x, with the curve of each
    resample interpolated between its values at the shown thresholds.
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
    curve_band = _band(run, order, positive, ends[cuts], places, plan, level)
    split = len(roc)
    return RankCurves(
        target,
        _curve(
            places[0], np.append(0, recall)[roc], np.append(0, met)[roc], curve_band, slice(split)
        ),
        _curve(places[1], precision[ranked], met[ranked], curve_band, slice(split, None)),
    )


def _thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positions of about `POINTS` points, evenly spaced along the curve, with both ends."""
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

    last  position in `order` of the last predicted positive at each threshold, ascending
    """
    from bench.score import kernels

    step = np.searchsorted(last, np.arange(len(order)))
    metric_sums = MetricSums(run.groups, 2 * len(last), run.group[order], 2 * step + positive)

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

    return band([metric_sums], heights, plan, level)


def _curve(
    x: np.ndarray, y: np.ndarray, met: np.ndarray, curve_band: Band, where: slice
) -> tuple[CurvePoint, ...]:
    ends = (curve_band.low[where], curve_band.high[where])
    return tuple(
        CurvePoint(float(a), float(b), float(low), float(high), int(n))
        for a, b, n, low, high in zip(x, y, met, *ends, strict=True)
    )
