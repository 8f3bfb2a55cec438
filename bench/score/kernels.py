"""Compiled loops (numba): drawing groups, weighted sums, rankings, interpolation, influence values.

A batch is 64 resamples side by side: weights (G, 64) uint8 hold how often each group is drawn in
each of them, so the 64 counts of a group are one cache line. Sums of counts are exact.

Random numbers: SplitMix64 (Steele, Lea & Flood 2014) run from a counter. Stream `s` of seed `n`
starts at a hash of both, and its draw `j` is a hash of start + (j + 1) x golden gamma; so a
resample is the same in every chunk, thread and order, and with every library version.

Import this module inside functions: it imports numba, which takes about half a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np

from bench.score.bootstrap import BATCH

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)

POS, NEG, BELOW, PRECISION = range(4)  # rows of `rank`'s sums

FIT = 65535 // 255  # counts of 8 bits whose sum fits 16 bits

SLIVER = 1e-17
"""Weight of negatives before the first one: avoids 0 / 0, and is lost in every sum."""


def _compiled(loop: Callable[..., Any], *, fused: bool = False) -> Any:
    """Compile at the first call; cache on disk where a cache folder is writable.

    fused  whether a product and its sum may become one instruction, which rounds once
    """
    fastmath = {"contract"} if fused else False
    options: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": fastmath}
    try:
        return numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # no writable cache folder
        return numba.njit(**options)(loop)


@_compiled
def _mix(state: Any) -> Any:
    """SplitMix64's finaliser of one uint64."""
    state = (state ^ (state >> np.uint64(30))) * FIRST
    state = (state ^ (state >> np.uint64(27))) * SECOND
    return state ^ (state >> np.uint64(31))


@_compiled
def pick(seed: np.uint64, stream: int, choices: int, picked: np.ndarray) -> None:
    """Fill picked (count,) int64 with uniform draws from range(choices), choices below 2**32.

    Each hash gives two draws, from its upper and its lower half, by multiplication and shift.
    """
    state = _mix(_mix(seed) + (np.uint64(stream) + np.uint64(1)) * SECOND)
    count, span = picked.shape[0], np.uint64(choices)
    for at in range(0, count, 2):
        state += GAMMA
        mixed = _mix(state)
        picked[at] = ((mixed >> np.uint64(32)) * span) >> np.uint64(32)
        if at + 1 < count:
            picked[at + 1] = ((mixed & LOW) * span) >> np.uint64(32)


@_compiled
def draw(seed: np.uint64, first: int, weights: np.ndarray) -> None:
    """Fill weights (G, 64) uint8: how often each group is drawn in G draws of each stream.

    The streams are `first` to `first + 63`. A count passes 255 with a probability below 1e-500.
    """
    groups = weights.shape[0]
    counts = np.zeros((BATCH, groups), np.uint8)
    picked = np.empty(groups, np.int64)
    for b in range(BATCH):
        pick(seed, first + b, groups, picked)
        for at in range(groups):
            counts[b, picked[at]] += np.uint8(1)
    for group in range(groups):
        for b in range(BATCH):
            weights[group, b] = counts[b, group]


@_compiled
def _add_weights(
    weights: np.ndarray, items: np.ndarray, begin: int, end: int, total: np.ndarray
) -> None:
    """Add the weights of the items from begin to end to total (64,) float64."""
    block = np.empty(BATCH, np.uint16)
    for start in range(begin, end, FIT):
        block[:] = 0
        for at in range(start, min(start + FIT, end)):
            line = weights[items[at]]
            for b in range(BATCH):
                block[b] += line[b]
        for b in range(BATCH):
            total[b] += block[b]


@_compiled
def count_cells(
    weights: np.ndarray, items: np.ndarray, ends: np.ndarray, cells: np.ndarray
) -> None:
    """Sum weights by cell into cells (K, 64); items (L,) group numbers, ends (K,) exclusive."""
    total = np.empty(BATCH)
    begin = 0
    for cell in range(ends.shape[0]):
        total[:] = 0
        _add_weights(weights, items, begin, ends[cell], total)
        cells[cell] = total
        begin = ends[cell]


@partial(_compiled, fused=True)
def add_up(
    weights: np.ndarray, items: np.ndarray, values: np.ndarray, ends: np.ndarray, sums: np.ndarray
) -> None:
    """Weighted sums of each of values (L, 3) by part into sums (3, parts, 64); ends (parts,)."""
    state = np.empty((3, BATCH))
    begin = 0
    for part in range(ends.shape[0]):
        state[:] = 0
        for at in range(begin, ends[part]):
            line = weights[items[at]]
            first, second, third = values[at]
            for b in range(BATCH):
                state[0, b] += line[b] * first
                state[1, b] += line[b] * second
                state[2, b] += line[b] * third
        sums[:, part] = state
        begin = ends[part]


@partial(_compiled, fused=True)
def rank(
    weights: np.ndarray,
    items: np.ndarray,
    segments: np.ndarray,
    rankings: np.ndarray,
    ranks: np.ndarray,
) -> None:
    """Four sums of every ranking, ranks (4, rankings, 64): weight of the positives; weight of the
    negatives down to the last positive; negatives times positives above them, half if tied; sum of
    precisions.

    items (L,), segments (S, 4) and rankings are those of `bootstrap.SortedScores`.
    """
    state = np.empty((4, BATCH))  # rows of one array: the compiler knows that they do not overlap
    tied = np.empty((2, BATCH))
    at = 0
    for ranking in range(rankings.shape[0] - 1):
        state[:] = 0
        state[NEG] = SLIVER
        for segment in range(rankings[ranking], rankings[ranking + 1]):
            negatives, positives, tied_negatives, tied_positives = segments[segment]
            tied[:] = 0
            _add_weights(weights, items, at, negatives, tied[0])
            for b in range(BATCH):
                state[NEG, b] += tied[0, b]
                state[BELOW, b] += tied[0, b] * state[POS, b]
            for single in range(negatives, positives):
                line = weights[items[single]]
                for b in range(BATCH):
                    pos = state[POS, b] + line[b]
                    state[POS, b] = pos
                    state[PRECISION, b] += line[b] * pos / (pos + state[NEG, b])
            if positives < tied_positives:  # one tie: its negatives are half below its positives
                tied[0] = 0
                _add_weights(weights, items, positives, tied_negatives, tied[0])
                _add_weights(weights, items, tied_negatives, tied_positives, tied[1])
                for b in range(BATCH):
                    state[BELOW, b] += tied[0, b] * (state[POS, b] + tied[1, b] * 0.5)
                    state[POS, b] += tied[1, b]
                    state[NEG, b] += tied[0, b]
                    precision = state[POS, b] / (state[POS, b] + state[NEG, b])
                    state[PRECISION, b] += tied[1, b] * precision
            at = tied_positives
        ranks[:, ranking] = state


@_compiled
def interpolate(places: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Height at each of places (P,) of curves through x, y (K, B), one a column, into out (P, B).

    places and x ascend. A curve begins at its first defined y and is level beyond its ends. NaN
    where the last x or y of a curve is NaN.
    """
    last = x.shape[0] - 1
    for curve in range(x.shape[1]):
        if np.isnan(x[last, curve]) or np.isnan(y[last, curve]):
            out[:, curve] = np.nan
            continue
        at = 0
        while np.isnan(y[at, curve]):
            at += 1
        for place in range(places.shape[0]):
            here = places[place]
            while at < last and x[at + 1, curve] <= here:
                at += 1
            begin, low = x[at, curve], y[at, curve]
            if at == last or here <= begin:
                out[place, curve] = low
            else:
                slope = (y[at + 1, curve] - low) / (x[at + 1, curve] - begin)
                out[place, curve] = slope * (here - begin) + low


@_compiled
def _influence(
    score: np.ndarray, positive: np.ndarray, whole: int, auc: np.ndarray, ap: np.ndarray
) -> None:
    """`influence` of one ranking that has `whole` positives, into auc (L,) and ap (L,)."""
    size, rest = len(score), len(score) - whole
    at = pos = neg = 0
    area = mean = 0.0
    while at < size:  # down the ranking, one tie at a time: images above count
        stop = at + 1
        while stop < size and score[stop] == score[at]:
            stop += 1
        more = np.sum(positive[at:stop])
        less = stop - at - more
        beaten, beating = 1 - (neg + less / 2) / max(rest, 1), (pos + more / 2) / whole
        pos, neg = pos + more, neg + less
        area += more * beaten
        mean += more * pos / stop
        for place in range(at, stop):
            auc[place] = beaten if positive[place] else beating
        at = stop
    area, mean = area / whole, mean / whole
    share = weighted = 0.0
    while at > 0:  # up again: images below count
        stop = at
        at -= 1
        while at > 0 and score[at - 1] == score[at]:
            at -= 1
        more = np.sum(positive[at:stop])
        precision = pos / stop
        share += more / stop
        weighted += more * precision / stop
        pos -= more
        for place in range(at, stop):
            gain = precision - mean + share if positive[place] else 0.0
            ap[place] = (gain - weighted) / whole
            if rest == 0:
                auc[place] = 0.0
            else:
                auc[place] = (auc[place] - area) / (whole if positive[place] else rest)


@_compiled
def influence(
    score: np.ndarray, positive: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (L,) of AUC and AP, means over rankings, by the weight of each image.

    The rankings follow one another, sizes (R,) int64 long, each descending by score (L,); positive
    (L,) bool. A ranking in which AUC or AP is undefined does not count; 0 if all are undefined.
    """
    auc, ap = np.zeros(len(score)), np.zeros(len(score))
    begin = both = some = 0
    for size in sizes:
        part = slice(begin, begin + size)
        whole = np.sum(positive[part])
        if whole > 0:
            some += 1
            both += whole < size
            _influence(score[part], positive[part], whole, auc[part], ap[part])
        begin += size
    return auc / max(both, 1), ap / max(some, 1)
