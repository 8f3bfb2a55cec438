"""A run's images put in the orders in which the kernels walk them, once for all resamples.

Sums: images sorted by cell (true x predicted class, caught by class) and by confidence bin.
Rankings: one sort a class, descending by score; each class is ranked within every fold and over all
of them. A ranking is cut into segments of [negatives][single positives][tied negatives][tied
positives], and ends at its last positive, since what comes below is known from the totals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.score.metrics import ECE_BINS, brier_scores, confidence_bins, log_losses
from bench.score.runs import Run

WIDTH = 4


@dataclass(frozen=True)
class Arrangement:
    """A run as the kernels read it. Every `*_items` holds group numbers, int32.

    cell_items, cell_ends (C*C + C,)  by cell; ends are exclusive positions
    sum_items, sum_values (L, 3), sum_ends (15,)  a group's images of one confidence bin summed:
                confidence minus correctness, log loss, Brier score
    rank_items, segments (S, 4), rankings (C*(F+1) + 1,)  class-major: folds, then all of them
    """

    classes: int
    folds: int
    cell_items: np.ndarray
    cell_ends: np.ndarray
    sum_items: np.ndarray
    sum_values: np.ndarray
    sum_ends: np.ndarray
    rank_items: np.ndarray
    segments: np.ndarray
    rankings: np.ndarray
    has_thresholds: np.ndarray


def arrange(run: Run) -> Arrangement:
    """Sort a run's images for the kernels."""
    cell_items, cell_ends = _cells(run)
    sum_items, sum_values, sum_ends = _sums(run)
    rank_items, segments, rankings = _rankings(run)
    return Arrangement(
        classes=run.classes,
        folds=run.folds,
        cell_items=cell_items,
        cell_ends=cell_ends,
        sum_items=sum_items,
        sum_values=sum_values,
        sum_ends=sum_ends,
        rank_items=rank_items,
        segments=segments,
        rankings=rankings,
        has_thresholds=run.has_thresholds,
    )


def _cells(run: Run) -> tuple[np.ndarray, np.ndarray]:
    cells = run.classes**2
    caught = np.flatnonzero(run.caught)
    cell = np.concatenate([run.truth * run.classes + run.called, cells + run.truth[caught]])
    group = np.concatenate([run.group, run.group[caught]])
    order = np.argsort(cell, kind="stable")
    ends = np.cumsum(np.bincount(cell, minlength=cells + run.classes))
    return group[order].astype(np.int32), ends.astype(np.int64)


def _sums(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    top = run.probs[np.arange(len(run.truth)), run.called]
    bins = confidence_bins(top)
    member, item = np.unique(bins * run.groups + run.group, return_inverse=True)
    columns = (
        top - (run.called == run.truth),
        log_losses(run.truth, run.probs),
        brier_scores(run.truth, run.probs),
    )
    values = np.stack([np.bincount(item, column) for column in columns], axis=1)
    ends = np.cumsum(np.bincount(member // run.groups, minlength=ECE_BINS))
    return (member % run.groups).astype(np.int32), values, ends.astype(np.int64)


def _rankings(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    items, segments, counts, start = [], [], [], 0
    for code in range(run.classes):
        for order in run.orders[code]:
            places, ends = _segments(run.probs[order, code], run.truth[order] == code)
            items.append(run.group[order[places]])
            segments.append(ends + start)
            counts.append(len(ends))
            start += len(places)
    rankings = np.cumsum([0, *counts])
    return (
        np.concatenate(items).astype(np.int32),
        np.ascontiguousarray(np.concatenate(segments), dtype=np.int64),
        rankings.astype(np.int64),
    )


def _segments(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut one ranking, descending, into segments: places (L,) in its order, ends (S, 4).

    Images of equal score that hold a positive end a segment, their negatives first. Every other
    positive is a single one, every other negative a plain one.
    """
    if not positive.any():
        return np.empty(0, dtype=np.int64), np.empty((0, WIDTH), dtype=np.int64)
    block = np.cumsum(np.concatenate([[False], score[1:] != score[:-1]]))
    sizes, mixed = np.bincount(block), np.bincount(block, positive) > 0
    keep = block <= np.flatnonzero(mixed)[-1]
    places = np.flatnonzero(keep)
    if (sizes > 1).any():
        places = np.lexsort((positive[keep], block[keep]))
    block = block[places]
    kind = positive[places] + 2 * (mixed & (sizes > 1))[block]
    breaks = (np.diff(kind) < 0) | ((kind[1:] == WIDTH - 1) & (np.diff(block) > 0))
    number = np.concatenate([[0], np.cumsum(breaks)])
    filled = np.bincount(number * WIDTH + kind, minlength=(number[-1] + 1) * WIDTH)
    return places, np.cumsum(filled).reshape(-1, WIDTH)
