"""The full comparison of rows: every pair with its differences, tests and discordant images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from bench.leaderboard.board import Comparison, DatasetFacts, IntervalFacts
from bench.leaderboard.estimate import (
    Count,
    Estimate,
    Flag,
    MetricTable,
    Number,
    Positive,
    frame,
    frame_html,
    from_json,
    json_text,
    to_data,
)
from bench.leaderboard.text import counted, fixed, metric, p_value, said

if TYPE_CHECKING:
    import pandas as pd

FEW_FOLDS = 6
"""With fewer folds the test has little power; the verdict says so."""


def _distinct(rows: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(rows)) < len(rows):
        raise ValueError("a row is listed twice")
    return rows


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest true difference that is detected with 80% power, given the observed noise.

    interval  by the paired interval alone
    test      by the corrected t test alone, adjusted as in the verdict; NaN without a test
    """

    interval: Number
    test: Number


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether a is at most a margin worse than b, by the interval and by the test.

    bound  the relevant end of the interval of a against b, positive if a is better
    p      one-sided, corrected t over folds; NaN without a test
    """

    margin: Positive
    bound: Number
    p: Number
    shown: Flag


@dataclass(frozen=True, slots=True)
class BayesianTest:
    """Bayesian correlated t test: shares of the posterior of the mean difference over folds."""

    rope: Positive
    a_better: Number
    alike: Number
    b_better: Number


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of the value of one fold and seed, by source of variation.

    lesions   other groups in the test part, same trained models
    training  other training parts (and other seeds, with one seed); 0 if the folds differ less
              than their lesions explain
    seed      other seeds on the same parts; NaN with one seed
    between   observed between the folds, seeds averaged: all sources together
    """

    lesions: Number
    training: Number
    seed: Number
    between: Number
    folds: Count
    seeds: Count


@dataclass(frozen=True, slots=True)
class DiscordantPairs:
    """Images of one true class on which exactly one of two rows is right more often.

    label          true class, "" for all classes
    p_images       McNemar's exact test; it assumes independent images
    recall         difference of recall (of accuracy for all classes) with its paired interval
    p_groups       exact sign-flip test over groups; equals McNemar's if groups are images
    icc            intra-class correlation of the difference, by pairs; NaN if undefined
    design_effect  factor of inflation of the variance of the difference
    """

    label: str
    images: Count
    groups: Count
    only_a: Count
    only_b: Count
    p_images: Number
    p_groups: Number
    recall: Estimate
    icc: Number
    design_effect: Number


@dataclass(frozen=True, slots=True)
class DiscordantImage:
    """An image on which the rows disagree. a_right, b_right: correct passes out of `passes`."""

    image_id: str
    group_id: str
    label: str
    a_called: str
    b_called: str
    a_probability: Number
    b_probability: Number
    a_right: Count
    b_right: Count
    passes: Count


@dataclass(frozen=True)
class PairComparison:
    """Two rows compared. disputed: largest difference first; JSON holds only their number."""

    comparison: Comparison
    differences: MetricTable
    detectable: Detectable
    belief: BayesianTest | None
    non_inferiority: NonInferiority | None
    spread: Spread
    disagreements: tuple[DiscordantPairs, ...]
    disputed: Annotated[
        tuple[DiscordantImage, ...],
        BeforeValidator(lambda value: () if isinstance(value, int) else value),
        PlainSerializer(len),
    ]


@dataclass(frozen=True, repr=False)
class ComparisonReport:
    """Everything that `compare` shows, rows in the requested order.

    family       ranked and compared rows, over whose pairs p values are adjusted, with their value
                 of the metric on the leaderboard
    trainings    number of compared trainings (seeds x repeats x folds), and of a complete row
    notes        remarks on rows: why a row is not ranked
    mean_ranks   over the folds; tie_groups: maximal sets without a settled difference
    tested       number of images and groups
    """

    protocol: str
    protocol_title: str
    metric: str
    rows: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_distinct)]
    classes: tuple[str, ...]
    dataset: DatasetFacts
    interval: IntervalFacts
    control: Flag
    arm: str
    trainings: tuple[Count, Count]
    folds: Count
    family: Mapping[str, Number]
    notes: tuple[str, ...]
    tables: Mapping[str, MetricTable]
    pairs: Annotated[tuple[PairComparison, ...], Field(min_length=1)]
    spreads: Mapping[str, Spread]
    mean_ranks: Mapping[str, Number]
    tie_groups: tuple[tuple[str, ...], ...]
    tested: tuple[Count, Count]

    def __repr__(self) -> str:
        """Protocol, dataset, rows, verdict."""
        where = f"{self.protocol} on {self.dataset.name}"
        return f"ComparisonReport({where}, {len(self.rows)} rows by {self.metric})\n{self.verdict}"

    def _repr_html_(self) -> str:
        primary = self.to_frame().query("metric == @self.metric and `class` == ''")
        return frame_html(primary.drop(columns="class"), self.verdict)

    @model_serializer(mode="wrap")
    def _with_verdicts(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = fields(self)
        for written, pair in zip(content["pairs"], self.pairs, strict=True):
            written["verdict"] = self.pair_verdict(pair)
        return {**content, "headline": self.verdict}

    def to_json(self) -> str:
        """The text of comparison.json: strict JSON, an undefined value is null.

        It holds everything but the discordant images; disagreements.csv holds them.
        """
        return json_text(to_data(self))

    @classmethod
    def from_json(cls, text: str) -> ComparisonReport:
        """Read comparison.json back, without the discordant images. Raises ResultsError."""
        return from_json(cls, text)

    def to_frame(self) -> pd.DataFrame:
        """A line per pair, class ("" for all classes) and metric: the difference a minus b."""
        lines = [(pair, *item) for pair in self.pairs for item in pair.differences.items()]
        keys = [(pair.comparison.a, pair.comparison.b, *key) for pair, *key, _ in lines]
        return frame(keys, [line[3] for line in lines], ("a", "b", "class", "metric"))

    @property
    def title(self) -> str:
        """Its rows and its metric: `a against b, by macro f1`."""
        return f"{' against '.join(self.rows)}, by {self.metric.replace('_', ' ')}"

    @property
    def rope(self) -> float | None:
        """The region of practical equivalence; None without a Bayesian test."""
        belief = self.pairs[0].belief
        return None if belief is None else belief.rope

    @property
    def margin(self) -> float | None:
        """The margin of non-inferiority, if one was requested."""
        test = self.pairs[0].non_inferiority
        return None if test is None else test.margin

    @property
    def verdict(self) -> str:
        """The verdict over all rows, in one sentence."""
        start = "On synthetic data: " if self.dataset.synthetic else ""
        have, whole = self.trainings
        if have < whole:
            start += f"On the {have} of {whole} trainings common to all: "
        if len(self.pairs) == 1:
            return f"{start}{self.pair_verdict(self.pairs[0])}"
        settled = [pair for pair in self.pairs if pair.comparison.verdict in ("better", "worse")]
        name = metric(self.metric).label
        if not settled:
            return f"{start}No two of the {len(self.rows)} methods differ significantly in {name}."
        if best := self._best():
            return f"{start}{said(best)} is better than all others in {name}."
        return f"{start}{len(settled)} of {len(self.pairs)} pairs differ significantly in {name}."

    def _best(self) -> str:
        """The row that is better than every other; "" without one."""
        wins: dict[str, int] = {}
        for one in (pair.comparison for pair in self.pairs):
            winner = {"better": one.a, "worse": one.b}.get(one.verdict, "")
            wins[winner] = wins.get(winner, 0) + 1
        return next((row for row in self.rows if wins.get(row) == len(self.rows) - 1), "")

    def pair_verdict(self, pair: PairComparison) -> str:
        """The verdict on a pair, in one sentence."""
        one = pair.comparison
        a, b = said(one.a), said(one.b)
        if math.isnan(one.difference):
            return f"{a} and {b} cannot be compared: {metric(one.metric).label} is undefined."
        if one.verdict in ("better", "worse"):
            first, second = (b, a) if one.verdict == "worse" else (a, b)
            p = p_value(one.p_adjusted)
            test = f"; adjusted {p}" if p else "; no test"
            size = amount(abs(one.difference), one.metric)
            return f"{first} is better than {second} by {size}, {self._interval(one)}{test}."
        if one.verdict == "not settled":
            b_leads = one.difference > 0 if metric(one.metric).lower else one.difference < 0
            first, second = (b, a) if b_leads else (a, b)
            why = self._why_open(one)
            return f"Whether {first} is better than {second} is not settled: {why}."
        if one.difference == 0 and math.isnan(one.low):
            return f"{a} and {b} have the same {metric(one.metric).label} in every resample."
        apart = f"No difference between {a} and {b} is detected"
        by_interval, by_test = pair.detectable.interval, pair.detectable.test
        seen = max(by_interval, 0.0 if math.isnan(by_test) else by_test)
        if math.isnan(seen):
            return f"{apart}."
        size = amount(seen, one.metric)
        return f"{apart}; a difference of {size} would be detected with 80% power."

    def _interval(self, one: Comparison) -> str:
        """`95% CI 0.4 to 3.1`, of the size of the difference."""
        low, high = (one.low, one.high) if one.difference >= 0 else (-one.high, -one.low)
        if math.isnan(low):
            return "without an interval"
        level = f"{self.interval.level * 100:g}%"
        return f"{level} CI {bare(low, one.metric)} to {bare(high, one.metric)}"

    def _why_open(self, one: Comparison) -> str:
        size, interval = amount(abs(one.difference), one.metric), self._interval(one)
        if math.isnan(one.p_adjusted):
            return f"{size}, {interval}, but no test over folds was made"
        few = f" ({counted(self.folds, 'fold')} are few)" if self.folds < FEW_FOLDS else ""
        p = f"adjusted {p_value(one.p_adjusted)}"
        if one.low > 0 or one.high < 0:
            return f"{size}, {interval}, but {p}{few}"
        return f"{size}, {p}, but {interval}"


def amount(value: float, name: str) -> str:
    """A size of a difference: `1.8 points of macro-F1`, or `0.021 of log loss`."""
    points = "" if math.isinf(metric(name).bounds[1]) else " points"
    return f"{bare(value, name)}{points} of {metric(name).label}"


def bare(value: float, name: str) -> str:
    """The same without its unit, for what follows: `0.4`."""
    return fixed(value, 3) if math.isinf(metric(name).bounds[1]) else fixed(100 * value, 1)
