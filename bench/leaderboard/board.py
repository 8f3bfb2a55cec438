"""The leaderboard: rows, pairs of rows, arms, and the verdict over all of them."""

# ruff: noqa: RUF001 - verdicts are shown to people: they use typographic signs

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bench.errors import listing, suggest
from bench.leaderboard.estimate import (
    NAN,
    Count,
    Estimate,
    Flag,
    Matrix,
    MetricTable,
    Number,
    Plain,
    Positive,
    Tested,
    frame,
    frame_html,
    from_json,
    json_text,
    to_data,
)
from bench.leaderboard.text import counted, interval, listed, metric, plain, said

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "reference"
"""The kind of the dummy baselines: majority, prior, uniform."""
LEAKAGE_METER = "leakage-meter"
ROW_KEYS = (
    "name", "method", "kind", "seeds", "folds", "complete", "rank", "tested", "metrics",
    "per_class", "cost", "confusion", "by_fold", "seed_sd", "clears_reference", "unranked",
    "variant", "badges", "notes", "guards", "command", "environment", "hashes",
)  # fmt: skip
"""Keys of a row in JSON, in order; a row's table and facts are part of the same object."""
KEYS = (
    "protocol", "unit", "dataset", "classes", "interval", "primary", "best_reference", "baseline",
    "folds", "repeats", "control", "tested", "methods", "absent", "comparisons", "tie_groups",
    "mean_ranks", "arms",
)  # fmt: skip
"""Keys of leaderboard.json, in order."""


@dataclass(frozen=True, slots=True)
class Rank:
    """The rank of a row: best is its point rank (None if unranked), low and high the interval of
    its rank over the resamples, p_best the share of resamples in which it is first (rows that share
    the first place share it), shares the share of resamples in which it has rank 1, 2, ..."""

    best: Count | None = None
    low: Count | None = None
    high: Count | None = None
    p_best: Number = NAN
    shares: tuple[Number, ...] = ()

    @model_serializer(mode="wrap")
    def _with_method(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        known = self.low is not None
        method = "percentile" if known else ""
        return {**fields(self), "method": method, "marks": ["biased"] if known else []}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row a against row b on the same images, a minus b.

    low, high  paired cluster bootstrap
    models     these models, by this interval: "better", "worse" or "no difference shown", of a
    methods    these methods, trained again: the same by the z test, or "not tested"
    p          of the z test, p_adjusted by Holm; NaN where not tested
    trainings  number of trainings of each row that the test rests on; 0 where not tested
    basis      "3 seeds", "5 repeats", "one training per fold", or the reason why it is not tested
    """

    a: str
    b: str
    metric: str
    difference: Number
    low: Number
    high: Number
    models: str
    methods: str
    p: Number
    p_adjusted: Number
    trainings: Count
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Association:
    """An attribute against classes.

    estimate  effect size with its interval; n images have the attribute, in `groups` groups
    chance    mean effect size if groups exchange their values at random
    p, p_adjusted  of the permutation test; adjusted by Holm over the family it is shown with
    """

    name: str
    measure: str
    estimate: Estimate
    groups: Count
    chance: Number
    p: Number
    p_adjusted: Number = NAN


@dataclass(frozen=True)
class RowFacts:
    """Facts of a row beside its predictions.

    variant   differences from the method's default recipe and data ({} for none)
    badges    short labels: "from scratch", "committed", "incomplete", ...
    notes     whole sentences: pretraining data, failed jobs
    guards    warnings of its trainings, by kind; None if the trainings were not checked
    cost      numbers by name: train_seconds, peak_memory_bytes, parameters, images_per_second
    command   the command that reproduces the row
    unranked  why the row is not ranked, "" if it is
    recipe    every option of the recipe with its value
    members   the rows that an ensemble combines; an ensemble trains nothing
    models    separately trained models that the submitter declares; 0 for none
    history   training curves: by training, then by column of history.csv, one value per epoch
    """

    variant: Mapping[str, Plain] = field(default_factory=dict)
    badges: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    guards: Mapping[str, str] | None = None
    cost: Mapping[str, Number] = field(default_factory=dict)
    command: str = ""
    passport: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    unranked: str = ""
    recipe: Mapping[str, Plain] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    models: Count = 0
    history: Mapping[str, Mapping[str, tuple[Number, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class LeaderboardRow:
    """One method on the leaderboard.

    confusion    (C, C) counts over the pooled test predictions of all seeds, truth in rows
    by_fold      metric -> value of every fold (repeat-major), mean over seeds, NaN where missing
    seed_sd      metric -> standard deviation over seeds (NaN with one seed)
    clears_reference  whether these models are better than the best reference row, by the primary
                 metric
    tested       number of images and groups behind its numbers; None if not counted
    missing      (seed, repeat, fold) of every missing training, over the protocol's and its seeds
    """

    name: str
    method: str
    kind: str
    seeds: tuple[Count, ...]
    folds: tuple[Count, ...]
    complete: Flag
    rank: Rank
    table: MetricTable
    confusion: Matrix
    by_fold: Mapping[str, tuple[Number, ...]]
    seed_sd: Mapping[str, Number]
    clears_reference: Flag
    facts: RowFacts
    tested: Tested = None
    missing: tuple[tuple[Count, Count, Count], ...] = ()

    def __repr__(self) -> str:
        """Its name, kind and rank."""
        return f"LeaderboardRow({self.name!r}, {self.kind}, rank {self.rank.best})"

    @model_serializer(mode="wrap")
    def _flat(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = fields(self)
        content |= content["table"] | content["facts"]
        return {key: content[key] for key in ROW_KEYS}

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, content: Any) -> Any:
        known = isinstance(content, dict)
        return {**content, "table": content, "facts": content} if known else content


@dataclass(frozen=True)
class DatasetFacts:
    """The data that the numbers come from; every page shows them.

    groups  groups of the roles, which the bootstrap resamples
    units   patients or lesions of the data; more than groups if known duplicates join some
    """

    name: str
    title: str
    roster_sha256: str
    images: Count
    groups: Count
    synthetic: Flag
    unit: str
    ungrouped: Count
    licence: str
    citation: str
    images_by_class: Mapping[str, Count]
    groups_by_class: Mapping[str, Count]
    units: Count = 0
    units_by_class: Mapping[str, Count] = field(default_factory=dict)

    @property
    def size(self) -> str:
        """`10,015 images of 7,470 lesions (7,385 groups)`."""
        images = counted(self.images, "image")
        if self.unit == "image":
            return images
        text = f"{images} of {counted(self.units or self.groups, plain(self.unit))}"
        joined = self.units > self.groups
        return f"{text} ({counted(self.groups, 'group')})" if joined else text

    def of_class(self, label: str) -> int:
        """Number of units (patients or lesions) of a class."""
        return (self.units_by_class or self.groups_by_class).get(label, 0)


@dataclass(frozen=True)
class IntervalFacts:
    """Level, number of resamples, unit of resampling and method of the intervals."""

    level: Annotated[Positive, Field(lt=1)]
    resamples: Count
    unit: str
    method: str


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a protocol: its fold columns, and the size of its training and test parts.

    train_images, train_groups  means over its folds; test_images: over all of them
    """

    name: str
    folds: tuple[Count, ...]
    train_images: Number
    train_groups: Number
    test_images: Count


@dataclass(frozen=True, slots=True)
class ArmRow:
    """A row in one arm, on the seeds and folds that all its arms have in common.

    difference  this arm minus the first, paired on the same resampled groups; None for the first
                arm. It has no `support` and no `groups`
    by_seed     the same difference in each seed, by metric
    over_seeds  their mean with a t interval: variation over trainings, on the same images
    """

    name: str
    arm: str
    seeds: tuple[Count, ...]
    complete: Flag
    table: MetricTable
    difference: MetricTable | None
    by_seed: Mapping[str, tuple[Number, ...]] = field(default_factory=dict)
    over_seeds: Mapping[str, Estimate] = field(default_factory=dict)

    def seeds_text(self, name: str) -> str:
        """`, over seeds [-0.011, 0.073]`: the t interval over trainings; "" without one."""
        estimate = self.over_seeds.get(name)
        if estimate is None or math.isnan(estimate.low):
            return ""
        return f", over seeds {interval(estimate.low, estimate.high, estimate.decimals)}"

    @model_serializer(mode="wrap")
    def _flat(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in fields(self).items():
            content |= value if key == "table" else {key: value}
        return content

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, content: Any) -> Any:
        return {**content, "table": content} if isinstance(content, dict) else content


@dataclass(frozen=True)
class ArmReport:
    """Results of a protocol with arms. kind: of the protocol; the first arm is the ranked one."""

    kind: str
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    rows: tuple[ArmRow, ...]


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """Everything a leaderboard page shows, rows in the order of the table.

    tested      number of images and groups that any fold tests; None for all of them
    baseline    the row that the comparisons are against; "" if they are all pairs
    tie_groups  maximal sets of ranked rows without a difference shown between the models of any two
    absent      rows without a finished fold, and the state of their jobs
    pages       address of the row's page, by row, for rows that have one
    mean_ranks  mean over the folds of each ranked row's rank; empty if a fold has no rank
    """

    protocol: str
    protocol_title: str
    primary: str
    metrics: tuple[str, ...]
    class_metrics: tuple[str, ...]
    classes: tuple[str, ...]
    dataset: DatasetFacts
    interval: IntervalFacts
    folds: Count
    repeats: Count
    rows: Annotated[tuple[LeaderboardRow, ...], Field(alias="methods")]
    comparisons: tuple[Comparison, ...]
    best_reference: str
    baseline: str = ""
    control: Flag = False
    arms: ArmReport | None = None
    tested: Tested = None
    tie_groups: tuple[tuple[str, ...], ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)
    mean_ranks: Mapping[str, Number] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Protocol, dataset, number of rows, verdict."""
        where = f"{self.protocol} on {self.dataset.name}"
        return f"Leaderboard({where}, {len(self.rows)} rows)\n{self.verdict}"

    def _repr_html_(self) -> str:
        primary = self.to_frame().query("metric == @self.primary and `class` == ''")
        return frame_html(primary.drop(columns="class"), self.verdict)

    @model_serializer(mode="wrap")
    def _ordered(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = fields(self)
        content["unit"] = content["dataset"].pop("unit")
        for row in content["methods"]:
            row["page"] = self.pages.get(row["name"])
        return {key: content[key] for key in KEYS}

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        """Fill the fields that the JSON leaves out, from the others."""
        if not isinstance(content, dict):
            return content
        rows, dataset = content.get("methods"), content.get("dataset")
        rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        tables = [row.get("per_class") for row in rows]
        classes = [one for table in tables if isinstance(table, dict) for one in table.values()]
        unit = {"unit": content.get("unit")}
        return {
            "protocol_title": content.get("protocol"),
            "metrics": _keys(row.get("metrics") for row in rows),
            "class_metrics": _keys(classes),
            "pages": {str(row.get("name")): row["page"] for row in rows if row.get("page")},
            **content,
            "dataset": {**dataset, **unit} if isinstance(dataset, dict) else dataset,
        }

    def to_json(self) -> str:
        """The text of leaderboard.json: strict JSON, an undefined value is null."""
        return json_text(to_data(self))

    @classmethod
    def from_json(cls, text: str) -> Leaderboard:
        """Read leaderboard.json back.

        The file leaves out the protocol's title and what only pages show (recipe, passport,
        members, history and missing folds of a row). Raises ResultsError.
        """
        return from_json(cls, text)

    def to_frame(self) -> pd.DataFrame:
        """A line per row, class ("" for all classes) and metric, with value and interval."""
        lines = [(row, *item) for row in self.rows for item in row.table.items()]
        keys = [(row.name, row.kind, row.rank.best, label, key) for row, label, key, _ in lines]
        names = ("row", "kind", "rank", "class", "metric")
        return frame(keys, [line[3] for line in lines], names)

    def html(self) -> str:
        """The leaderboard's page as one self-contained HTML; `Bench.report` writes all pages."""
        render = import_module("bench.report.render")  # by name: pages are a layer above results
        files: dict[str, str] = render.render(self)
        return files["index.html"]

    def __getitem__(self, name: str) -> LeaderboardRow:
        """The row of this name. Raises KeyError with the nearest names, or all."""
        for row in self.rows:
            if row.name == name:
                return row
        known = [row.name for row in self.rows]
        raise KeyError(
            f"{name}: no such row{suggest(name, known) or f'; known are {listing(known)}'}"
        )

    @property
    def leader(self) -> LeaderboardRow | None:
        """The row of the first rank."""
        ranked = [row for row in self.rows if row.rank.best is not None]
        return min(ranked, key=lambda row: row.rank.best or 0, default=None)

    @property
    def reference_text(self) -> str:
        """`uniform, 0.131`: the best reference row and its primary value; "" without one."""
        for row in self.rows:
            if row.name == self.best_reference and self.primary in row.table.metrics:
                return f"{said(row.name)}, {row.table.metrics[self.primary].text().split(' ')[0]}"
        return ""

    def fault(self, row: LeaderboardRow) -> str:
        """Why a method does not beat the dummy baselines; "" if it does."""
        if row.kind == REFERENCE or row.clears_reference:
            return ""
        best = self.reference_text
        if not best:
            return "clears no reference row"
        return f"does not clear the best reference row ({best})"

    def primary_text(self, row: LeaderboardRow) -> str:
        """`macro-F1 0.742 [0.725, 0.754]`."""
        estimate = row.table.metrics.get(self.primary)
        value = "n/a (not computed)" if estimate is None else estimate.text(self.primary)
        return f"{metric(self.primary).label} {value}"

    @property
    def verdict(self) -> str:
        """The headline and, where rows are compared, both verdicts."""
        return " ".join((self.headline, *self.verdicts))

    @property
    def headline(self) -> str:
        """The result in one sentence: the leading row, or the effect of leakage."""
        if sentence := self._leakage():
            return sentence
        if self.control:
            return "A control: no row is ranked."
        first = self.leader
        if first is None:
            methods = any(row.kind != REFERENCE for row in self.rows)
            return "No method is ranked yet." if methods else "No method has been run yet."
        start = "On synthetic data, " if self.dataset.synthetic else ""
        text = f"{start}{said(first.name)} is first with {self.primary_text(first)}"
        if fault := self.fault(first):
            return f"{text}, but {fault}."
        alone = sum(row.rank.best is not None for row in self.rows) == 1
        return f"{text}, the only ranked method." if alone else f"{text}."

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One sentence for each verdict on the baseline, else the leader; () without a pair."""
        name = self.baseline or (self.leader.name if self.leader else "")
        pairs = [
            pair
            for pair in self.comparisons
            if pair.metric == self.primary and name in (pair.a, pair.b)
        ]
        if not pairs or self.control or self._leakage():
            return ()
        return verdict_sentences(name, pairs, self.tests)

    @property
    def tests(self) -> int:
        """Number of tested comparisons, over which Holm adjusts p."""
        return sum(pair.methods != "not tested" for pair in self.comparisons)

    def _leakage(self) -> str:
        """The verdict of a leakage meter; "" for any other protocol."""
        if self.arms is None or self.arms.kind != LEAKAGE_METER:
            return ""
        label = metric(self.primary).label
        effects = [
            f"{said(row.name)}’s {label} by "
            f"{row.difference.metrics[self.primary].signed_text(self.primary)}"
            f"{row.seeds_text(self.primary)}"
            for row in self.arms.rows
            if row.difference is not None
        ]
        if not effects:
            return ""
        where = "On synthetic data, a" if self.dataset.synthetic else "A"
        unit = plain(self.dataset.unit)
        return (
            f"{where} second picture of the tested {unit} in training moves {'; '.join(effects)}."
        )


def _keys(tables: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(key for table in tables if isinstance(table, dict) for key in table))


TURNED = {"better": "worse", "worse": "better"}
MOST_NAMES = 4


def some_names(names: list[str]) -> str:
    """Names in a sentence: `a, b, c and 3 more`."""
    if len(names) <= MOST_NAMES:
        return listed(names)
    return f"{', '.join(names[: MOST_NAMES - 1])} and {len(names) - MOST_NAMES + 1} more"


def verdict_sentences(name: str, pairs: list[Comparison], tests: int) -> tuple[str, str]:
    """Both verdicts on a row against others. tests: number of tests that Holm adjusts for."""
    models, methods = (_by_verdict(name, pairs, kind) for kind in ("models", "methods"))
    tested = [pair for pair in pairs if pair.methods != "not tested"]
    basis = " or ".join(dict.fromkeys(based_on(pair) for pair in tested))
    holm = f"; p adjusted by Holm over {tests} comparisons" if tests > 1 else ""
    first = f"These models: {_outcomes(name, models)}."
    if not tested:
        reasons = "; ".join(dict.fromkeys(plain(pair.basis) for pair in pairs))
        return first, f"These methods, trained again: not tested; {reasons}."
    return first, f"These methods, trained again: {_outcomes(name, methods)} ({basis}{holm})."


def based_on(pair: Comparison) -> str:
    """`5 trainings each, one training per fold`."""
    return f"{counted(pair.trainings, 'training')} each, {plain(pair.basis)}"


def _by_verdict(name: str, pairs: list[Comparison], kind: str) -> dict[str, list[str]]:
    """The other rows by the verdict of the row `name` against them."""
    rows: dict[str, list[str]] = {}
    for pair in pairs:
        verdict = getattr(pair, kind)
        own = verdict if pair.a == name else TURNED.get(verdict, verdict)
        rows.setdefault(own, []).append(said(pair.b if pair.a == name else pair.a))
    return rows


def _outcomes(name: str, rows: Mapping[str, list[str]]) -> str:
    """`a is better than b; no difference between it and c is shown; d not tested`."""
    texts = [
        f"is {verdict} than {some_names(rows[verdict])}"
        for verdict in ("better", "worse")
        if verdict in rows
    ]
    if texts:
        texts = [f"{said(name)} {' and '.join(texts)}"]
    if others := rows.get("no difference shown"):
        subject = "it" if texts else said(name)
        texts.append(f"no difference between {subject} and {some_names(others)} is shown")
    if others := rows.get("not tested"):
        texts.append(f"{some_names(others)} not tested")
    return "; ".join(texts)
