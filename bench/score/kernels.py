"""The two loops in which scoring spends its time: drawing groups, and summing over images.

Plain Python here; `compiled` hands them to numba, `bench.score.fallback` does the same by NumPy.
Sixty-four resamples are worked on side by side, one in each lane: a group's sixty-four counts are
one cache line, and the processor adds whole lines. All sums of counts are exact integers, so both
ways give the same numbers; only floating-point sums may differ in their last bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bench.score import fallback
from bench.score.fallback import LANES

SHORT = 256  # counts of 255 or less, added this often, fit 16 bits
SLIVER = 1e-60  # negatives before any are met: no division by 0, and lost in every sum


def draw(starts: np.ndarray, weights: np.ndarray) -> None:
    """Fill weights (G, 64) uint8: how often each group is drawn in G draws of each lane's stream.

    starts (64,) uint64 as `streams.starts` gives them. That a count passes 255 has a probability
    below 1e-500.
    """
    groups = weights.shape[0]
    choices = np.uint64(groups)
    half = (groups + 1) // 2
    drawn = np.empty((half, 2), np.uint32)
    counts = np.zeros((LANES, groups), np.uint8)
    for lane in range(LANES):
        start = starts[lane]
        for j in range(half):
            z = start + np.uint64(j + 1) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            drawn[j, 0] = ((z >> np.uint64(32)) * choices) >> np.uint64(32)
            drawn[j, 1] = ((z & np.uint64(0xFFFFFFFF)) * choices) >> np.uint64(32)
        for j in range(groups):
            counts[lane, drawn[j >> 1, j & 1]] += np.uint8(1)
    for group in range(groups):
        for lane in range(LANES):
            weights[group, lane] = counts[lane, group]


def tally(  # noqa: C901, PLR0912, PLR0915 - one function compiles once; its three parts are marked
    weights: np.ndarray,
    cell_items: np.ndarray,
    cell_ends: np.ndarray,
    sum_items: np.ndarray,
    sum_values: np.ndarray,
    sum_ends: np.ndarray,
    rank_items: np.ndarray,
    segments: np.ndarray,
    rankings: np.ndarray,
    cells: np.ndarray,
    sums: np.ndarray,
    ranks: np.ndarray,
    column: int,
) -> None:
    """Sum a run's images under the weights (G, 64) of sixty-four resamples.

    The arrays between are those of `Arrangement`. Writes the columns from `column` on of
    cells (K, B), sums (17, B) and ranks (4, C*(F+1), B): weight of the positives; of the negatives
    that were met; negatives times positives above them, half if tied; sum of precisions.
    """
    # 1. counts by cell, four images at a time
    acc = np.zeros(LANES, np.uint16)
    at = 0
    for cell in range(cell_ends.shape[0]):
        for b in range(LANES):
            cells[cell, column + b] = 0
        while at < cell_ends[cell]:
            stop = min(cell_ends[cell], at + SHORT)
            for b in range(LANES):
                acc[b] = 0
            while at + 4 <= stop:
                g, h = cell_items[at], cell_items[at + 1]
                i, j = cell_items[at + 2], cell_items[at + 3]
                for b in range(LANES):
                    one = np.uint16(np.uint16(weights[g, b]) + np.uint16(weights[h, b]))
                    two = np.uint16(np.uint16(weights[i, b]) + np.uint16(weights[j, b]))
                    acc[b] += np.uint16(one + two)
                at += 4
            while at < stop:
                g = cell_items[at]
                for b in range(LANES):
                    acc[b] += weights[g, b]
                at += 1
            for b in range(LANES):
                cells[cell, column + b] += acc[b]
    # 2. weighted sums of three values, two members of a bin at a time
    gap = np.zeros(LANES, np.float64)
    loss = np.zeros(LANES, np.float64)
    brier = np.zeros(LANES, np.float64)
    at = 0
    for part in range(sum_ends.shape[0]):
        for b in range(LANES):
            gap[b] = 0
        while at + 2 <= sum_ends[part]:
            g, h = sum_items[at], sum_items[at + 1]
            gap_g, gap_h = sum_values[at, 0], sum_values[at + 1, 0]
            loss_g, loss_h = sum_values[at, 1], sum_values[at + 1, 1]
            brier_g, brier_h = sum_values[at, 2], sum_values[at + 1, 2]
            for b in range(LANES):
                v = np.float64(weights[g, b])
                w = np.float64(weights[h, b])
                gap[b] += v * gap_g + w * gap_h
                loss[b] += v * loss_g + w * loss_h
                brier[b] += v * brier_g + w * brier_h
            at += 2
        while at < sum_ends[part]:
            g, gap_g = sum_items[at], sum_values[at, 0]
            loss_g, brier_g = sum_values[at, 1], sum_values[at, 2]
            for b in range(LANES):
                v = np.float64(weights[g, b])
                gap[b] += v * gap_g
                loss[b] += v * loss_g
                brier[b] += v * brier_g
            at += 1
        for b in range(LANES):
            sums[part, column + b] = gap[b]
    for b in range(LANES):
        sums[sum_ends.shape[0], column + b] = loss[b]
        sums[sum_ends.shape[0] + 1, column + b] = brier[b]
    # 3. rankings, descending
    pos = np.zeros(LANES, np.float64)
    neg = np.zeros(LANES, np.float64)
    below = np.zeros(LANES, np.float64)
    precision = np.zeros(LANES, np.float64)
    tied = np.zeros(LANES, np.float64)
    hit = np.zeros(LANES, np.float64)
    met = np.zeros(LANES, np.float64)
    share = np.zeros(LANES, np.float64)
    at = 0
    for ranking in range(rankings.shape[0] - 1):
        for b in range(LANES):
            pos[b] = 0
            neg[b] = SLIVER
            below[b] = 0
            precision[b] = 0
        for segment in range(rankings[ranking], rankings[ranking + 1]):
            # negatives: each lies below all positives met so far
            while at < segments[segment, 0]:
                stop = min(segments[segment, 0], at + SHORT)
                for b in range(LANES):
                    acc[b] = 0
                while at + 4 <= stop:
                    g, h = rank_items[at], rank_items[at + 1]
                    i, j = rank_items[at + 2], rank_items[at + 3]
                    for b in range(LANES):
                        one = np.uint16(np.uint16(weights[g, b]) + np.uint16(weights[h, b]))
                        two = np.uint16(np.uint16(weights[i, b]) + np.uint16(weights[j, b]))
                        acc[b] += np.uint16(one + two)
                    at += 4
                while at < stop:
                    g = rank_items[at]
                    for b in range(LANES):
                        acc[b] += weights[g, b]
                    at += 1
                for b in range(LANES):
                    n = np.float64(acc[b])
                    neg[b] += n
                    below[b] += n * pos[b]
            # single positives: precision p / (p + n) is 1 - n / met with n the same for all of
            # them; four fractions on one denominator, since division is slow
            stop = segments[segment, 1]
            if at + 4 <= stop:
                for b in range(LANES):
                    met[b] = pos[b] + neg[b]
                    share[b] = 0
                while at + 4 <= stop:
                    g, h = rank_items[at], rank_items[at + 1]
                    i, j = rank_items[at + 2], rank_items[at + 3]
                    for b in range(LANES):
                        w = np.float64(weights[g, b])
                        x = np.float64(weights[h, b])
                        y = np.float64(weights[i, b])
                        z = np.float64(weights[j, b])
                        p = met[b] + w
                        q = p + x
                        r = q + y
                        s = r + z
                        upper = p * q
                        lower = r * s
                        top = (w * q + x * p) * lower + (y * s + z * r) * upper
                        share[b] += top / (upper * lower)
                        met[b] = s
                    at += 4
                for b in range(LANES):
                    p = met[b] - neg[b]
                    precision[b] += (p - pos[b]) - neg[b] * share[b]
                    pos[b] = p
            while at < stop:
                g = rank_items[at]
                for b in range(LANES):
                    w = np.float64(weights[g, b])
                    p = pos[b] + w
                    precision[b] += w * p / (p + neg[b])
                    pos[b] = p
                at += 1
            # one tie: its negatives lie half below its positives
            if at < segments[segment, 3]:
                for b in range(LANES):
                    tied[b] = 0
                    hit[b] = 0
                while at < segments[segment, 2]:
                    g = rank_items[at]
                    for b in range(LANES):
                        tied[b] += np.float64(weights[g, b])
                    at += 1
                while at < segments[segment, 3]:
                    g = rank_items[at]
                    for b in range(LANES):
                        hit[b] += np.float64(weights[g, b])
                    at += 1
                for b in range(LANES):
                    below[b] += tied[b] * (pos[b] + hit[b] * 0.5)
                    pos[b] += hit[b]
                    neg[b] += tied[b]
                    precision[b] += hit[b] * pos[b] / (pos[b] + neg[b])
        for b in range(LANES):
            ranks[0, ranking, column + b] = pos[b]
            ranks[1, ranking, column + b] = neg[b]
            ranks[2, ranking, column + b] = below[b]
            ranks[3, ranking, column + b] = precision[b]


class Kernels(NamedTuple):
    """The two loops in one of their forms, and which form it is."""

    draw: Callable[[np.ndarray, np.ndarray], None]
    tally: Callable[..., None]
    form: str


NUMPY = Kernels(fallback.draw, fallback.tally, "numpy")


@lru_cache(maxsize=1)
def compiled() -> Kernels:
    """The loops compiled by numba and cached on disk; by NumPy where numba cannot be had."""
    try:
        import numba
    except ImportError:
        return NUMPY
    try:
        loops = [_jit(numba, draw), _jit(numba, tally)]
        _try(loops[0])
    except (RuntimeError, OSError, numba.core.errors.NumbaError):
        return NUMPY
    return Kernels(loops[0], loops[1], "numba")


def _jit(numba: Any, loop: Callable[..., None]) -> Callable[..., None]:
    options: dict[str, Any] = {"error_model": "numpy", "nogil": True}
    try:
        made: Callable[..., None] = numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # nowhere to keep the cache
        made = numba.njit(**options)(loop)
    return made


def _try(loop: Callable[..., None]) -> None:
    loop(np.zeros(LANES, np.uint64), np.zeros((1, LANES), np.uint8))
