"""Calibration errors and reliability curves.

`ece` and `classwise_ece` use fifteen bins (lower, upper] of equal width (Guo et al. 2017, Kull et
al. 2019), `ece_equal_mass` fifteen bins of equal size up to ties (Nixon et al. 2019). The Brier
score is decomposed by class over the same fifteen bins and summed over classes (Murphy 1973):
reliability - resolution + uncertainty is the Brier score of the bin means. Every resample keeps the
bins of the original predictions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.leaderboard import Calibration, Curve, CurvePoint
from bench.protocol import Interval
from bench.score.bootstrap import Plan
from bench.score.join import Run
from bench.score.metric_sums import EstimateSpec, MetricSums, band, estimates, joined
from bench.score.metrics import ECE_BINS, brier_scores, confidence_bins, log_losses, ratio

BINS = ECE_BINS
METRICS = (
    "ece",
    "ece_equal_mass",
    "classwise_ece",
    "brier",
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "log_loss",
)


def calibration(
    runs: Sequence[Run],
    classes: Sequence[str],
    malignant: Sequence[Run],
    plan: Plan,
    interval: Interval,
    *,
    tempered: bool,
) -> Calibration:
    """Calibration, mean over runs that differ by seed and repeat only.

    malignant  the same runs with two classes; empty without malignant classes
    """
    all_sums = [_ledger(run) for run in runs]
    run = runs[0]
    images, groups = len(run.truth), run.groups_in()
    by_class = [run.groups_in(run.truth == code) for code in range(run.classes)]
    specs = [EstimateSpec(name, images, groups, run.unit) for name in METRICS]
    specs += [EstimateSpec("classwise_ece", images, own, run.unit) for own in by_class]
    estimated = estimates(all_sums, lambda sums: _values(sums, len(classes)), specs, plan, interval)
    return Calibration(
        tempered=tempered,
        metrics=dict(zip(METRICS, estimated, strict=False)),
        by_class=dict(zip(classes, estimated[len(METRICS) :], strict=True)),
        reliability=_reliability(runs, plan, interval.level),
        malignant=_of_class(malignant, plan, interval.level) if malignant else (),
    )


def binned(run: Run, bins: np.ndarray, probs: np.ndarray, outcome: np.ndarray) -> MetricSums:
    """Counts of each bin without and with the outcome, and the sum of its probabilities."""
    return MetricSums(
        groups=run.groups,
        cells=2 * BINS,
        group=run.group,
        cell=2 * bins + outcome,
        parts=BINS,
        value_group=run.group,
        part=bins,
        value=probs,
    )


def equal_mass_bins(top: np.ndarray) -> np.ndarray:
    """Bin 0 to 14 of every probability (N,), cut at the fifteenths of their distribution."""
    edges = np.quantile(top, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, top, side="left")


def _ledger(run: Run) -> MetricSums:
    """Top label in bins of equal width and equal mass, every class in equal width, then losses."""
    top = run.probs.max(axis=1)
    right = (run.predicted == run.truth).astype(np.int64)
    parts = [
        binned(run, confidence_bins(top), top, right),
        binned(run, equal_mass_bins(top), top, right),
    ]
    parts += [
        binned(run, confidence_bins(probs), probs, (run.truth == code).astype(np.int64))
        for code, probs in enumerate(run.probs.T)
    ]
    images = len(run.truth)
    losses = MetricSums(
        groups=run.groups,
        cells=0,
        group=run.group[:0],
        cell=run.truth[:0],
        parts=2,
        value_group=np.tile(run.group, 2),
        part=np.repeat([0, 1], images),
        value=np.concatenate(
            [brier_scores(run.truth, run.probs), log_losses(run.truth, run.probs)]
        ),
    )
    return joined([*parts, losses])


def _values(sums: np.ndarray, classes: int) -> np.ndarray:
    """`METRICS`, then the calibration error of every class, from the sums of `_ledger`."""
    kinds = classes + 2
    cells = sums[: kinds * 2 * BINS].reshape(kinds, BINS, 2, -1)
    confidence = sums[kinds * 2 * BINS : -2].reshape(kinds, BINS, -1)
    count, hits = cells.sum(axis=2), cells[:, :, 1]
    images = count[0].sum(axis=0)
    errors = ratio(_size(confidence - hits).sum(axis=1), images)
    in_bin, positives, summed_probability = count[2:], hits[2:], confidence[2:]
    share = ratio(positives.sum(axis=1), images)
    reliability = ratio(
        _squares_by_bin(summed_probability - positives, in_bin).sum(axis=(0, 1)), images
    )
    excess = positives - share[:, None] * in_bin
    resolution = ratio(_squares_by_bin(excess, in_bin).sum(axis=(0, 1)), images)
    whole = (
        errors[0],
        errors[1],
        errors[2:].mean(axis=0),
        ratio(sums[-2], images),
        reliability,
        resolution,
        (share * (1 - share)).sum(axis=0),
        ratio(sums[-1], images),
    )
    return np.concatenate([np.stack(whole), errors[2:]])


def _squares_by_bin(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """`sums ** 2 / count`, 0 in empty bins."""
    return np.asarray(np.nan_to_num(ratio(sums * sums, count), nan=0.0))


def _size(values: np.ndarray) -> np.ndarray:
    """Absolute value that a complex step can differentiate."""
    return np.asarray(values * np.sign(values.real))


def _reliability(runs: Sequence[Run], plan: Plan, level: float) -> Curve:
    tops = [run.probs.max(axis=1) for run in runs]
    rights = [(run.predicted == run.truth).astype(np.int64) for run in runs]
    all_sums = [
        binned(run, confidence_bins(top), top, right)
        for run, top, right in zip(runs, tops, rights, strict=True)
    ]
    return _curve(all_sums, plan, level)


def _of_class(runs: Sequence[Run], plan: Plan, level: float) -> Curve:
    all_sums = [
        binned(run, confidence_bins(run.probs[:, 1]), run.probs[:, 1], run.truth) for run in runs
    ]
    return _curve(all_sums, plan, level)


def _curve(all_sums: Sequence[MetricSums], plan: Plan, level: float) -> Curve:
    """Mean probability and observed share of the outcome in every non-empty bin."""
    merged = np.sum([sums.total() for sums in all_sums], axis=0)
    count = merged[: 2 * BINS].reshape(BINS, 2).sum(axis=1)
    mean = ratio(merged[2 * BINS :], count)
    shares = band(all_sums, _shares, plan, level)
    return tuple(
        CurvePoint(
            float(mean[at]),
            float(shares.value[at]),
            float(shares.low[at]),
            float(shares.high[at]),
            round(float(count[at]) / len(all_sums)),
        )
        for at in np.flatnonzero(count)
    )


def _shares(sums: np.ndarray) -> np.ndarray:
    cells = sums[: 2 * BINS].reshape(BINS, 2, -1)
    return ratio(cells[:, 1], cells.sum(axis=1))
