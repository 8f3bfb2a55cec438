"""What a row's numbers vary with: the lesions tested, what was trained on, the seed.

A random-effects split of one metric by fold and seed. With x[s, j] of seed s in fold j:

    seed      mean over folds of the variance over seeds: same parts, same lesions
    lesions   mean over folds of the bootstrap variance within the fold, the models kept
    training  variance between folds of the means over seeds, less lesions, less seed / S

The last is what is left to other training parts, and cannot be told from the seed where there is
one. A few folds tell it roughly only: with five, four degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.contrast import Spread
from bench.estimates import NAN
from bench.score.arrange import arrange
from bench.score.bootstrap import Plan, distributions
from bench.score.metrics import IMAGE_METRICS
from bench.score.rows import Row, fold_values
from bench.score.runs import Cohort, Run
from bench.score.views import subset

RESAMPLES = 2_000
"""Enough for a variance: its standard error is 3%."""


@dataclass(frozen=True)
class Parts:
    """One metric of a row in parts: values (S, J) by seed and fold, drawn (J, R) over seeds."""

    values: np.ndarray
    drawn: np.ndarray

    def __sub__(self, other: Parts) -> Parts:
        return Parts(self.values - other.values, self.drawn - other.drawn)


def parts_of(rows: Sequence[Row], metric: str, who: Cohort, seed: int) -> list[Parts]:
    """Every row's metric by seed and fold, on shared resamples; rows have the same passes."""
    place = IMAGE_METRICS.index(metric)
    columns = sorted({column for row in rows for column in _columns(row, who)})
    plan = Plan(who.groups, RESAMPLES, seed)
    found = []
    for row in rows:
        alone = _columns(row, who)
        arranged = [[arrange(run) for run in alone[column].values()] for column in columns]
        drawn = np.stack([table[place] for table in distributions(arranged, plan)])
        seeds = sorted({seed for seed, _ in row.passes})
        values = np.full((len(seeds), len(columns)), np.nan)
        for (own, repeat), scored in zip(row.passes, row.counted, strict=True):
            table = fold_values(scored)[place]
            for fold in scored.run.present:
                at = columns.index(repeat * who.folds + int(fold))
                values[seeds.index(own), at] = table[fold]
        found.append(Parts(values, drawn))
    return found


def spread(parts: Parts) -> Spread:
    """The split; NaN where a fold is missing or undefined, or there is one fold only."""
    seeds, folds = parts.values.shape
    if folds < 2 or not np.isfinite(parts.values).all():  # noqa: PLR2004 - one has no spread
        return Spread(NAN, NAN, NAN, NAN, folds, seeds)
    by_seed = float(parts.values.var(axis=0, ddof=1).mean()) if seeds > 1 else NAN
    between = float(parts.values.mean(axis=0).var(ddof=1))
    lesions = float(np.mean([_variance(drawn) for drawn in parts.drawn]))
    left = between - lesions - (by_seed / seeds if seeds > 1 else 0)
    return Spread(
        lesions=float(np.sqrt(lesions)),
        training=float(np.sqrt(max(left, 0.0))),
        seed=float(np.sqrt(by_seed)),
        between=float(np.sqrt(between)),
        folds=folds,
        seeds=seeds,
    )


def _variance(drawn: np.ndarray) -> float:
    finite = drawn[np.isfinite(drawn)]
    return float(finite.var(ddof=1)) if len(finite) > 1 else NAN


def _columns(row: Row, who: Cohort) -> dict[int, dict[int, Run]]:
    """Each fold column's own images, by column and seed."""
    found: dict[int, dict[int, Run]] = {}
    for (seed, repeat), scored in zip(row.passes, row.counted, strict=True):
        for fold in scored.run.present:
            own = subset(scored.run, scored.run.fold == fold)
            found.setdefault(repeat * who.folds + int(fold), {})[seed] = own
    return found
