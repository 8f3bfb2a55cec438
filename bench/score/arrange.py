"""A run's images put in the orders in which the kernels walk them, once for all resamples.

Sums: images sorted by cell (true x predicted class, caught by class) and by confidence bin.
Rankings: one sort a class, descending by score; each class is ranked within every fold and over all
of them. A ranking is cut into segments of [negatives][single positives][tied negatives][tied
positives], and ends at its last positive, since what comes below is known from the totals. Images
may lie in several parts, such as the subgroups of an attribute: then each part has all of this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.score.metrics import ECE_BINS, brier_scores, confidence_bins, log_losses
from bench.score.runs import Run, divided

WIDTH = 4


@dataclass(frozen=True)
class Arrangement:
    """A run, in P parts, as the kernels read it. Every `*_items` holds group numbers, int32.

    cell_items, cell_ends (P*(C*C + C),)  by part and cell; ends are exclusive positions
    sum_items, sum_values (L, 3), sum_ends (P*15,)  a group's images of one part and confidence bin
                summed: confidence minus correctness, log loss, Brier score
    rank_items, segments (S, 4), rankings (C*(P*F + P) + 1,)  class-major: the folds of each part,
                then each part over all of its folds
    has_thresholds (P, C)  whether each class has one in every fold of which a part has images
    """

    classes: int
    folds: int
    parts: int
    cell_items: np.ndarray
    cell_ends: np.ndarray
    sum_items: np.ndarray
    sum_values: np.ndarray
    sum_ends: np.ndarray
    rank_items: np.ndarray
    segments: np.ndarray
    rankings: np.ndarray
    has_thresholds: np.ndarray


def arrange(run: Run, part: np.ndarray | None = None, parts: int = 1) -> Arrangement:
    """Sort a run's images for the kernels: all of them, or part by part; part (N,) from 0 on."""
    part = np.zeros_like(run.fold) if part is None else part
    cell_items, cell_ends = _cells(run, part, parts)
    sum_items, sum_values, sum_ends = _sums(run, part, parts)
    rank_items, segments, rankings = _rankings(run, part, parts)
    return Arrangement(
        classes=run.classes,
        folds=run.folds,
        parts=parts,
        cell_items=cell_items,
        cell_ends=cell_ends,
        sum_items=sum_items,
        sum_values=sum_values,
        sum_ends=sum_ends,
        rank_items=rank_items,
        segments=segments,
        rankings=rankings,
        has_thresholds=_has_thresholds(run, part, parts),
    )


def _has_thresholds(run: Run, part: np.ndarray, parts: int) -> np.ndarray:
    size = np.bincount(part * run.folds + run.fold, minlength=parts * run.folds)
    missing = (size > 0).reshape(parts, run.folds)[..., None] & ~np.isfinite(run.thresholds)
    return np.asarray(~missing.any(axis=1))


def _cells(run: Run, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    cells = run.classes**2
    caught = np.flatnonzero(run.caught)
    kind = np.concatenate([run.truth * run.classes + run.called, cells + run.truth[caught]])
    cell = np.concatenate([part, part[caught]]) * (cells + run.classes) + kind
    group = np.concatenate([run.group, run.group[caught]])
    items, sizes = divided(np.arange(len(cell)), cell, parts * (cells + run.classes))
    return group[items].astype(np.int32), np.cumsum(sizes, dtype=np.int64)


def _sums(run: Run, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    top = run.probs[np.arange(len(run.truth)), run.called]
    bins = part * ECE_BINS + confidence_bins(top)
    member, item = np.unique(bins * run.groups + run.group, return_inverse=True)
    columns = (
        top - (run.called == run.truth),
        log_losses(run.truth, run.probs),
        brier_scores(run.truth, run.probs),
    )
    values = np.stack([np.bincount(item, column) for column in columns], axis=1)
    ends = np.cumsum(np.bincount(member // run.groups, minlength=parts * ECE_BINS))
    return (member % run.groups).astype(np.int32), values, ends.astype(np.int64)


def _rankings(run: Run, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    items, segments, counts, start = [], [], [], 0
    for code, pooled in enumerate(run.orders):
        by_fold = divided(pooled, part * run.folds + run.fold, parts * run.folds)
        by_part = divided(pooled, part, parts)
        order, sizes = (np.concatenate(both) for both in zip(by_fold, by_part, strict=True))
        places, ends, count = _segments(run.probs[order, code], run.truth[order] == code, sizes)
        items.append(run.group[order[places]])
        segments.append(ends + start)
        counts.append(count)
        start += len(places)
    return (
        np.concatenate(items).astype(np.int32),
        np.ascontiguousarray(np.concatenate(segments), dtype=np.int64),
        np.cumsum(np.concatenate([[0], *counts]), dtype=np.int64),
    )


def _segments(
    score: np.ndarray, positive: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut rankings into segments: places (L,) of what is kept, in its order, ends (S, 4), and how
    many segments each ranking has (R,).

    The rankings stand one after the other, `sizes` (R,) long, each descending by score. Images of
    equal score that hold a positive end a segment, their negatives first. Every other positive is a
    single one, every other negative a plain one.
    """
    stops = np.cumsum(sizes)
    fresh = np.concatenate([[True], score[1:] != score[:-1], [True]])
    fresh[stops] = True
    kept = _kept(positive, stops, fresh) - (stops - sizes)
    pairs = np.stack([kept, sizes - kept], axis=1).ravel()
    places = np.flatnonzero(np.repeat(np.arange(len(pairs)) % 2 == 0, pairs))
    first, tied = fresh[places], ~(fresh[:-1] & fresh[1:])[places]
    if tied.any():
        block = np.cumsum(first)
        places = places[np.argsort(2 * block + positive[places], kind="stable")]
        tied &= (np.bincount(block, positive[places]) > 0)[block]
    kind = positive[places] + 2 * tied
    opens = np.ones(len(places) + 1, dtype=bool)
    opens[1:-1] = (np.diff(kind) < 0) | ((kind[1:] == WIDTH - 1) & first[1:])
    stops = np.cumsum(kept)
    opens[stops] = True
    number = np.cumsum(opens)
    filled = np.bincount((number[:-1] - 1) * WIDTH + kind, minlength=(number[-1] - 1) * WIDTH)
    count = np.diff(number[stops] - 1, prepend=0)
    return places, np.cumsum(filled).reshape(-1, WIDTH), count


def _kept(positive: np.ndarray, stops: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Where each ranking ends (R,): behind all of its last positive's score, at its start without.

    fresh (N + 1,) is whether another score, or another ranking, begins.
    """
    hits, edges = np.flatnonzero(positive), np.flatnonzero(fresh)
    count = np.searchsorted(hits, stops)
    some = np.diff(count, prepend=0) > 0
    found = np.concatenate([[0], stops[:-1]])
    found[some] = edges[np.searchsorted(edges, hits[count[some] - 1], side="right")]
    return found
