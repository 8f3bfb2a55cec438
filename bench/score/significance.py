"""Tests over folds, ranks, tie groups and sources of variance; `bench.score.verdicts` judges.

The corrected resampled t test and the Bayesian correlated t test are evidence beside the verdicts
and never decide one: at the size of HAM10000 their correction is many times too large.

Ranks are computed in every resample of the shared plan, so rows are compared on the same groups
(Wiesenfarth et al. 2021). Equal values share the better rank.

Variance components of one metric, a random-effects model by fold and seed. With x[s, j] of seed s
in fold j:

    seed      mean over folds of the variance over seeds: same parts, same lesions
    lesions   mean over folds of the bootstrap variance within the fold, conditional on the models
    training  variance between folds of the means over seeds, minus lesions, minus seed / S

Training is the effect of other training parts; with a single seed it includes the seed. Few folds
estimate it roughly: five folds have four degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import stdtr

from bench.leaderboard import (
    NAN,
    BayesianTest,
    Rank,
    Spread,
)
from bench.score.bootstrap import Plan, distributions, sort_scores
from bench.score.derived_rows import subset
from bench.score.join import Cohort, Run
from bench.score.metrics import IMAGE_METRICS
from bench.score.row import Row, fold_values


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

    differences (J,) by fold and repeat. NaN if `corrected_t` is NaN; 1 if all differences are 0;
    0 if all are equal and not 0.

    The correction is exact if the loss depends on the training part through its size only. If a
    metric depends strongly on the training part (macro-F1 of a classifier trained for another
    loss), overlapping training parts correlate the folds more than assumed, and the test rejects
    too often; `benchmarks/correction.py` measures how much.
    """
    mean, error, freedom = corrected_t(differences, test_train_ratio)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(mean / error))) if freedom else NAN


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (Holm 1979), in the given order; NaN stays NaN and is not
    counted."""
    adjusted = np.full(len(p_values), NAN)
    given = np.asarray(p_values, dtype=np.float64)
    defined = np.flatnonzero(np.isfinite(given))
    order = defined[np.argsort(given[defined], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(given[order] * factors))
    return [float(p) for p in adjusted]


def belief(by_fold: np.ndarray, ratio: float, rope: float, *, higher: bool) -> BayesianTest | None:
    """The Bayesian correlated t test (Corani & Benavoli 2015) of differences (J,), by baycomp.

    The posterior uses the test/train ratio of the roles instead of 1/(folds - 1). None if the
    test is undefined.
    """
    mean, error, freedom = corrected_t(by_fold if higher else -by_fold, ratio)
    if not freedom:
        return None
    from baycomp.single import Posterior

    b_better, alike, a_better = Posterior(mean, error**2, freedom, rope).probs()
    return BayesianTest(rope, float(a_better), float(alike), float(b_better))


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """Rank of every row (rows, R), 1 for the highest score of its column; ties share the better
    rank."""
    out = np.empty(scores.shape, dtype=np.int64)
    for row, own in enumerate(scores):
        out[row] = 1 + (scores > own).sum(axis=0)
    return out


def rank_rows(
    values: Sequence[float], replicates: np.ndarray, level: float, *, higher: bool
) -> list[Rank]:
    """Point rank, percentile interval of the rank, P(best) and P(each rank) of every row.

    values (rows,), replicates (rows, R); resamples in which a row is undefined are left out. Rows
    tied in first place share its probability. A row with an undefined value is unranked.
    """
    sign = 1.0 if higher else -1.0
    points = sign * np.asarray(values, dtype=np.float64)
    defined = np.flatnonzero(np.isfinite(points))
    ranking = [Rank() for _ in points]
    if not len(defined):
        return ranking
    best = ranks_of(points[defined, None])[:, 0]
    scores = sign * replicates[defined]
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    if not scores.shape[1]:
        for place, row in enumerate(defined):
            ranking[row] = Rank(best=int(best[place]))
        return ranking
    ranks = ranks_of(scores)
    first = ranks == 1
    p_best = (first / first.sum(axis=0)).mean(axis=1)
    shares = (ranks[:, :, None] == np.arange(1, len(ranks) + 1)).mean(axis=1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ranks, tails, axis=1, method="inverted_cdf")
    for place, row in enumerate(defined):
        ranking[row] = Rank(
            best=int(best[place]),
            low=int(low[place]),
            high=int(high[place]),
            p_best=float(p_best[place]),
            shares=tuple(map(float, shares[place])),
        )
    return ranking


def mean_ranks(by_fold: np.ndarray, *, higher: bool) -> np.ndarray:
    """Mean rank over folds (rows,) from values (rows, folds); ties share their mean rank.

    Folds in which a row is undefined are left out; NaN if none is left.
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
    names: Sequence[str], distinct: Collection[frozenset[str]]
) -> tuple[tuple[str, ...], ...]:
    """Largest sets of two or more rows without a difference shown in any pair, best first.

    names are in the order of their ranks; distinct are the pairs that differ. A row may be in
    several sets, because "no difference shown" is not transitive. The sets are the maximal cliques
    (Piepho 2004).
    """
    similar: dict[int, set[int]] = {number: set() for number in range(len(names))}
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        if frozenset((a, b)) not in distinct:
            similar[i].add(j)
            similar[j].add(i)
    cliques = sorted(sorted(clique) for clique in _maximal_cliques(similar) if len(clique) > 1)
    return tuple(tuple(names[number] for number in clique) for clique in cliques)


def _maximal_cliques(neighbours: Mapping[int, set[int]]) -> list[set[int]]:
    """Bron & Kerbosch 1973 with the pivot of Tomita et al. 2006."""
    cliques: list[set[int]] = []

    def extend(clique: set[int], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded:
            cliques.append(clique)
            return
        pivot = max(candidates | excluded, key=lambda node: len(candidates & neighbours[node]))
        for node in candidates - neighbours[pivot]:
            extend(clique | {node}, candidates & neighbours[node], excluded & neighbours[node])
            candidates = candidates - {node}
            excluded = excluded | {node}

    extend(set(), set(neighbours), set())
    return cliques


RESAMPLES = 2_000
"""Resamples for a variance; its standard error is 3%."""


@dataclass(frozen=True)
class SeedFoldValues:
    """One metric of a row: values (S, J) by seed and fold, replicates (J, R) by fold."""

    values: np.ndarray
    replicates: np.ndarray

    def __sub__(self, other: SeedFoldValues) -> SeedFoldValues:
        return SeedFoldValues(self.values - other.values, self.replicates - other.replicates)


def seed_fold_values(
    rows: Sequence[Row], metric: str, cohort: Cohort, seed: int
) -> list[SeedFoldValues]:
    """One metric of every row by seed and fold, on shared resamples; rows have the same
    trainings."""
    place = IMAGE_METRICS.index(metric)
    columns = sorted({column for row in rows for column in _columns(row, cohort)})
    plan = Plan(cohort.groups, RESAMPLES, seed)
    tables = []
    for row in rows:
        alone = _columns(row, cohort)
        arranged = [[sort_scores(run) for run in alone[column].values()] for column in columns]
        replicates = np.stack([table[place] for table in distributions(arranged, plan)])
        seeds = sorted({seed for seed, _ in row.passes})
        values = np.full((len(seeds), len(columns)), np.nan)
        for (own, repeat), scored in zip(row.passes, row.counted, strict=True):
            table = fold_values(scored)[place]
            for fold in scored.run.present:
                at = columns.index(repeat * cohort.folds + int(fold))
                values[seeds.index(own), at] = table[fold]
        tables.append(SeedFoldValues(values, replicates))
    return tables


def spread(parts: SeedFoldValues) -> Spread:
    """Variance components; NaN if a fold is missing or undefined, or with one fold."""
    seeds, folds = parts.values.shape
    if folds < 2 or not np.isfinite(parts.values).all():  # noqa: PLR2004 - one has no spread
        return Spread(NAN, NAN, NAN, NAN, folds, seeds)
    by_seed = float(parts.values.var(axis=0, ddof=1).mean()) if seeds > 1 else NAN
    between = float(parts.values.mean(axis=0).var(ddof=1))
    lesions = float(np.mean([_variance(replicates) for replicates in parts.replicates]))
    left = between - lesions - (by_seed / seeds if seeds > 1 else 0)
    return Spread(
        lesions=float(np.sqrt(lesions)),
        training=float(np.sqrt(max(left, 0.0))),
        seed=float(np.sqrt(by_seed)),
        between=float(np.sqrt(between)),
        folds=folds,
        seeds=seeds,
    )


def _variance(replicates: np.ndarray) -> float:
    finite = replicates[np.isfinite(replicates)]
    return float(finite.var(ddof=1)) if len(finite) > 1 else NAN


def _columns(row: Row, cohort: Cohort) -> dict[int, dict[int, Run]]:
    """The run of each fold column and seed."""
    by_column: dict[int, dict[int, Run]] = {}
    for (seed, repeat), scored in zip(row.passes, row.counted, strict=True):
        for fold in scored.run.present:
            own = subset(scored.run, scored.run.fold == fold)
            by_column.setdefault(repeat * cohort.folds + int(fold), {})[seed] = own
    return by_column
