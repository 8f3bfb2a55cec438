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
from bench.predictions import Predictions, RowPredictions, TrainingKey, sum_to_one
from bench.protocol import PARTS, Interval, Metrics, Protocol, Roles, Split
from bench.score.comparison import ComparisonRequest, compare_rows_in_full
from bench.score.leaderboard import score
from bench.score.metrics import CLASS_METRICS, IMAGE_METRICS

SEED = 20180817
"""Seed of the resamples."""
FEWEST_CLASSES, FEWEST_RESAMPLES = 2, 100
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
    if len(probs) < FEWEST_CLASSES:
        raise PredictionError(f"compare takes two sets of predictions or more, not {len(probs)}")
    dataset, rows = _read(y_true, probs, groups, classes)
    request = ComparisonRequest(metric, margin=margin)
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
    if resamples < FEWEST_RESAMPLES:
        raise PredictionError(f"resamples={resamples}: give {FEWEST_RESAMPLES} or more")
    if not 0 < level < 1:
        raise PredictionError(f"level={level}: give a number between 0 and 1, such as 0.95")


def _protocol(resamples: int, level: float) -> Protocol:
    """One part that tests every image: what the scoring needs of a protocol."""
    return Protocol(
        name=NAME,
        title="One list of images",
        split=Split(kind="holdout", folds=1, seed=SEED, val=0.1, test=0.8),
        metrics=Metrics(primary=PRIMARY),
        interval=Interval(resamples=resamples, level=level),
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
    """Check the inputs; make a dataset and one row for each set of predictions.

    Raises PredictionError that names what is wrong and where.
    """
    _refuse_other_index(y_true, probs, groups)
    truth = _vector(y_true, "y_true")
    tables = {name: _matrix(value, _name(name, probs)) for name, value in probs.items()}
    first = next(iter(tables.values()))
    names = _class_names(truth, next(iter(probs.values())), first.shape[1], classes)
    labels = _labels(truth, names, classes)
    ids = np.array([f"{place:09d}" for place in range(len(labels))], dtype=object)
    table = pd.DataFrame({"image_id": ids, "label": labels}).reindex(columns=list(COLUMNS))
    if groups is not None:
        table["group_id"] = _groups(groups, len(labels))
    dataset = Dataset(name=NAME, title="predictions", classes=names, table=table)
    rows = []
    for name, matrix in tables.items():
        _refuse_probabilities(matrix, _name(name, probs), len(labels), len(names))
        predictions = Predictions(ids, matrix, names)
        rows.append(RowPredictions(name, name, "submitted", {TrainingKey(0, 0, 0): predictions}))
    return dataset, rows


def _name(name: str, probs: Mapping[str, object]) -> str:
    return "probs" if set(probs) == {NAME} else f"probs[{name!r}]"


def _refuse_other_index(y_true: object, probs: Mapping[str, object], groups: object) -> None:
    """Raise PredictionError where pandas objects have different indexes: rows would be mixed up."""
    given = {"y_true": y_true, "groups": groups} | {
        _name(name, probs): value for name, value in probs.items()
    }
    indexes = {
        name: value.index
        for name, value in given.items()
        if isinstance(value, pd.Series | pd.DataFrame)
    }
    for (a, first), (b, other) in zip(
        list(indexes.items())[:-1], list(indexes.items())[1:], strict=True
    ):
        if len(first) == len(other) and not first.equals(other):
            raise PredictionError(
                f"{a} and {b} have different indexes; bring them into one order, for example "
                f"with .loc, or pass .to_numpy()"
            )


def _array(value: object, name: str) -> np.ndarray:
    """A numpy array of a list, array, Series, DataFrame or torch tensor."""
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise PredictionError(f"{name}: not an array of equal rows ({error})") from None


def _vector(value: object, name: str) -> np.ndarray:
    array = _array(value, name)
    if array.ndim == 2 and array.shape[1] == 1:  # noqa: PLR2004 - a column
        array = array[:, 0]
    if array.ndim != 1:
        raise PredictionError(f"{name} has the shape {array.shape}, expected one value an image")
    if not len(array):
        raise PredictionError(f"{name} is empty")
    missing = np.flatnonzero(pd.isna(array))
    if len(missing):
        raise PredictionError(
            f"{name}: {len(missing)} missing values, the first in row {missing[0]}"
        )
    return array


def _matrix(value: object, name: str) -> np.ndarray:
    """Probabilities (N, C) float64; one column is the probability of the second of two classes."""
    array = _array(value, name)
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise PredictionError(f"{name}: holds values that are not numbers") from None
    if array.ndim == 1:
        array = np.stack([1 - array, array], axis=1)
    if array.ndim != 2 or array.shape[1] < FEWEST_CLASSES:  # noqa: PLR2004 - a matrix
        raise PredictionError(
            f"{name} has the shape {array.shape}, expected (images, classes) with 2 classes or more"
        )
    return array


def _refuse_probabilities(probs: np.ndarray, name: str, images: int, classes: int) -> None:
    if probs.shape != (images, classes):
        raise PredictionError(
            f"{name} has the shape {probs.shape}, expected ({images} images, {classes} classes)"
        )
    for wrong, what in (
        (~np.isfinite(probs).all(axis=1), "values that are not finite"),
        ((probs < 0).any(axis=1), "negative values"),
    ):
        if wrong.any():
            rows = np.flatnonzero(wrong)
            raise PredictionError(f"{name}: {what} in {len(rows)} rows, the first is row {rows[0]}")
    wrong = np.flatnonzero(~sum_to_one(probs.sum(axis=1)))
    if len(wrong):
        raise PredictionError(
            f"{name}: {len(wrong)} rows do not sum to 1, the first is row {wrong[0]} "
            f"(sum {probs[wrong[0]].sum():.4g}); give probabilities, such as a softmax"
        )


def _class_names(
    truth: np.ndarray, probs: object, count: int, classes: Sequence[Hashable] | None
) -> tuple[str, ...]:
    """Class names in the order of the columns: given, of a DataFrame, or of the labels."""
    if classes is None and isinstance(probs, pd.DataFrame):
        columns = [str(column) for column in probs.columns]
        if not all(column.isdigit() for column in columns):
            classes = [column.removeprefix("p_") for column in columns]
    if classes is None:
        if _is_integer(truth):
            classes = list(range(count))
        else:
            classes = sorted({str(label) for label in truth.tolist()})
            if len(classes) != count:
                raise PredictionError(
                    f"y_true has {len(classes)} labels ({listing(classes)}) and probs {count} "
                    "columns; name the columns in their order with classes=[...]"
                )
    names = tuple(str(name) for name in classes)
    if len(names) != count:
        raise PredictionError(f"classes names {len(names)} classes, probs has {count} columns")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PredictionError(f"classes: {listing(twice)} given twice")
    return names


def _is_integer(truth: np.ndarray) -> bool:
    if truth.dtype == bool or np.issubdtype(truth.dtype, np.integer):
        return True
    if np.issubdtype(truth.dtype, np.floating):
        return bool((truth == np.rint(truth)).all())
    return truth.dtype == object and all(isinstance(each, int) for each in truth.tolist())


def _labels(
    truth: np.ndarray, names: tuple[str, ...], classes: Sequence[Hashable] | None
) -> list[str]:
    """Class name of every image. Integers are positions, unless `classes` holds integers."""
    known = set(names)
    if _is_integer(truth):
        codes = [int(each) for each in truth.tolist()]
        by_value = classes is not None and all(isinstance(each, int) for each in classes)
        wrong = sorted(
            {c for c in codes if not (str(c) in known if by_value else 0 <= c < len(names))}
        )
        if wrong:
            expected = listing(list(names)) if by_value else f"0 to {len(names) - 1}"
            raise PredictionError(f"y_true: unknown labels {listing(wrong)}; expected {expected}")
        return [str(code) if by_value else names[code] for code in codes]
    labels = [str(each) for each in truth.tolist()]
    wrong_names = sorted(set(labels) - known)
    if wrong_names:
        raise PredictionError(
            f"y_true: unknown labels {listing(wrong_names)}; classes are {listing(list(names))}"
        )
    return labels


def _groups(groups: object, images: int) -> list[str]:
    values = _vector(groups, "groups")
    if len(values) != images:
        raise PredictionError(f"groups has {len(values)} values for {images} images")
    return [f"g{each}" for each in values.tolist()]
