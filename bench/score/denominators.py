"""What each metric is worked out on: images in its denominator, and groups in its smallest part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.score.metrics import MACROS, RESAMPLED_CLASS_METRICS, keys
from bench.score.runs import Run


@dataclass(frozen=True)
class Parts:
    """Counts of one run's images and groups."""

    run: Run

    @cached_property
    def images(self) -> np.ndarray:
        """Images (C, F) by true class and fold."""
        shape = (self.run.classes, self.run.folds)
        flat = np.ravel_multi_index((self.run.truth, self.run.fold), shape)
        return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)

    @cached_property
    def smallest_side(self) -> np.ndarray:
        """Groups (C, F) of the smaller side of each one-against-rest ranking in each fold."""
        run = self.run
        out = np.empty((run.classes, run.folds), dtype=np.int64)
        for code in range(run.classes):
            for fold in range(run.folds):
                here = run.fold == fold
                own = run.truth == code
                out[code, fold] = min(_groups(run, here & own), _groups(run, here & ~own))
        return out

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Images and groups (M,) of every metric, in the order of `metrics.keys`."""
        run = self.run
        by_class: dict[str, list[tuple[int, int]]] = {name: [] for name in RESAMPLED_CLASS_METRICS}
        folds = self.images.sum(axis=0)
        for code in range(run.classes):
            own, called = run.truth == code, run.called == code
            sides = (_groups(run, own), _groups(run, ~own))
            ranked = {
                "auc": (self.images[code] > 0) & (self.images[code] < folds),
                "ap": self.images[code] > 0,
            }
            found = {
                "recall": (own.sum(), sides[0]),
                "specificity": ((~own).sum(), sides[1]),
                "precision": (called.sum(), _groups(run, called)),
                "npv": ((~called).sum(), _groups(run, ~called)),
                "f1": ((own | called).sum(), sides[0]),
                "sens_at_spec_90": (own.sum(), sides[0]),
            }
            for name, defined in ranked.items():
                smallest = self.smallest_side[code][defined].min(initial=len(run.truth))
                found[name] = (folds[defined].sum(), smallest)
            found["auc_pooled"] = (len(own) if own.any() and not own.all() else 0, min(sides))
            found["ap_pooled"] = (len(own) if own.any() else 0, min(sides))
            for name, (images, groups) in found.items():
                by_class[name].append((int(images), int(groups)))
        whole = (len(run.truth), _groups(run, np.ones(len(run.truth), dtype=bool)))
        both = []
        for name, place in keys(run.classes):
            if place is not None:
                both.append(by_class[name][place])
            elif name in MACROS:
                both.append((whole[0], min(groups for _, groups in by_class[MACROS[name]])))
            else:
                both.append(whole)
        table = np.array(both)
        return table[:, 0], table[:, 1]


def denominators(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Images (M,), mean over the runs, and fewest groups (M,) of every metric."""
    tables = [Parts(run).table() for run in runs]
    images = np.mean([images for images, _ in tables], axis=0)
    return np.rint(images).astype(np.int64), np.min([groups for _, groups in tables], axis=0)


def _groups(run: Run, chosen: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(run.group[chosen], minlength=run.groups)))
