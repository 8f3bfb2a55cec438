"""Significance: tests, power, equivalence, ranks and sources of variance.

The two answer different questions. The interval is about these trained models on other patients,
the test about the algorithms, trained on other samples. Only where both exclude chance is a row
called better.

Ranks are worked out anew in every resample of the shared plan, so that rows are compared on the
same groups (Wiesenfarth et al. 2021). Equal values share the better rank.

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
from itertools import combinations

import numpy as np
from scipy.special import nctdtrinc, ndtri, stdtr, stdtrit

from bench.leaderboard import (
    NAN,
    BayesianTest,
    Comparison,
    Detectable,
    Estimate,
    MetricTable,
    NonInferiority,
    Rank,
    Spread,
)
from bench.score.bootstrap import Plan, all_agree, distributions, percentile, sort_scores
from bench.score.derived_rows import subset
from bench.score.join import Cohort, Run
from bench.score.metrics import IMAGE_METRICS, higher_is_better, keys
from bench.score.row import Row, fold_values


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


POWER = 0.8


def detectable_difference(
    drawn: np.ndarray, by_fold: np.ndarray, ratio: float, level: float, pairs: int = 1
) -> Detectable:
    """The difference found with 80% power, given the noise of this comparison (not its effect).

    drawn (R,) and by_fold (J,) are differences. In standard errors it is, for the interval, the
    normal quantile of the level and of the power together; for the test the noncentrality at which
    t with J - 1 degrees of freedom passes its critical value that often. Its p is adjusted over so
    many pairs: Holm multiplies by that many at most, which is taken here.
    """
    finite = drawn[np.isfinite(drawn)]
    spread = NAN if len(finite) < 2 or all_agree(finite) else float(finite.std(ddof=1))  # noqa: PLR2004
    _, error, freedom = corrected_t(by_fold, ratio)
    tail = (1 - level) / 2
    reach = (
        float(nctdtrinc(freedom, 1 - POWER, -stdtrit(freedom, tail / pairs))) if freedom else NAN
    )
    return Detectable(float(ndtri(POWER) - ndtri(tail)) * spread, reach * error)


def belief(by_fold: np.ndarray, ratio: float, rope: float, *, higher: bool) -> BayesianTest | None:
    """The Bayesian correlated t test (Corani & Benavoli 2015) of differences (J,), by baycomp.

    Its posterior with the roles' own test/train ratio in place of baycomp's 1/(folds - 1). None
    where there is no test.
    """
    mean, error, freedom = corrected_t(by_fold if higher else -by_fold, ratio)
    if not freedom:
        return None
    from baycomp.single import Posterior

    b_better, alike, a_better = Posterior(mean, error**2, freedom, rope).probs()
    return BayesianTest(rope, float(a_better), float(alike), float(b_better))


def non_inferiority(
    one: Comparison,
    drawn: np.ndarray,
    by_fold: np.ndarray,
    ratio: float,
    level: float,
    margin: float,
) -> NonInferiority:
    """Whether a is no worse than b by more than the margin: both the interval and the test say so.

    drawn (R,) and by_fold (J,) are differences. Where all resamples agree on one, it is the bound.
    One-sided at (1 - level) / 2, which is where the two-sided interval ends.
    """
    higher = higher_is_better(one.metric)
    bound = one.low if higher else -one.high
    finite = drawn[np.isfinite(drawn)]
    if len(finite) and all_agree(finite):
        bound = one.difference if higher else -one.difference
    mean, error, freedom = corrected_t(by_fold if higher else -by_fold, ratio)
    p = NAN
    if freedom:
        p = float(stdtr(freedom, -(mean + margin) / error)) if error else float(mean <= -margin)
    return NonInferiority(margin, bound, p, bool(bound > -margin and p < (1 - level) / 2))


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
        arranged = [[sort_scores(run) for run in alone[column].values()] for column in columns]
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
