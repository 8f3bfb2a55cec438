"""Metrics by subgroup and the largest gap.

All subgroups are scored on the shared resamples, so differences are paired. The gap of an attribute
is its largest difference, so its interval must hold for all pairs at once: single-step max-T over
the studentised differences of all pairs of all attributes (Westfall & Young 1993; Romano & Wolf
2005), for each metric. Subgroups with fewer than 50 groups get no metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bench.dataset import SUBGROUP_AGES, Dataset, age_bands
from bench.leaderboard import NAN, Estimate, Gap, Subgroup
from bench.protocol import Interval
from bench.score.bootstrap import Plan, SortedScores, distributions, point_values, sort_scores
from bench.score.derived_rows import subset
from bench.score.join import Run
from bench.score.metrics import BIASED, IMAGE_METRICS, Key, higher_is_better, keys, ratio
from bench.score.row import (
    FEW_GROUPS,
    RARELY,
    denominators,
    few_mark,
    interval_of,
    partly_undefined,
)

ATTRIBUTES = ("age", "sex", "localization", "dx_type", "source", "image_size")
UNKNOWN = "not stated"
OTHER_SIZES = "other sizes"
UNSEEN = {"image_size": "not looked up: report --image-sizes reads it from the files"}
TOO_FEW = "undefined: too few to say"
"""Mark of malignant against benign if either side has fewer than 50 groups."""
MALIGNANT: dict[str, Key] = {
    "malignant_auc": ("auc", 1),
    "malignant_sensitivity": ("sens_at_spec_90", 1),
}
"""Metrics of malignant against benign by subgroup, and their keys in the two-class runs."""

GAP_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "macro_auc",
    "brier",
    *MALIGNANT,
)
WIDEST = {"brier": 2.0}
"""Largest possible difference of two values of a metric; 1 for metrics not listed."""


Attributes = Mapping[str, pd.Categorical]
"""Category of every image (N,), by attribute."""


def attributes(dataset: Dataset) -> Attributes:
    """Categories of the images by each attribute in the metadata.

    Age is in bands of twenty years; rare image sizes are one subgroup.
    """
    known = {}
    for name in ATTRIBUTES:
        column = dataset.table[name]
        if column.notna().any():
            values = column.astype(object)
            if name == "age":
                values = age_bands(column, SUBGROUP_AGES, "{} to {}", "{} or more")
            elif name == "image_size":
                values = _common(values, dataset.native_groups)
            known[name] = pd.Categorical(values.where(column.notna(), UNKNOWN))
    return known


def _common(sizes: pd.Series, groups: np.ndarray) -> pd.Series:
    """Image sizes (N,); sizes in fewer than 50 groups (N,) become one category."""
    borne = pd.Series(groups, index=sizes.index).groupby(sizes).nunique()
    return sizes.where(sizes.map(borne) >= FEW_GROUPS, OTHER_SIZES)


def unsplit(known: Attributes) -> dict[str, str]:
    """Attributes without subgroups, and the reason."""
    reasons = {}
    for name in ATTRIBUTES:
        if name not in known:
            reasons[name] = UNSEEN.get(name, "not in the metadata")
        elif len(known[name].categories) == 1:
            reasons[name] = f"the same in all images: {known[name][0]}"
    return reasons


@dataclass(frozen=True)
class _Found:
    """A metric of a subgroup: value, replicates (R,), denominators."""

    metric: str
    value: float
    replicates: np.ndarray
    images: int
    groups: int


@dataclass(frozen=True)
class _Part:
    """A subgroup with its replicates (metric -> (R,)) if it is large enough; malignant against
    benign only if both sides are."""

    subgroup: Subgroup
    replicates: Mapping[str, np.ndarray]


def subgroups(
    runs: Sequence[Run],
    malignant: Sequence[Run],
    known: Attributes,
    plan: Plan,
    interval: Interval,
) -> tuple[tuple[Subgroup, ...], tuple[Gap, ...]]:
    """Every subgroup of every attribute, and the gap of each attribute in each of `GAP_METRICS`.

    malignant  the same runs with two classes; empty without malignant classes
    """
    parts = [
        part
        for name, values in known.items()
        if len(values.categories) > 1
        for part in _parts(name, values, runs, malignant, plan, interval)
    ]
    gaps = [gap for metric in GAP_METRICS for gap in _gaps(parts, metric, interval.level)]
    return tuple(part.subgroup for part in parts), tuple(gaps)


def _parts(
    attribute: str,
    categories: pd.Categorical,
    runs: Sequence[Run],
    malignant: Sequence[Run],
    plan: Plan,
    interval: Interval,
) -> Iterator[_Part]:
    """The subgroups of an attribute, words (N,), sorted by name."""
    own = [categories[run.place] for run in runs]
    values = sorted({value for each in own for value in each.unique()})
    chosen = {value: [np.asarray(each == value) for each in own] for value in values}
    sizes = {value: runs[0].groups_in(masks[0]) for value, masks in chosen.items()}
    large = {value: chosen[value] for value in values if sizes[value] >= FEW_GROUPS}
    every = {name: (name, None) for name in IMAGE_METRICS}
    scored = _scored(runs, large, every, plan)
    two = _scored(malignant, large, MALIGNANT, plan) if malignant else {}
    for value, groups in sizes.items():
        mask = chosen[value][0]
        images = int(mask.sum())
        if value not in large:
            yield _Part(Subgroup(attribute, value, images, groups, too_few=True), {})
            continue
        scores = scored[value] | two.get(value, {})
        absent = runs[0].classes - len(np.unique(runs[0].truth[mask]))
        unit = runs[0].unit
        metrics = {metric: _estimate(own, absent, interval, unit) for metric, own in scores.items()}
        replicates = {metric: own.replicates for metric, own in scores.items()}
        if malignant and _rarer_side(malignant[0], mask) < FEW_GROUPS:
            for metric in MALIGNANT:
                metrics[metric] = Estimate(NAN, n=metrics[metric].n, marks=(TOO_FEW,))
                del replicates[metric]
        subgroup = Subgroup(attribute, value, images, groups, too_few=False, metrics=metrics)
        yield _Part(subgroup, replicates)


def _rarer_side(run: Run, chosen: np.ndarray) -> int:
    """Groups of the rarer of two classes among the chosen images."""
    return min(run.groups_in(chosen & (run.truth == code)) for code in range(run.classes))


def _scored(
    runs: Sequence[Run],
    parts: Mapping[str, Sequence[np.ndarray]],
    metrics: Mapping[str, Key],
    plan: Plan,
) -> dict[str, dict[str, _Found]]:
    """Scores of each part of the runs of a row, by metric name.

    parts are masks (N,) bool for each run and do not overlap, so one pass resamples all of them.
    """
    if not parts:
        return {}
    arranged = [_in_parts(run, masks) for run, *masks in zip(runs, *parts.values(), strict=True)]
    replicates = distributions([arranged], plan)[0].reshape(-1, arranged[0].parts, plan.resamples)
    points = point_values(arranged, plan.groups).mean(axis=0).reshape(replicates.shape[:2])
    places = {key: place for place, key in enumerate(keys(runs[0].classes))}
    scores = {}
    for number, (value, masks) in enumerate(parts.items()):
        images, groups = denominators(list(map(subset, runs, masks)))
        scores[value] = {
            name: _Found(
                key[0], points[at, number], replicates[at, number], int(images[at]), int(groups[at])
            )
            for name, key in metrics.items()
            for at in [places[key]]
        }
    return scores


def _in_parts(run: Run, masks: Sequence[np.ndarray]) -> SortedScores:
    """Sort the run once; images in no part are one more part at the end."""
    part = np.argmax([*masks, ~np.any(masks, axis=0)], axis=0)
    return sort_scores(run, part, len(masks) + 1)


def _estimate(score: _Found, absent: int, interval: Interval, unit: str) -> Estimate:
    plain = interval.model_copy(update={"method": "percentile"})
    value, groups = float(score.value), score.groups
    low, high, method = interval_of(score.metric, value, score.replicates, NAN, groups, plain)
    marks: tuple[str, ...] = ()
    if np.isfinite(value):
        marks = (
            *((few_mark(unit),) if groups < FEW_GROUPS else ()),
            *(("biased",) if score.metric in BIASED else ()),
            *partly_undefined(score.replicates),
        )
    elif absent:
        marks = (f"undefined: {absent} class{'es' if absent > 1 else ''} absent",)
    return Estimate(value, low, high, score.images, method, marks)


def _gaps(parts: Sequence[_Part], metric: str, level: float) -> list[Gap]:
    """The largest difference of each attribute, with simultaneous intervals over all pairs."""
    known = [
        part for part in parts if metric in part.replicates and np.isfinite(_value(part, metric))
    ]
    comparable = [part for part in known if not _often_undefined(part, metric)]
    pairs = [
        (a, b)
        for a, b in combinations(comparable, 2)
        if a.subgroup.attribute == b.subgroup.attribute
    ]
    if not pairs:
        return []
    points = np.array([_value(a, metric) - _value(b, metric) for a, b in pairs])
    replicates = np.stack([a.replicates[metric] - b.replicates[metric] for a, b in pairs])
    critical, spread = max_t(points, replicates, level)
    gaps = []
    for attribute in dict.fromkeys(a.subgroup.attribute for a, _ in pairs):
        own_pairs = [at for at, (a, _) in enumerate(pairs) if a.subgroup.attribute == attribute]
        at = max(own_pairs, key=lambda part: abs(points[part]))
        first, second = pairs[at]
        better = (points[at] >= 0) != (not higher_is_better(metric))
        best, worst = (first, second) if better else (second, first)
        half = critical * spread[at]
        size, widest = abs(float(points[at])), WIDEST.get(metric, 1.0)
        low, high = np.clip([size - half, size + half], -widest, widest)
        count = sum(part.subgroup.metrics[metric].n for part in (best, worst))
        difference = Estimate(size, float(low), float(high), count, "max-t")
        names = (worst.subgroup.value, best.subgroup.value)
        left_out = tuple(
            part.subgroup.value
            for part in known
            if part.subgroup.attribute == attribute and _often_undefined(part, metric)
        )
        gaps.append(Gap(attribute, metric, *names, difference, len(pairs), left_out))
    return gaps


def _often_undefined(part: _Part, metric: str) -> bool:
    return bool(np.isnan(part.replicates[metric]).mean() >= RARELY)


def _value(part: _Part, metric: str) -> float:
    return part.subgroup.metrics[metric].value


def max_t(points: np.ndarray, replicates: np.ndarray, level: float) -> tuple[float, np.ndarray]:
    """Critical value and standard errors (P,) of simultaneous intervals point +- critical x error.

    points (P,), drawn (P, R). The critical value is the `level` quantile, over resamples, of the
    largest studentised deviation among all P. Resamples with an undefined deviation are left out.
    """
    replicates = replicates[:, np.isfinite(replicates).all(axis=0)]
    if replicates.shape[1] < 2:  # noqa: PLR2004 - one value has no spread
        return NAN, np.full(len(points), NAN)
    spread = replicates.std(axis=1, ddof=1)
    moved = np.abs(replicates - points[:, None])
    studentised = np.nan_to_num(ratio(moved, spread[:, None]), nan=0.0)
    return float(np.quantile(studentised.max(axis=0), level)), spread
