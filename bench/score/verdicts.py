"""Two verdicts on the difference of two rows, and the family of comparisons they are part of.

"These models": the paired cluster-bootstrap interval of the difference excludes 0. It covers other
groups with the same trained models; between methods that are trained again it rejects about 10% of
true null hypotheses instead of 5%.

"These methods, trained again": z test of the difference. Its squared standard error is the
bootstrap variance plus the variance of training:

    3 seeds or more      variance between seeds, divided by their number
    3 repeats or more    variance between repeats, divided by their number (with 3 of both: the
                         larger of the two)
    otherwise            the standard error is the larger of the bootstrap's and SD between the k
                         folds / sqrt(k); it is marked "one training per fold"

One model that predicts all folds has no variance of training; a submission is tested only if it
declares separately trained models. Protocols of one fold, controls and reference rows are never
tested. p values are adjusted by Holm over the comparisons with the baseline, or over all pairs if
these are requested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtr, ndtri

from bench.errors import PredictionError
from bench.leaderboard import NAN, Comparison, Detectable, Estimate, MetricTable, NonInferiority
from bench.score.bootstrap import all_agree, percentile
from bench.score.join import Cohort
from bench.score.metrics import higher_is_better, keys
from bench.score.reference_rows import KIND
from bench.score.row import Row, SeedRepeat
from bench.score.significance import holm

FEWEST_TRAININGS = 3
"""Fewest seeds or repeats that give a variance of training."""
ONE_TRAINING = "one training per fold"
POWER = 0.8


@dataclass(frozen=True)
class Contender:
    """A row to compare, by one metric.

    value       mean over its trainings
    replicates  (R,) on the shared resamples
    by_fold     (repeats x folds,) repeat-major, mean over seeds
    by_pass     value of each (seed, repeat)
    folds       number of folds of one repeat
    trainings   number of separately trained models
    untested    why no verdict on the method is possible, "" if it is
    """

    name: str
    value: float
    replicates: np.ndarray
    by_fold: np.ndarray
    by_pass: Mapping[SeedRepeat, float]
    folds: int
    trainings: int
    untested: str = ""


def contender(
    row: Row,
    place: int,
    replicates: np.ndarray,
    cohort: Cohort,
    *,
    control: bool,
    models: int = 0,
    columns: Sequence[int] | None = None,
) -> Contender:
    """A row as a contender in the metric at `place`.

    replicates  (R,) of that metric
    models      number of separately trained models that a submission declares, 0 for none
    columns     the compared fold columns; default: all
    """
    folds = len(set.union(*(set(each.run.present.tolist()) for each in row.counted)))
    submitted = row.predictions.kind == "submitted"
    trainings = models if submitted else sum(len(each.run.present) for each in row.counted)
    return Contender(
        name=row.predictions.name,
        value=float(row.values[place]),
        replicates=replicates,
        by_fold=row.by_fold[place] if columns is None else row.by_fold[place, list(columns)],
        by_pass={
            each: float(scored.values[place])
            for each, scored in zip(row.passes, row.counted, strict=True)
        },
        folds=folds,
        trainings=trainings,
        untested=_untested(row, folds, models, cohort, control=control),
    )


def _untested(row: Row, folds: int, models: int, cohort: Cohort, *, control: bool) -> str:
    name = row.predictions.name
    if control:
        return "groups are divided between training and test parts (a control protocol)"
    if cohort.folds < 2:  # noqa: PLR2004
        return "there is only one fold"
    if folds < 2:  # noqa: PLR2004
        return "the rows have one fold in common"
    if row.predictions.kind == KIND:
        return f"{name} is a reference row"
    if row.predictions.kind == "submitted" and models < cohort.columns:
        return f"{name} was submitted without declaring a separately trained model for each fold"
    return ""


def difference_interval(a: np.ndarray, b: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of a minus b over shared resamples (R,); NaN if all of them agree."""
    replicates = a - b
    replicates = replicates[np.isfinite(replicates)]
    if not len(replicates) or all_agree(replicates):
        return NAN, NAN
    return percentile(replicates, level)


def difference_table(
    rows: tuple[Row, Row],
    replicates: np.ndarray,
    tables: tuple[MetricTable, MetricTable],
    classes: Sequence[str],
    level: float,
) -> MetricTable:
    """The first row minus the second in every metric, with intervals from replicates (M, R)."""
    metrics: dict[str, Estimate] = {}
    per_class: dict[str, dict[str, Estimate]] = {label: {} for label in classes}
    values = rows[0].values - rows[1].values
    for place, (name, code) in enumerate(keys(len(classes))):
        own, other = (
            table.metrics[name] if code is None else table.per_class[classes[code]][name]
            for table in tables
        )
        low, high = difference_interval(replicates[place], np.zeros(replicates.shape[1]), level)
        estimate = Estimate(
            value=float(values[place]),
            low=low,
            high=high,
            n=own.n,
            method="percentile" if np.isfinite(low) else "",
            marks=tuple(dict.fromkeys((*own.marks, *other.marks))),
        )
        (metrics if code is None else per_class[classes[code]])[name] = estimate
    return MetricTable(metrics=metrics, per_class=per_class)


def sign_of_difference(replicates: np.ndarray, level: float, groups: int) -> int:
    """1 or -1 if the replicates (R,) of a difference show that it is above or below 0, else 0.

    They show it if their interval excludes 0. Where all replicates agree the
    interval is undefined; a difference that is the same in every resample of two groups or more is
    shown, unless it is 0.
    """
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return 0
    if all_agree(finite):
        value = float(finite[0])
        return 0 if groups < 2 or abs(value) <= 1e-12 else int(np.sign(value))  # noqa: PLR2004
    low, high = percentile(finite, level)
    return int(low > 0) - int(high < 0)


def bootstrap_error(replicates: np.ndarray) -> float:
    """Standard deviation of the replicates (R,) of a difference; 0 if all agree, NaN if none."""
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < 2:  # noqa: PLR2004
        return NAN
    return 0.0 if all_agree(finite) else float(finite.std(ddof=1))


def standard_error(a: Contender, b: Contender) -> tuple[float, str]:
    """Standard error of a minus b if both methods were trained again, and what it rests on.

    The text is "3 seeds", "5 repeats" or "one training per fold"; the reason where it is NaN.
    """
    if reason := a.untested or b.untested:
        return NAN, reason
    bootstrap = bootstrap_error(a.replicates - b.replicates)
    if a.by_pass.keys() == b.by_pass.keys():
        differences = {each: a.by_pass[each] - b.by_pass[each] for each in a.by_pass}
        variance, basis = _between_passes(differences)
        if basis:
            return float(np.sqrt(bootstrap**2 + variance)), basis
    by_fold = (a.by_fold - b.by_fold).reshape(-1, a.folds)
    folds = float(np.sqrt(by_fold.var(axis=1, ddof=1).mean() / a.folds))
    error = float(np.maximum(bootstrap, folds))
    if not np.isfinite(error):
        return NAN, "the metric is undefined in a fold"
    trainings = min(len(a.by_pass), len(b.by_pass))
    return error, ONE_TRAINING if trainings == 1 else "fewer than 3 trainings per fold"


def _between_passes(differences: Mapping[SeedRepeat, float]) -> tuple[float, str]:
    """Variance of the mean difference by training, and its basis; "" with fewer than 3 of each."""
    found = (0.0, "")
    for at, name in enumerate(("seeds", "repeats")):
        members: dict[int, list[float]] = {}
        for each, value in differences.items():
            members.setdefault(each[at], []).append(value)
        if len(members) >= FEWEST_TRAININGS:
            means = [np.mean(values) for values in members.values()]
            variance = float(np.var(means, ddof=1)) / len(means)
            if not found[1] or variance > found[0]:
                found = variance, f"{len(members)} {name}"
    return found


def z_test(difference: float, error: float) -> float:
    """Two-sided p of the z test; NaN without an error, 1 or 0 where the error is 0."""
    if not np.isfinite(error) or not np.isfinite(difference):
        return NAN
    if error == 0:
        return float(difference == 0)
    return float(2 * ndtr(-abs(difference) / error))


def named_verdict(sign: int, *, higher: bool) -> str:
    """The verdict by the sign of a shown difference, 0 for none."""
    if not sign:
        return "no difference shown"
    return "better" if (sign > 0) == higher else "worse"


def compare_rows(
    rows: Sequence[Contender], metric: str, level: float, groups: int, baseline: str = ""
) -> tuple[Comparison, ...]:
    """Both verdicts on every row against the baseline; on all pairs without one.

    p values are adjusted by Holm over the returned comparisons; those without a test do not count.
    groups is the number of resampled groups.
    """
    pairs = [
        (a, b) for a, b in combinations(rows, 2) if not baseline or baseline in (a.name, b.name)
    ]
    errors = [standard_error(a, b) for a, b in pairs]
    p_values = [
        z_test(a.value - b.value, error) for (a, b), (error, _) in zip(pairs, errors, strict=True)
    ]
    higher, alpha = higher_is_better(metric), round(1 - level, 12)
    comparisons = []
    for (a, b), (_, basis), p, adjusted in zip(
        pairs, errors, p_values, holm(p_values), strict=True
    ):
        difference = a.value - b.value
        low, high = difference_interval(a.replicates, b.replicates, level)
        sign = sign_of_difference(a.replicates - b.replicates, level, groups)
        tested = bool(np.isfinite(p))
        shown = int(np.sign(difference)) if tested and adjusted < alpha else 0
        comparisons.append(
            Comparison(
                a=a.name,
                b=b.name,
                metric=metric,
                difference=difference,
                low=low,
                high=high,
                models=named_verdict(sign, higher=higher),
                methods=named_verdict(shown, higher=higher) if tested else "not tested",
                p=p,
                p_adjusted=adjusted,
                trainings=min(a.trainings, b.trainings) if tested else 0,
                basis=basis,
            )
        )
    return tuple(comparisons)


def refuse_both(baseline: str, all_pairs: bool) -> None:  # noqa: FBT001
    """Raise PredictionError for a baseline together with all pairs."""
    if baseline and all_pairs:
        raise PredictionError(
            f"--baseline {baseline} and --all-pairs exclude each other; give one of them"
        )


def distinct_models(rows: Sequence[Contender], level: float, groups: int) -> set[frozenset[str]]:
    """The pairs of rows whose models differ, of all pairs: the basis of the tie groups."""
    return {
        frozenset((a.name, b.name))
        for a, b in combinations(rows, 2)
        if sign_of_difference(a.replicates - b.replicates, level, groups)
    }


def detectable_difference(
    a: Contender, b: Contender, level: float, comparisons: int = 1
) -> Detectable:
    """The true difference that each verdict detects with 80% power, given the noise of the pair.

    In standard errors the sum of the normal quantiles of level and power. The verdict on methods
    is adjusted over `comparisons` with the largest factor of Holm.
    """
    tail = (1 - level) / 2
    error = bootstrap_error(a.replicates - b.replicates) or NAN
    return Detectable(
        models=float(ndtri(POWER) - ndtri(tail)) * error,
        methods=float(ndtri(POWER) - ndtri(tail / comparisons)) * standard_error(a, b)[0],
    )


def non_inferiority(
    comparison: Comparison, a: Contender, b: Contender, level: float, margin: float
) -> NonInferiority:
    """Non-inferiority of a to b within the margin, for the models and for the methods.

    The models: the end of the paired interval; if all replicates agree, their value. The methods:
    one-sided z test with the standard error of `standard_error`, at (1 - level) / 2.
    """
    sign = 1 if higher_is_better(comparison.metric) else -1
    bound = comparison.low if sign > 0 else -comparison.high
    replicates = a.replicates - b.replicates
    finite = replicates[np.isfinite(replicates)]
    difference = sign * comparison.difference
    if len(finite) and all_agree(finite):
        bound = difference
    error = standard_error(a, b)[0]
    p = NAN
    if np.isfinite(error):
        p = float(ndtr(-(difference + margin) / error)) if error else float(difference <= -margin)
    return NonInferiority(
        margin, bound, p, bool(bound > -margin), bool(p < round((1 - level) / 2, 12))
    )
