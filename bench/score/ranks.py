"""Where rows stand on the primary metric, and how sure that is.

Ranks are worked out anew in every resample of the shared plan, so that rows are compared on the
same groups (Wiesenfarth et al. 2021). Equal values share the better rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.estimates import Rank


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """Rank of every row (rows, R), 1 for the highest score of its column; ties share the better."""
    out = np.empty(scores.shape, dtype=np.int64)
    for row, own in enumerate(scores):
        out[row] = 1 + (scores > own).sum(axis=0)
    return out


def rank_rows(
    values: Sequence[float], drawn: np.ndarray, level: float, *, higher: bool
) -> list[Rank]:
    """Point rank, percentile interval of the rank and P(best) of every row.

    values (rows,) as they stand, drawn (rows, R) in the resamples; resamples in which a row is
    undefined are left out. Rows that share the first place share its probability. A row whose own
    value is undefined is unranked.
    """
    sign = 1.0 if higher else -1.0
    points = sign * np.asarray(values, dtype=np.float64)
    defined = np.flatnonzero(np.isfinite(points))
    found = [Rank() for _ in points]
    if not len(defined):
        return found
    best = ranks_of(points[defined, None])[:, 0]
    scores = sign * drawn[defined]
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    if not scores.shape[1]:
        for place, row in enumerate(defined):
            found[row] = Rank(best=int(best[place]))
        return found
    ranks = ranks_of(scores)
    first = ranks == 1
    p_best = (first / first.sum(axis=0)).mean(axis=1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ranks, tails, axis=1, method="inverted_cdf")
    for place, row in enumerate(defined):
        found[row] = Rank(
            best=int(best[place]),
            low=int(low[place]),
            high=int(high[place]),
            p_best=float(p_best[place]),
        )
    return found
