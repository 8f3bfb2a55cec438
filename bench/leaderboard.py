"""Results as data: estimates, leaderboard, comparison, row report.

Plain numbers and words, made by `bench.score`, drawn by `bench.report`. Undefined is NaN here and
null in JSON, never 0 and never 1.

Plain numbers and words, made by `bench.score.comparison`, drawn by `bench.report.comparison_page`.

Plain numbers and words, made by `bench.score.row_report`, drawn by `bench.report`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval.

    n      images in the metric's denominator
    method how the interval was made ("bca", "percentile", "clopper-pearson", "" for none)
    marks  words that must stand beside it ("few lesions", "biased", "2 of 5 folds")
    """

    value: float
    low: float = NAN
    high: float = NAN
    n: int = 0
    method: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rank:
    """Where a row stands: best is its point rank (None if unranked), low and high the interval of
    its rank over the resamples, p_best the share of resamples in which it is first (rows that share
    the first place share it), shares the share of resamples in which it has rank 1, 2, ..."""

    best: int | None = None
    low: int | None = None
    high: int | None = None
    p_best: float = NAN
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricTable:
    """All estimates of one row: by metric, and by class and metric."""

    metrics: Mapping[str, Estimate]
    per_class: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row a against row b on the same images, a minus b.

    low, high   paired cluster bootstrap. p: Nadeau-Bengio corrected t over folds; p_adjusted: Holm.
    verdict     "better", "worse", "not settled" or "no difference seen", of a against b
    """

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Association:
    """An attribute against classes.

    estimate  the size with its interval; n images that have the attribute, in `groups` groups
    chance    mean size where groups trade their values at random
    p, p_adjusted  of the permutation test; adjusted by Holm over the family it is shown with
    """

    name: str
    measure: str
    estimate: Estimate
    groups: int
    chance: float
    p: float
    p_adjusted: float = NAN


@dataclass(frozen=True)
class RowFacts:
    """What is known of a row beside its predictions; the page shows all of it.

    variant   what differs from the method's own recipe and data, spelled out ({} for nothing)
    badges    short words on the row: "from scratch", "committed", "incomplete", ...
    notes     whole sentences: pretraining data, failed jobs
    guards    what the guards of its trainings said, by guard; None where none watched
    cost      numbers by name: train_seconds, peak_memory_bytes, parameters, images_per_second
    command   the command that gives the row again
    unranked  why the row takes no part in the ranking, "" if it does
    recipe    every switch of the recipe with its value
    members   the rows whose predictions it joins; such a row has trained nothing
    history   of each training, by its slot in words: columns of history.csv, a value an epoch
    """

    variant: Mapping[str, Any] = field(default_factory=dict)
    badges: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    guards: Mapping[str, str] | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    passport: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    unranked: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    history: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class LeaderboardRow:
    """One method on the leaderboard.

    confusion    (C, C) counts over the pooled test predictions of all seeds, truth in rows
    by_fold      metric -> value of every fold (repeat-major), mean over seeds, NaN where missing
    seed_sd      metric -> standard deviation over seeds (NaN with one seed)
    clears_reference  whether the primary interval lies above the best reference row's value
    tested       images and groups that its numbers are of; None where nobody counted them
    missing      seed, repeat and fold of every training that it lacks, of the protocol's seeds and
                 of its own
    """

    name: str
    method: str
    kind: str
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    complete: bool
    rank: Rank
    table: MetricTable
    confusion: np.ndarray
    by_fold: Mapping[str, tuple[float, ...]]
    seed_sd: Mapping[str, float]
    clears_reference: bool
    facts: RowFacts
    tested: tuple[int, int] | None = None
    missing: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class DatasetFacts:
    """The data that the numbers come from, as every page must show it."""

    name: str
    title: str
    roster_sha256: str
    images: int
    groups: int
    synthetic: bool
    unit: str
    ungrouped: int
    licence: str
    citation: str
    images_by_class: Mapping[str, int]
    groups_by_class: Mapping[str, int]


@dataclass(frozen=True)
class IntervalFacts:
    """How the intervals were made."""

    level: float
    resamples: int
    unit: str
    method: str


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a protocol: its fold columns, and what it trains and is tested on.

    train_images, train_groups  means over its folds; test_images: over all of them
    """

    name: str
    folds: tuple[int, ...]
    train_images: float
    train_groups: float
    test_images: int


@dataclass(frozen=True, slots=True)
class ArmRow:
    """A row in one arm, on the seeds and folds that all its arms have in common.

    difference  this arm minus the first, paired: the same resampled groups in both; None of the
                first. It has no `support` and no `groups`
    by_seed     the same difference in each of the seeds, by metric
    over_seeds  their mean with a t interval: how it varies with the training, on these images
    """

    name: str
    arm: str
    seeds: tuple[int, ...]
    complete: bool
    table: MetricTable
    difference: MetricTable | None
    by_seed: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    over_seeds: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class ArmReport:
    """What the arms of a protocol show; kind is the protocol's. The first arm is the ranked one."""

    kind: str
    arms: tuple[Arm, ...]
    rows: tuple[ArmRow, ...]


@dataclass(frozen=True)
class Leaderboard:
    """Everything a leaderboard page shows, rows in the order of the table.

    tested      images and groups that any fold tests; None where it is all of them
    tie_groups  sets of ranked rows, as large as can be, of which no two are told apart
    absent      rows without one finished fold, and what became of their jobs
    pages       address of each row's own page, by its name, for rows that have one
    mean_ranks  mean over the folds of each ranked row's rank; empty where a fold has none
    """

    protocol: str
    protocol_title: str
    primary: str
    metrics: tuple[str, ...]
    class_metrics: tuple[str, ...]
    classes: tuple[str, ...]
    dataset: DatasetFacts
    interval: IntervalFacts
    folds: int
    repeats: int
    rows: tuple[LeaderboardRow, ...]
    comparisons: tuple[Comparison, ...]
    best_reference: str
    control: bool = False
    arms: ArmReport | None = None
    tested: tuple[int, int] | None = None
    tie_groups: tuple[tuple[str, ...], ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)
    mean_ranks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest true difference that would be found with 80% power, as the noise turned out.

    interval  by the paired interval alone
    test      by the corrected t test alone, adjusted as the verdict's; NaN without one
    """

    interval: float
    test: float


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether a is no worse than b by more than a margin, by the interval and by the test.

    bound  the end of the interval of a against b that counts, positive where a is better
    p      one-sided, corrected t over folds; NaN where no test is made
    """

    margin: float
    bound: float
    p: float
    shown: bool


@dataclass(frozen=True, slots=True)
class BayesianTest:
    """Bayesian correlated t test: shares of the posterior of the mean difference over folds."""

    rope: float
    a_better: float
    alike: float
    b_better: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How a value of one fold and seed would vary, as standard deviations, by what would be drawn.

    lesions   other groups in the test part, the trained models kept
    training  other training parts (and other seeds, too, where there is one seed); 0 where the
              folds differ less than their lesions make them
    seed      other seeds on the same parts; NaN with one
    between   between the folds, seeds averaged: what is observed, all of it together
    """

    lesions: float
    training: float
    seed: float
    between: float
    folds: int
    seeds: int


@dataclass(frozen=True, slots=True)
class DiscordantPairs:
    """Images of one true class on which exactly one of two rows is right more often.

    label          "" of the line of all classes
    p_images       McNemar's exact test: takes images for independent
    recall         difference of recall (of accuracy for all classes) with its paired interval
    p_groups       exact sign-flip test over groups; McNemar's where each image is its own group
    icc            intra-class correlation of the difference, by pairs; NaN where not defined
    design_effect  by how much that inflated the variance of the difference
    """

    label: str
    images: int
    groups: int
    only_a: int
    only_b: int
    p_images: float
    p_groups: float
    recall: Estimate
    icc: float
    design_effect: float


@dataclass(frozen=True, slots=True)
class DiscordantImage:
    """An image on which the rows disagree. a_right and b_right count passes, of `passes`."""

    image_id: str
    group_id: str
    label: str
    a_called: str
    b_called: str
    a_probability: float
    b_probability: float
    a_right: int
    b_right: int
    passes: int


@dataclass(frozen=True)
class PairComparison:
    """Two rows against each other. disputed: the widest apart first."""

    comparison: Comparison
    differences: MetricTable
    detectable: Detectable
    belief: BayesianTest | None
    non_inferiority: NonInferiority | None
    spread: Spread
    disagreements: tuple[DiscordantPairs, ...]
    disputed: tuple[DiscordantImage, ...]


@dataclass(frozen=True)
class ComparisonReport:
    """Everything that `compare` shows, rows in the order asked for.

    family       rows over whose pairs the p values are adjusted, the ranked ones and the compared,
                 each with its value of the metric on the leaderboard
    trainings    how many seeds x repeats x folds are compared, and how many a whole row has
    notes        what must be said of a row: why it is not ranked
    mean_ranks   over the folds; tie_groups: rows that are not told apart, largest sets
    tested       images and groups
    """

    protocol: str
    protocol_title: str
    metric: str
    rows: tuple[str, ...]
    classes: tuple[str, ...]
    dataset: DatasetFacts
    interval: IntervalFacts
    control: bool
    arm: str
    trainings: tuple[int, int]
    folds: int
    family: Mapping[str, float]
    notes: tuple[str, ...]
    tables: Mapping[str, MetricTable]
    pairs: tuple[PairComparison, ...]
    spreads: Mapping[str, Spread]
    mean_ranks: Mapping[str, float]
    tie_groups: tuple[tuple[str, ...], ...]
    tested: tuple[int, int]


@dataclass(frozen=True, slots=True)
class UnitTable:
    """All metrics with another unit of analysis: the images of a unit averaged into one item.

    unit   "lesion" or "patient". units: how many there are
    items  how many are scored: more than units where units with several diagnoses count for each
    """

    unit: str
    units: int
    items: int
    table: MetricTable


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold chosen on val gives on test.

    target  a class, or "malignant". aim: "specificity" or "sensitivity", which val promises at
            `percent`
    """

    target: str
    aim: str
    percent: int
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point of a curve with its interval (NaN without), and the images it is made of."""

    x: float
    y: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0


Curve = tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities are to be believed, as predicted or at the temperature fitted on val.

    by_class     calibration error of each class's own probability
    reliability  x mean confidence of the top label in a bin, y share that is right
    malignant    the same of the probability of malignancy; empty where the data names none
    """

    tempered: bool
    metrics: Mapping[str, Estimate]
    by_class: Mapping[str, Estimate]
    reliability: Curve
    malignant: Curve


@dataclass(frozen=True, slots=True)
class Decision:
    """Net benefit of acting on a probability of malignancy, threshold by threshold.

    model, tempered, treat_all  x threshold probability, y net benefit; treating none has 0.
    Tempered is empty without val. advantage: model less the better of treating all and none
    """

    model: Curve
    tempered: Curve
    treat_all: Curve
    advantage: Curve


@dataclass(frozen=True, slots=True)
class RankCurves:
    """ROC (x false positive rate, y sensitivity) and precision-recall (x recall, y precision).

    Their intervals are those of y at the same x, point by point.
    """

    target: str
    roc: Curve
    precision_recall: Curve


@dataclass(frozen=True, slots=True)
class Subgroup:
    """The images that share a value of an attribute. Too few groups: nothing is said of it."""

    attribute: str
    value: str
    images: int
    groups: int
    too_few: bool
    metrics: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """The worst and the best subgroup of an attribute in one metric.

    difference  best minus worst where more is better (worst minus best where less is), with an
                interval that holds for all pairs of subgroups looked at together
    pairs       how many that are
    left_out    subgroups that were not looked at, since resamples too often leave the metric
                undefined in them
    """

    attribute: str
    metric: str
    worst: str
    best: str
    difference: Estimate
    pairs: int
    left_out: tuple[str, ...] = ()

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval, corrected for all that was looked at, excludes 0."""
        return bool(self.difference.low > 0 or self.difference.high < 0)


@dataclass(frozen=True, slots=True)
class HighLossImage:
    """What a row says of one image: mean over its passes.

    fold  in which the image is tested (of the first repeat). loss  -ln of the truth's probability
    """

    image_id: str
    fold: int
    label: str
    called: str
    p_label: float
    p_called: float
    loss: float


@dataclass(frozen=True, slots=True)
class HighLossLesion:
    """A lesion that a row does badly on, with all its tested images, the worst first.

    loss  mean over its images
    """

    lesion_id: str
    group_id: str
    loss: float
    images: tuple[HighLossImage, ...]


@dataclass(frozen=True)
class RowReport:
    """Everything of one row's page that needs its predictions.

    resamples    of the intervals here. extras: further metrics by name
    malignant    all metrics of malignant against benign, None where the data names no such classes
    temperature  of every fold of every counted seed and repeat, empty without val
    selective    x share of images answered, the surest first, y share of them that is wrong
    unsplit      attributes without subgroups, and why
    calls        share of a class's images (rows) called each class (columns), with intervals
    hardest      the lesions of the highest loss, the worst first
    """

    resamples: int
    malignant_classes: tuple[str, ...]
    units: tuple[UnitTable, ...]
    extras: Mapping[str, Estimate]
    malignant: MetricTable | None
    operating: tuple[OperatingPoint, ...]
    temperature: tuple[float, ...]
    calibration: tuple[Calibration, ...]
    decision: Decision | None
    selective: Curve
    ranking: tuple[RankCurves, ...]
    subgroups: tuple[Subgroup, ...]
    gaps: tuple[Gap, ...]
    unsplit: Mapping[str, str]
    calls: tuple[tuple[Estimate, ...], ...] = ()
    hardest: tuple[HighLossLesion, ...] = ()
