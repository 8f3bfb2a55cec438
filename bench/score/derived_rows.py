"""Rows derived from the same predictions: subsets, lesions as units, two classes.

Each is a `Run` over the same groups, so it is scored on the same resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.calibrate import fit_temperature, temper
from bench.score.join import Run, Val
from bench.score.metrics import thresholds_from_val

ROUNDING = 3e-7
"""Largest relative rounding error of a sum of a few float32 probabilities."""


def subset(run: Run, chosen: np.ndarray) -> Run:
    """The run on the chosen images, (N,) bool; thresholds stay those of the whole val part."""
    return replace(
        run,
        truth=run.truth[chosen],
        probs=run.probs[chosen],
        fold=run.fold[chosen],
        group=run.group[chosen],
        place=run.place[chosen],
    )


def _even(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Round probabilities of several parts, (N, C) each: values within rounding error become equal.

    Sums of the same float32 probabilities differ in their last bits with the order of the terms;
    without this, ties would be ranked by rounding.
    """
    probs = np.concatenate(parts)
    for column in probs.T:
        order = np.argsort(column)
        ordered = column[order]
        fresh = np.ones(len(ordered), dtype=bool)
        fresh[1:] = np.diff(ordered) > ROUNDING * ordered[1:]
        column[order] = ordered[fresh][np.cumsum(fresh) - 1]
    return np.split(probs, np.cumsum([len(part) for part in parts])[:-1])


def _evened(probs: np.ndarray, val: Mapping[int, Val]) -> tuple[np.ndarray, dict[int, Val]]:
    """`_even` of test and val together, so that thresholds mean the same in both."""
    own, *others = _even([probs, *(part.probs for part in val.values())])
    pairs = zip(val.items(), others, strict=True)
    return own, {fold: replace(part, probs=other) for (fold, part), other in pairs}


def averaged(run: Run, unit: np.ndarray) -> Run:
    """The run with the probabilities of all images of a unit in a fold averaged to one item.

    unit  (images of the dataset,) int, the unit of every image

    Images of one unit with different labels are one item for each label. Val is averaged alike, and
    thresholds are chosen from it again. An item keeps the place of its first image.
    """
    first, member = _items(run.fold, unit[run.place], run.truth, run.classes)
    count = np.bincount(member)
    probs = np.stack([np.bincount(member, column) for column in run.probs.T], axis=1)
    val = {}
    for fold, part in run.val.items():
        begin, of = _items(np.zeros_like(part.truth), unit[part.place], part.truth, run.classes)
        sums = np.stack([np.bincount(of, column) for column in part.probs.T], axis=1)
        means = sums / np.bincount(of)[:, None]
        val[fold] = Val(part.place[begin], part.truth[begin], means)
    probs, val = _evened(probs / count[:, None], val)
    return replace(
        run,
        truth=run.truth[first],
        probs=probs,
        fold=run.fold[first],
        group=run.group[first],
        place=run.place[first],
        val=val,
        thresholds=thresholds(run.thresholds.shape, val, thresholds_from_val),
    )


def _items(
    fold: np.ndarray, unit: np.ndarray, truth: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """First position of every distinct fold, unit and label, in this order, and which one each
    entry is."""
    key = (fold * (unit.max(initial=0) + 1) + unit) * classes + truth
    _, first, member = np.unique(key, return_index=True, return_inverse=True)
    return first, member


def two_classes(run: Run, positive: Sequence[int]) -> Run:
    """The classes `positive` joined against all others: class 1 their summed probability, 0 the
    rest. Thresholds are chosen again from val.
    """
    val = {
        fold: Val(part.place, _is_any(part.truth, positive), _joined(part.probs, positive))
        for fold, part in run.val.items()
    }
    probs, val = _evened(_joined(run.probs, positive), val)
    return replace(
        run,
        truth=_is_any(run.truth, positive),
        probs=probs,
        val=val,
        thresholds=thresholds((run.folds, 2), val, thresholds_from_val),
    )


def _is_any(truth: np.ndarray, positive: Sequence[int]) -> np.ndarray:
    return np.isin(truth, list(positive)).astype(np.int64)


def _joined(probs: np.ndarray, positive: Sequence[int]) -> np.ndarray:
    rest = [code for code in range(probs.shape[1]) if code not in positive]
    pair = np.stack([probs[:, rest].sum(axis=1), probs[:, list(positive)].sum(axis=1)], axis=1)
    return np.asarray(pair / pair.sum(axis=1, keepdims=True))


def thresholds(
    shape: tuple[int, ...],
    val: Mapping[int, Val],
    choose: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Thresholds (F, C) that `choose(truth, probs)` (C,) picks on each val part; NaN without
    val."""
    table = np.full(shape, np.nan)
    for fold, part in val.items():
        table[fold] = choose(part.truth, part.probs)
    return table


def temperatures(run: Run) -> np.ndarray:
    """The temperature (F,) fitted on the val part of each fold; NaN in folds without predictions.

    All NaN if val is missing in any fold of the run, because partial calibration is not reported.
    """
    fitted = np.full(run.folds, np.nan)
    if all(int(fold) in run.val for fold in run.present):
        for fold in run.present:
            part = run.val[int(fold)]
            fitted[fold] = fit_temperature(part.probs, part.truth)
    return fitted


def tempered(run: Run, temperature: np.ndarray) -> Run:
    """The run with the test probabilities of each fold at its temperature (F,)."""
    probs = run.probs.copy()
    for fold in run.present:
        own = run.fold == fold
        probs[own] = temper(run.probs[own], float(temperature[fold]))
    return replace(run, probs=probs)
