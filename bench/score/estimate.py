"""One row's table: every metric with its interval, its n and the words that stand beside it."""

from __future__ import annotations

import numpy as np

from bench.estimates import NAN, Estimate, MetricTable
from bench.protocol import Interval
from bench.score.denominators import denominators
from bench.score.influence import accelerations
from bench.score.intervals import all_agree, bca, clopper_pearson, percentile
from bench.score.metrics import (
    BIASED,
    CLASS_METRICS,
    FOLD_MEANS,
    IMAGE_METRICS,
    MACROS,
    PROPORTIONS,
    RESAMPLED_CLASS_METRICS,
    Key,
    keys,
)
from bench.score.rows import Row
from bench.score.runs import Cohort

FEW_GROUPS = 50
FEW = "few lesions"
RARELY = 0.01


def estimate_row(row: Row, drawn: np.ndarray, who: Cohort, interval: Interval) -> MetricTable:
    """The table of a row from its resamples drawn (M, R)."""
    runs = [scored.run for scored in row.counted]
    images, groups = denominators(runs)
    pulls = accelerations(runs, [scored.tally for scored in row.counted])
    found: dict[Key, Estimate] = {}
    for place, key in enumerate(keys(len(who.classes))):
        value = float(row.values[place])
        low, high, method = interval_of(
            key[0], value, drawn[place], float(pulls[place]), int(groups[place]), interval
        )
        found[key] = Estimate(
            value=value,
            low=low,
            high=high,
            n=int(images[place]),
            method=method,
            marks=_marks(row, who, key, value, drawn[place], int(groups[place])),
        )
    metrics = {name: found[name, None] for name in IMAGE_METRICS}
    support, members = _sizes(row, len(who.classes))
    per_class = {}
    for code, label in enumerate(who.classes):
        table = {name: found[name, code] for name in RESAMPLED_CLASS_METRICS}
        count = int(support[code])
        marks = (row.mark,) if row.mark else ()
        table["support"] = Estimate(float(count), n=count, marks=marks)
        table["groups"] = Estimate(float(members[code]), n=count, marks=marks)
        per_class[label] = {name: table[name] for name in CLASS_METRICS}
    return MetricTable(metrics=metrics, per_class=per_class)


def interval_of(
    metric: str,
    value: float,
    drawn: np.ndarray,
    acceleration: float,
    groups: int,
    interval: Interval,
) -> tuple[float, float, str]:
    """Low, high and method; (NaN, NaN, "") where there is no interval.

    BCa, or percentile where the protocol or a biased metric asks for it and where BCa is not
    defined. Where all resamples agree on a proportion of 0 or 1: Clopper-Pearson on its groups.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return NAN, NAN, ""
    if all_agree(drawn):
        if metric in PROPORTIONS and value in (0.0, 1.0) and groups:
            exact = clopper_pearson(groups if value else 0, groups, interval.level)
            return *exact, "clopper-pearson"
        return NAN, NAN, ""
    if interval.method == "bca" and metric not in BIASED:
        found = bca(drawn, value, acceleration, interval.level)
        if found is not None:
            return *found, "bca"
    return *percentile(drawn, interval.level), "percentile"


def _marks(
    row: Row, who: Cohort, key: Key, value: float, drawn: np.ndarray, groups: int
) -> tuple[str, ...]:
    metric, code = key
    marks = [row.mark] if row.mark else []
    if metric in FOLD_MEANS:
        marks += _fold_marks(row, who, FOLD_MEANS[metric], code)
    if not np.isfinite(value):
        return (*marks, *_why_undefined(row, who, metric))
    if groups < FEW_GROUPS:
        marks.append(FEW)
    if metric in BIASED:
        marks.append("biased")
    return (*marks, *partly_undefined(drawn))


def partly_undefined(drawn: np.ndarray) -> tuple[str, ...]:
    """A mark where 1% of the resamples (R,) or more have no value: the interval is of the rest."""
    share = float(np.isnan(drawn).mean())
    return (f"undefined in {share:.0%} of resamples",) if share >= RARELY else ()


def _why_undefined(row: Row, who: Cohort, metric: str) -> list[str]:
    if metric == "sens_at_spec_90" and not all(
        scored.arrangement.has_thresholds.all() for scored in row.counted
    ):
        without = any(
            int(fold) not in scored.run.val for scored in row.counted for fold in scored.run.present
        )
        return ["no val predictions" if without else "val holds no other class"]
    if metric not in MACROS:
        return []
    made_of = MACROS[metric]
    places = {key: place for place, key in enumerate(keys(len(who.classes)))}
    absent = [
        label
        for code, label in enumerate(who.classes)
        if not np.isfinite(row.values[places[made_of, code]])
    ]
    return [f"undefined: {', '.join(absent)}"]


def _fold_marks(row: Row, who: Cohort, metric: str, code: int | None) -> list[str]:
    """Which folds a mean over folds is made of, where it is not all that the row has."""
    have: set[int] = set()
    defined: dict[int, set[int]] = {c: set() for c in range(len(who.classes))}
    for (_, repeat), scored in zip(row.passes, row.counted, strict=True):
        table = scored.tally.fold_auc if metric == "auc" else scored.tally.fold_ap
        offset = repeat * who.folds
        have |= {offset + int(fold) for fold in scored.run.present}
        for each, folds in defined.items():
            folds |= {offset + int(fold) for fold in np.flatnonzero(np.isfinite(table[each, :, 0]))}
    marks = []
    for each in defined if code is None else [code]:
        if defined[each] != have:
            listed = ", ".join(map(str, sorted(defined[each])))
            name = f"{who.classes[each]}: " if code is None else ""
            marks.append(f"{name}{len(defined[each])} of {len(have)} folds ({listed})")
    return marks


def _sizes(row: Row, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Tested images and groups (C,) of each class, whichever repeat they were tested in."""
    run = max((scored.run for scored in row.counted), key=lambda each: len(each.truth))
    support = np.bincount(run.truth, minlength=classes)
    members = [np.count_nonzero(np.bincount(run.group[run.truth == c])) for c in range(classes)]
    return support, np.array(members)
