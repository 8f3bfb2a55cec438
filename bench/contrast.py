"""What the bench says of rows against each other: `compare`'s findings, beside the leaderboard's.

Plain numbers and words, made by `bench.score.versus`, drawn by `bench.report.contrast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.estimates import Comparison, DatasetFacts, Estimate, IntervalFacts, MetricTable


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
class Belief:
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
class Disagreement:
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
class Disputed:
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
class Pair:
    """Two rows against each other. disputed: the widest apart first."""

    comparison: Comparison
    differences: MetricTable
    detectable: Detectable
    belief: Belief | None
    non_inferiority: NonInferiority | None
    spread: Spread
    disagreements: tuple[Disagreement, ...]
    disputed: tuple[Disputed, ...]


@dataclass(frozen=True)
class Contrast:
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
    pairs: tuple[Pair, ...]
    spreads: Mapping[str, Spread]
    mean_ranks: Mapping[str, float]
    tie_groups: tuple[tuple[str, ...], ...]
    tested: tuple[int, int]
