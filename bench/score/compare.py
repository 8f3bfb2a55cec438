"""One row against another: an interval by paired resamples, a test by folds, a verdict by both.

The two answer different questions. The interval is about these trained models on other patients,
the test about the algorithms, trained on other samples. Only where both exclude chance is a row
called better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import stdtr

from bench.estimates import NAN, Comparison
from bench.score.intervals import all_agree, percentile
from bench.score.metrics import higher_is_better


@dataclass(frozen=True)
class Contender:
    """A row as comparisons see it: its value, its resamples (R,), its fold values (columns,)."""

    name: str
    value: float
    drawn: np.ndarray
    by_fold: np.ndarray


def nadeau_bengio(differences: np.ndarray, test_train_ratio: float) -> float:
    """Two-sided p of the corrected resampled t test (Nadeau & Bengio 2003).

    differences (J,) by fold and repeat; t = mean / sqrt((1/J + test/train) * variance), J - 1
    degrees of freedom. NaN for fewer than two folds or an undefined difference; 1 where all
    differences are 0; 0 where they are all the same and not 0.

    The correction is exact for algorithms whose loss depends on the training part through its size
    only. Where a metric follows the training part closely (macro-F1 of a classifier trained for
    another loss), training parts that overlap make the folds more alike than it allows for, and the
    test rejects too often: `benchmarks/correction.py` measures how much.
    """
    count = len(differences)
    if count < 2 or not np.isfinite([*differences, test_train_ratio]).all():  # noqa: PLR2004
        return NAN
    mean, variance = float(differences.mean()), float(differences.var(ddof=1))
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    statistic = mean / np.sqrt((1 / count + test_train_ratio) * variance)
    return float(2 * stdtr(count - 1, -abs(statistic)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (Holm 1979), in the given order; NaN stays NaN, uncounted."""
    adjusted = np.full(len(p_values), NAN)
    given = np.asarray(p_values, dtype=np.float64)
    defined = np.flatnonzero(np.isfinite(given))
    order = defined[np.argsort(given[defined], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(given[order] * factors))
    return [float(p) for p in adjusted]


def verdict(low: float, high: float, p_adjusted: float, level: float, *, higher: bool) -> str:
    """What may be said of a against b, given the interval of a minus b and the adjusted p.

    "better" or "worse" where both exclude chance, "not settled" where one does, else
    "no difference seen". Undefined excludes nothing.
    """
    apart = bool(low > 0 or high < 0)
    significant = bool(p_adjusted < round(1 - level, 12))  # 1 - 0.95 is a little above 0.05
    if apart and significant:
        return "better" if (low > 0) == higher else "worse"
    return "not settled" if apart or significant else "no difference seen"


def compare_rows(
    rows: Sequence[Contender], metric: str, level: float, test_train_ratio: float
) -> tuple[Comparison, ...]:
    """All pairs, Holm over them. test_train_ratio NaN for controls: no test is made there."""
    pairs = list(combinations(rows, 2))
    p_values = [nadeau_bengio(a.by_fold - b.by_fold, test_train_ratio) for a, b in pairs]
    found = []
    for (a, b), p, p_adjusted in zip(pairs, p_values, holm(p_values), strict=True):
        low, high = difference_interval(a.drawn, b.drawn, level)
        found.append(
            Comparison(
                a=a.name,
                b=b.name,
                metric=metric,
                difference=a.value - b.value,
                low=low,
                high=high,
                p=p,
                p_adjusted=p_adjusted,
                verdict=verdict(low, high, p_adjusted, level, higher=higher_is_better(metric)),
            )
        )
    return tuple(found)


def difference_interval(a: np.ndarray, b: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of a minus b over shared resamples (R,); NaN where all of them agree."""
    drawn = a - b
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or all_agree(drawn):
        return NAN, NAN
    return percentile(drawn, level)
