"""From a bootstrap distribution to an interval, and what to do where there is none."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri

AGREE = 1e-12


def percentile(drawn: np.ndarray, level: float) -> tuple[float, float]:
    """The middle `level` of the resamples drawn (R,)."""
    return quantiles(drawn, np.array([(1 - level) / 2, (1 + level) / 2]))


def quantiles(drawn: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """Two quantiles of values (R,), linear between neighbours as `numpy.quantile`, but faster."""
    places = shares * (len(drawn) - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, len(drawn) - 1)
    ordered = np.partition(drawn, (*lower, *upper))
    low, high = ordered[lower] + (places - lower) * (ordered[upper] - ordered[lower])
    return float(low), float(high)


def bca(
    drawn: np.ndarray, estimate: float, acceleration: float, level: float
) -> tuple[float, float] | None:
    """Bias-corrected and accelerated interval (Efron 1987) from the resamples drawn (R,).

    Resamples equal to the estimate count half for the bias. None where it is not defined: the
    estimate lies outside of all resamples, or the acceleration is too large for the level.
    """
    near = AGREE * max(1.0, abs(estimate))
    below = np.count_nonzero(drawn < estimate - near)
    within = np.count_nonzero(drawn <= estimate + near)
    bias = ndtri((below + within) / 2 / len(drawn))
    if not np.isfinite(bias):
        return None
    normal = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    shrink = 1 - acceleration * normal
    if (shrink <= 0).any() or not np.isfinite(acceleration):
        return None
    return quantiles(drawn, ndtr(bias + normal / shrink))


def clopper_pearson(hits: int, count: int, level: float) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson 1934), `hits` of `count`."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, count - hits + 1, tail))
    high = 1.0 if hits == count else float(betaincinv(hits + 1, count - hits, 1 - tail))
    return low, high


def all_agree(drawn: np.ndarray) -> bool:
    """Whether no two resamples differ by more than rounding."""
    return bool(np.ptp(drawn) <= AGREE * max(1.0, float(np.abs(drawn[0]))))
