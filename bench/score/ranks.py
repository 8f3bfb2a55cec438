"""Where rows stand on the primary metric, and how sure that is.

Ranks are worked out anew in every resample of the shared plan, so that rows are compared on the
same groups (Wiesenfarth et al. 2021). Equal values share the better rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.estimates import Comparison, Rank


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """Rank of every row (rows, R), 1 for the highest score of its column; ties share the better."""
    out = np.empty(scores.shape, dtype=np.int64)
    for row, own in enumerate(scores):
        out[row] = 1 + (scores > own).sum(axis=0)
    return out


def rank_rows(
    values: Sequence[float], drawn: np.ndarray, level: float, *, higher: bool
) -> list[Rank]:
    """Point rank, percentile interval of the rank, P(best) and P(each rank) of every row.

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
    shares = (ranks[:, :, None] == np.arange(1, len(ranks) + 1)).mean(axis=1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ranks, tails, axis=1, method="inverted_cdf")
    for place, row in enumerate(defined):
        found[row] = Rank(
            best=int(best[place]),
            low=int(low[place]),
            high=int(high[place]),
            p_best=float(p_best[place]),
            shares=tuple(map(float, shares[place])),
        )
    return found


def mean_ranks(by_fold: np.ndarray, *, higher: bool) -> np.ndarray:
    """The mean over folds of every row's rank, (rows,) of values (rows, folds); ties share theirs.

    Folds in which a row is undefined are left out; NaN where none is left.
    """
    scores = by_fold[:, np.isfinite(by_fold).all(axis=0)]
    if not scores.shape[1]:
        return np.full(len(by_fold), np.nan)
    best, from_below = ranks_of(scores), ranks_of(-scores)
    if not higher:
        best, from_below = from_below, best
    worst = len(scores) + 1 - from_below
    return np.asarray(((best + worst) / 2).mean(axis=1))


def tie_groups(
    names: Sequence[str], comparisons: Sequence[Comparison]
) -> tuple[tuple[str, ...], ...]:
    """The largest sets of rows, two at least, of which no two are told apart, best first.

    names are in the order of their ranks. A row may be in several: a close to b and b to c does not
    make a close to c. They are the maximal cliques of "not told apart" (Piepho 2004).
    """
    import networkx as nx

    place = {name: number for number, name in enumerate(names)}
    alike = nx.Graph()
    alike.add_edges_from(
        (one.a, one.b)
        for one in comparisons
        if one.verdict not in ("better", "worse") and {one.a, one.b} <= place.keys()
    )
    found = [sorted(place[name] for name in clique) for clique in nx.find_cliques(alike)]
    return tuple(tuple(names[at] for at in clique) for clique in sorted(found))
