"""Beyond better or worse: what could have been seen, what is alike, what is not inferior."""

from __future__ import annotations

import numpy as np
from scipy.special import nctdtrinc, ndtri, stdtr, stdtrit

from bench.contrast import Belief, Detectable, NonInferiority
from bench.estimates import NAN, Comparison
from bench.score.compare import corrected_t
from bench.score.intervals import all_agree
from bench.score.metrics import higher_is_better

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


def belief(by_fold: np.ndarray, ratio: float, rope: float, *, higher: bool) -> Belief | None:
    """The Bayesian correlated t test (Corani & Benavoli 2015) of differences (J,), by baycomp.

    Its posterior with the roles' own test/train ratio in place of baycomp's 1/(folds - 1). None
    where there is no test.
    """
    mean, error, freedom = corrected_t(by_fold if higher else -by_fold, ratio)
    if not freedom:
        return None
    from baycomp.single import Posterior

    b_better, alike, a_better = Posterior(mean, error**2, freedom, rope).probs()
    return Belief(rope, float(a_better), float(alike), float(b_better))


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
