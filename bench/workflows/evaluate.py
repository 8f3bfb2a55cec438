"""Evaluate and compare predictions given as arrays: no protocol, no folds, no files."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from bench.dataset import COLUMNS, Dataset
from bench.errors import PredictionError, listing
from bench.leaderboard import ComparisonReport, Estimate, MetricTable, RowFacts
from bench.leaderboard.estimate import frame
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import PARTS, Interval, Metrics, Protocol, Roles, Split
from bench.score.comparison import ComparisonRequest, compare_rows_in_full
from bench.score.leaderboard import score
from bench.score.metrics import CLASS_METRICS, IMAGE_METRICS
from bench.workflows.compare import refuse_wide
from bench.workflows.inputs import read_inputs

SEED = 20180817
"""Seed of the resamples."""
FEWEST_ROWS, FEWEST_RESAMPLES = 2, 100
NAME = "predictions"
PRIMARY = "macro_f1"


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one set of predictions with cluster-bootstrap intervals.

    classes   class names in the order of the probability columns
    images    number of images; groups  number of groups that were resampled
    resamples, level  of the intervals
    metrics   names of the metrics shown, image-level metrics first
    table     all estimates, by metric and by class and metric
    """

    classes: tuple[str, ...]
    images: int
    groups: int
    resamples: int
    level: float
    metrics: tuple[str, ...]
    table: MetricTable

    def __getitem__(self, key: str | tuple[str, str]) -> Estimate:
        """Estimate of `metric`, or of `(metric, class)`. Raises KeyError that names the metrics."""
        metric, label = (key, None) if isinstance(key, str) else key
        if label is None and metric in CLASS_METRICS:
            raise KeyError(f"{metric}: is a metric of a class; give ({metric!r}, CLASS)")
        table = self.table.metrics if label is None else self.table.per_class.get(str(label), {})
        if metric not in table:
            known = listing(list(table)) if table else f"classes {listing(list(self.classes))}"
            raise KeyError(f"{key}: unknown; known are {known}")
        return table[metric]

    def to_frame(self) -> pd.DataFrame:
        """A line per class ("" for all classes) and metric: value, low, high, n, method."""
        lines = self._lines()
        return frame([line[:2] for line in lines], [line[2] for line in lines], ("class", "metric"))

    def to_json(self) -> str:
        """The same as JSON; undefined values are null."""
        lines = self.to_frame().astype(object)
        content = {
            "classes": list(self.classes),
            "images": self.images,
            "groups": self.groups,
            "interval": {"resamples": self.resamples, "level": self.level},
            "estimates": lines.where(lines.notna(), None).to_dict(orient="records"),
        }
        return json.dumps(content, indent=2)

    def _lines(self) -> list[tuple[str, str, Estimate]]:
        """Class ("" for all classes), metric and estimate of the metrics shown."""
        known = {(label, metric): estimate for label, metric, estimate in self.table.items()}
        return [
            (label, metric, known[label, metric])
            for label in ("", *self.table.per_class)
            for metric in self.metrics
            if (label, metric) in known
        ]

    def __repr__(self) -> str:
        label, metric, first = self._lines()[0]
        return (
            f"Evaluation({self.images} images, {self.groups} groups, {len(self.classes)} classes; "
            f"{' '.join(filter(None, (metric, label)))} {first.text(metric)})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(metric)}</td><td>{escape(label)}</td>"
            f"<td>{estimate.value:.3f}</td>"
            f"<td>[{estimate.low:.3f}, {estimate.high:.3f}]</td><td>{estimate.n}</td></tr>"
            for label, metric, estimate in self._lines()
        )
        return (
            f"<p>{self.images} images, {self.groups} groups; {self.level:.0%} cluster-bootstrap "
            f"intervals, {self.resamples} resamples</p><table><thead><tr><th>metric</th>"
            f"<th>class</th><th>value</th><th>interval</th><th>n</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


def evaluate(
    y_true: object,
    probs: object,
    groups: object = None,
    classes: Sequence[Hashable] | None = None,
    metrics: Sequence[str] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Evaluation:
    """See `bench.evaluate`."""
    _refuse_settings(metrics, resamples, level)
    dataset, (predictions,) = _read(y_true, {NAME: probs}, groups, classes)
    protocol = _protocol(resamples, level)
    (row,) = score(protocol, dataset, _all_tested(dataset), [predictions], {}).rows
    return Evaluation(
        classes=dataset.classes,
        images=len(dataset),
        groups=len(set(dataset.native_groups.tolist())),
        resamples=resamples,
        level=level,
        metrics=tuple(metrics or dict.fromkeys((PRIMARY, *IMAGE_METRICS, *CLASS_METRICS))),
        table=row.table,
    )


def compare_arrays(
    y_true: object,
    probs: Mapping[str, object],
    groups: object = None,
    classes: Sequence[Hashable] | None = None,
    metric: str = "macro_f1",
    margin: float | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
) -> ComparisonReport:
    """See `bench.compare`."""
    _refuse_settings([metric], resamples, level)
    if not isinstance(probs, Mapping):
        raise PredictionError('probs: give the sets of predictions by name: {"a": pa, "b": pb}')
    if len(probs) < FEWEST_ROWS:
        raise PredictionError(f"compare takes two sets of predictions or more, not {len(probs)}")
    dataset, rows = _read(y_true, probs, groups, classes)
    request = ComparisonRequest(metric, margin=margin)
    refuse_wide(request)
    facts = {row.name: RowFacts() for row in rows}
    names = [row.name for row in rows]
    roles = _all_tested(dataset)
    protocol = _protocol(resamples, level)
    return compare_rows_in_full(protocol, dataset, roles, rows, facts, names, request)


def _refuse_settings(metrics: Sequence[str] | None, resamples: int, level: float) -> None:
    if isinstance(metrics, str):
        raise PredictionError(f"metrics={metrics!r}: give a list, such as [{metrics!r}]")
    unknown = [name for name in metrics or () if name not in {*IMAGE_METRICS, *CLASS_METRICS}]
    if unknown:
        known = listing([*IMAGE_METRICS, *CLASS_METRICS])
        raise PredictionError(f"unknown metrics: {listing(unknown)}; known are {known}")
    if resamples < FEWEST_RESAMPLES or resamples != int(resamples):
        raise PredictionError(f"resamples={resamples}: give an integer from {FEWEST_RESAMPLES}")
    if not 0 < level < 1:
        raise PredictionError(f"level={level}: give a number between 0 and 1, such as 0.95")


def _protocol(resamples: int, level: float) -> Protocol:
    """One part that tests every image: what the scoring needs of a protocol."""
    return Protocol(
        name=NAME,
        title="One list of images",
        split=Split(kind="holdout", folds=1, seed=SEED, val=0.1, test=0.8),
        metrics=Metrics(primary=PRIMARY),
        interval=Interval(resamples=int(resamples), level=level),
    )


def _all_tested(dataset: Dataset) -> Roles:
    """Roles in which every image is a test image of one fold."""
    parts = np.full((len(dataset), 1), PARTS.index("test"), dtype=np.uint8)
    return Roles(dataset.roster_sha256, dataset.image_ids, dataset.native_groups, parts)


def _read(
    y_true: object,
    probs: Mapping[str, object],
    groups: object,
    classes: Sequence[Hashable] | None,
) -> tuple[Dataset, list[RowPredictions]]:
    """Check the inputs; make a dataset and one row for each set of predictions."""
    alone = set(probs) == {NAME}
    places = {str(name): "probs" if alone else f"probs[{name!r}]" for name in probs}
    given = {places[str(name)]: value for name, value in probs.items()}
    inputs = read_inputs(y_true, given, groups, classes)
    ids = np.array([f"{place:09d}" for place in range(len(inputs.labels))], dtype=object)
    table = pd.DataFrame({"image_id": ids, "label": inputs.labels}).reindex(columns=list(COLUMNS))
    if inputs.groups is not None:
        table["group_id"] = inputs.groups
    dataset = Dataset(name=NAME, title="predictions", classes=inputs.classes, table=table)
    rows = []
    for name, place in places.items():
        predictions = Predictions(ids, inputs.probs[place], inputs.classes)
        rows.append(RowPredictions(name, name, "submitted", {TrainingKey(0, 0, 0): predictions}))
    return dataset, rows
