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

from bench.leaderboard.board import (
    Comparison,
    DatasetFacts,
    IntervalFacts,
    based_on,
    verdict_sentences,
)
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
from bench.leaderboard.text import fixed, metric, p_value, plain, said

if TYPE_CHECKING:
    import pandas as pd


def _distinct(rows: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(rows)) < len(rows):
        raise ValueError("a row is listed twice")
    return rows


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest true difference that is detected with 80% power, given the observed noise.

    models   by the verdict on these models
    methods  by the verdict on these methods, trained again, adjusted by Holm; NaN without a test
    """

    models: Number
    methods: Number


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether a is at most a margin worse than b.

    bound    the relevant end of the interval of a against b, positive if a is better
    p        of the one-sided z test with the error of the methods, trained again; NaN without one
    shown    for these models, by the bound
    methods  for these methods, trained again, by p
    """

    margin: Positive
    bound: Number
    p: Number
    shown: Flag
    methods: Flag


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
    """Two rows compared.

    nadeau_bengio, belief  the corrected resampled t test and the Bayesian one: evidence beside the
                           verdicts; NaN and None without a test
    disputed               largest difference first; JSON holds only their number
    """

    comparison: Comparison
    differences: MetricTable
    detectable: Detectable
    nadeau_bengio: Number
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

    family       the compared rows with their value of the metric on the leaderboard
    baseline     the row that the pairs are against; "" if they are all pairs
    trainings    number of compared trainings (seeds x repeats x folds), and of a complete row
    notes        remarks on rows: why a row is not ranked
    mean_ranks   over the folds; tie_groups: maximal sets of rows between whose models no
                 difference is shown
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
    baseline: str
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
    def tests(self) -> int:
        """Number of tested pairs, over which Holm adjusts p."""
        return sum(pair.comparison.methods != "not tested" for pair in self.pairs)

    @property
    def verdict(self) -> str:
        """Both verdicts, a sentence each: on the pair, or on the baseline against the others."""
        return " ".join(self.verdicts)

    @property
    def verdicts(self) -> tuple[str, str]:
        """The verdict on these models, and the verdict on these methods, trained again."""
        start = "On synthetic data. " if self.dataset.synthetic else ""
        have, whole = self.trainings
        if have < whole:
            start += f"On the {have} of {whole} trainings common to all. "
        if len(self.pairs) == 1:
            first, second = self.pair_verdicts(self.pairs[0])
        elif self.baseline:
            pairs = [pair.comparison for pair in self.pairs]
            first, second = verdict_sentences(self.baseline, pairs, self.tests)
        else:
            first, second = map(self._number_shown, ("models", "methods"))
        return f"{start}{first}", second

    def _number_shown(self, kind: str) -> str:
        """How many of all pairs differ by one verdict."""
        lead = "These models" if kind == "models" else "These methods, trained again"
        if kind == "methods" and not self.tests:
            return f"{lead}: not tested; {plain(self.pairs[0].comparison.basis)}."
        outcomes = [getattr(pair.comparison, kind) for pair in self.pairs]
        shown = sum(outcome in ("better", "worse") for outcome in outcomes)
        label = metric(self.metric).label
        return f"{lead}: {shown} of {len(outcomes)} pairs differ in {label}."

    def pair_verdict(self, pair: PairComparison) -> str:
        """Both verdicts on a pair, a sentence each."""
        return " ".join(self.pair_verdicts(pair))

    def pair_verdicts(self, pair: PairComparison) -> tuple[str, str]:
        """The verdict on these models, and the verdict on these methods, trained again."""
        row = pair.comparison
        a, b, label = said(row.a), said(row.b), metric(row.metric).label
        if math.isnan(row.difference):
            why = f"{a} and {b} cannot be compared, {label} is undefined"
            return f"These models: {why}.", f"These methods, trained again: {why}."
        return f"These models: {self._models(pair)}.", self._methods(pair)

    def _models(self, pair: PairComparison) -> str:
        row = pair.comparison
        a, b, label = said(row.a), said(row.b), metric(row.metric).label
        if row.models in ("better", "worse"):
            first, second = (b, a) if row.models == "worse" else (a, b)
            size = amount(abs(row.difference), row.metric)
            low, high = (row.low, row.high) if row.difference >= 0 else (-row.high, -row.low)
            ends = self._interval(low, high, row.metric) or "the same in every resample"
            return f"{first} is better than {second} by {size}, {ends}"
        if row.difference == 0 and math.isnan(row.low):
            return f"{a} and {b} have the same {label} in every resample"
        ends = self._interval(row.low, row.high, row.metric) or "no interval"
        size = amount(row.difference, row.metric)
        text = f"no difference between {a} and {b} is shown ({size}, {ends})"
        return f"{text}{_would_be_detected(pair.detectable.models, row.metric)}"

    def _methods(self, pair: PairComparison) -> str:
        row = pair.comparison
        lead = "These methods, trained again"
        if row.methods == "not tested":
            return f"{lead}: not tested; {plain(row.basis)}."
        a, b = said(row.a), said(row.b)
        p = f"{'adjusted ' if self.tests > 1 else ''}{p_value(row.p_adjusted)}"
        details = f"{p} ({based_on(row)})"
        if row.methods in ("better", "worse"):
            first, second = (b, a) if row.methods == "worse" else (a, b)
            return f"{lead}: {first} is better than {second}, {details}."
        detectable = _would_be_detected(pair.detectable.methods, row.metric)
        return f"{lead}: no difference between {a} and {b} is shown, {details}{detectable}."

    def _interval(self, low: float, high: float, name: str) -> str:
        """`95% CI [0.4, 3.1]`; "" without an interval."""
        if math.isnan(low):
            return ""
        return f"{self.interval.level * 100:g}% CI [{bare(low, name)}, {bare(high, name)}]"


def _would_be_detected(size: float, name: str) -> str:
    if math.isnan(size):
        return ""
    return f"; a true difference of {amount(size, name)} would be detected with 80% power"


def amount(value: float, name: str) -> str:
    """A size of a difference: `1.8 points of macro-F1`, or `0.021 of log loss`."""
    points = "" if math.isinf(metric(name).bounds[1]) else " points"
    return f"{bare(value, name)}{points} of {metric(name).label}"


def bare(value: float, name: str) -> str:
    """The same without its unit, for what follows: `0.4`."""
    return fixed(value, 3) if math.isinf(metric(name).bounds[1]) else fixed(100 * value, 1)
