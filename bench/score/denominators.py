"""What each metric is worked out on: images in its denominator, and groups in its smallest part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.score.metrics import MACROS, keys
from bench.score.runs import Run


def denominators(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Images (M,), mean over the runs, and fewest groups (M,) of every metric."""
    tables = [_table(run) for run in runs]
    images = np.mean([images for images, _ in tables], axis=0)
    return np.rint(images).astype(np.int64), np.min([groups for _, groups in tables], axis=0)


def _table(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Images and groups (M,) of every metric, in the order of `metrics.keys`."""
    by_class = _by_class(run)
    whole = (len(run.truth), run.groups_in())
    both = []
    for name, code in keys(run.classes):
        if code is not None:
            both.append([column[code] for column in by_class[name]])
        elif name in MACROS:
            both.append([whole[0], by_class[MACROS[name]][1].min()])
        else:
            both.append([*whole])
    table = np.array(both)
    return table[:, 0], table[:, 1]


def _by_class(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and groups (C,) of every metric by class."""
    whole, classes = len(run.truth), run.classes
    together = np.zeros_like(run.fold)
    (own,), (others,) = _sides(run, run.truth, together, 1)
    (called,), (uncalled,) = _sides(run, run.called, together, 1)
    truths = np.bincount(run.truth, minlength=classes)
    calls = np.bincount(run.called, minlength=classes)
    hits = np.bincount(run.truth[run.truth == run.called], minlength=classes)
    rarer = np.minimum(own, others)
    return {
        "recall": (truths, own),
        "specificity": (whole - truths, others),
        "precision": (calls, called),
        "npv": (whole - calls, uncalled),
        "f1": (truths + calls - hits, own),
        "sens_at_spec_90": (truths, own),
        "auc_pooled": (np.where((truths > 0) & (truths < whole), whole, 0), rarer),
        "ap_pooled": (np.where(truths > 0, whole, 0), rarer),
        **_fold_means(run),
    }


def _fold_means(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (C,) of the folds in which AUC and AP are defined, and the fewest groups (C,) on
    either side of a class there."""
    place = run.fold * run.classes + run.truth
    images = np.bincount(place, minlength=run.folds * run.classes).reshape(run.folds, run.classes)
    folds = images.sum(axis=1, keepdims=True)
    rarer = np.minimum(*_sides(run, run.truth, run.fold, run.folds))
    found = {}
    for name, defined in (("auc", (images > 0) & (images < folds)), ("ap", images > 0)):
        fewest = np.where(defined, rarer, len(run.truth)).min(axis=0)
        found[name] = (np.where(defined, folds, 0).sum(axis=0), fewest)
    return found


def _sides(
    run: Run, code: np.ndarray, fold: np.ndarray, folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Groups (folds, C) with an image of each code in each fold, and with one of another code.

    code, fold (N,) of every image: as in truth or as called, and the fold or 0.
    """
    codes = run.classes
    seen = np.zeros(run.groups * folds * codes, dtype=bool)
    seen[(run.group * folds + fold) * codes + code] = True
    owner, kind = np.divmod(np.flatnonzero(seen), codes)
    where = owner % folds
    first = np.append(True, owner[1:] != owner[:-1])[: len(owner)]
    last = np.append(first[1:], True)[: len(owner)]
    cell, size = where * codes + kind, folds * codes
    own = np.bincount(cell, minlength=size).reshape(folds, codes)
    alone = np.bincount(cell[first & last], minlength=size).reshape(folds, codes)
    present = np.bincount(where[first], minlength=folds)
    return own, present[:, None] - alone
