"""What the bench says of a method: estimates with intervals, comparisons, the leaderboard.

Plain numbers and words, made by `bench.score`, drawn by `bench.report`. Undefined is NaN here and
null in JSON, never 0 and never 1.
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
