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

from bench.estimates import NAN, Comparison, Estimate, MetricTable
from bench.score.intervals import all_agree, percentile
from bench.score.metrics import higher_is_better, keys
from bench.score.rows import Row


@dataclass(frozen=True)
class Contender:
    """A row as comparisons see it: its value, its resamples (R,), its fold values (columns,)."""

    name: str
    value: float
    drawn: np.ndarray
    by_fold: np.ndarray


def corrected_t(differences: np.ndarray, test_train_ratio: float) -> tuple[float, float, int]:
    """Mean, corrected standard error and degrees of freedom of differences (J,) by fold and repeat.

    The squared error is (1/J + test/train) * variance (Nadeau & Bengio 2003), df = J - 1. NaN for
    fewer than two folds or an undefined difference.
    """
    count = len(differences)
    if count < 2 or not np.isfinite([*differences, test_train_ratio]).all():  # noqa: PLR2004
        return NAN, NAN, 0
    variance = float(differences.var(ddof=1))
    error = float(np.sqrt((1 / count + test_train_ratio) * variance))
    return float(differences.mean()), error, count - 1


def nadeau_bengio(differences: np.ndarray, test_train_ratio: float) -> float:
    """Two-sided p of the corrected resampled t test (Nadeau & Bengio 2003).

    differences (J,) by fold and repeat. NaN where `corrected_t` is; 1 where all differences are 0;
    0 where they are all the same and not 0.

    The correction is exact for algorithms whose loss depends on the training part through its size
    only. Where a metric follows the training part closely (macro-F1 of a classifier trained for
    another loss), training parts that overlap make the folds more alike than it allows for, and the
    test rejects too often: `benchmarks/correction.py` measures how much.
    """
    mean, error, freedom = corrected_t(differences, test_train_ratio)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(mean / error))) if freedom else NAN


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
    rows: Sequence[Contender],
    metric: str,
    level: float,
    test_train_ratio: float,
    others: Sequence[np.ndarray] = (),
) -> tuple[Comparison, ...]:
    """All pairs, Holm over them. test_train_ratio NaN for controls: no test is made there.

    others  fold values (columns,) of further rows: their pairs are not returned, but the p values
            are adjusted for them as well
    """
    pairs = list(combinations(rows, 2))
    further = [
        *((row.by_fold, other) for row in rows for other in others),
        *combinations(others, 2),
    ]
    p_values = [
        nadeau_bengio(a - b, test_train_ratio)
        for a, b in (*((a.by_fold, b.by_fold) for a, b in pairs), *further)
    ]
    found = []
    for (a, b), p, p_adjusted in zip(pairs, p_values, holm(p_values), strict=False):
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


def difference_table(
    rows: tuple[Row, Row],
    drawn: np.ndarray,
    tables: tuple[MetricTable, MetricTable],
    classes: Sequence[str],
    level: float,
) -> MetricTable:
    """The first row minus the second in every metric, with intervals from drawn (M, R)."""
    metrics: dict[str, Estimate] = {}
    per_class: dict[str, dict[str, Estimate]] = {label: {} for label in classes}
    values = rows[0].values - rows[1].values
    for place, (name, code) in enumerate(keys(len(classes))):
        own, other = (
            table.metrics[name] if code is None else table.per_class[classes[code]][name]
            for table in tables
        )
        low, high = difference_interval(drawn[place], np.zeros(drawn.shape[1]), level)
        made = Estimate(
            value=float(values[place]),
            low=low,
            high=high,
            n=own.n,
            method="percentile" if np.isfinite(low) else "",
            marks=tuple(dict.fromkeys((*own.marks, *other.marks))),
        )
        (metrics if code is None else per_class[classes[code]])[name] = made
    return MetricTable(metrics=metrics, per_class=per_class)
