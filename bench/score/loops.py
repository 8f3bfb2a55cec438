"""The loops in which scoring spends its time, compiled by numba: drawing groups, and summing over
images.

Sixty-four resamples are worked on side by side, one in each lane: a group's sixty-four counts are
one cache line. What happens to the lanes at one place of a ranking is a step (`lanes`). All sums of
counts are exact integers, so these loops and those by NumPy (`fallback`) give the same numbers;
only floating-point sums may differ in their last bits.

Steps are given addresses, so what they point to must be in use until the last of them. A sum of
counts (64,) uint8 stands in the last line of a state, and behind it zeros: to a step it is weights
of one group, whose number is 0.

Whoever imports this module waits for numba: `kernels.compiled` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from bench.score.fallback import LANES
from bench.score.lanes import GROUP_BYTES, stepping, summing
from bench.score.streams import FIRST, GAMMA, LOW, SECOND

PENDING = 16  # precisions summed as one fraction before it is divided out: division is slow
SLIVER = 1e-17  # negatives before any are met: no division by 0, and lost in every sum
LINE_BYTES, VALUE_BYTES = LANES * 8, 3 * 8  # one row of a state, one of `sum_values`


def _compiled(*signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compiled at once if its signature is given, and kept on disk where there is a place."""
    njit: Any = numba.njit
    options = {"error_model": "numpy", "nogil": True}

    def compile_one(loop: Callable[..., Any]) -> Any:
        try:
            return njit(*signature, cache=True, **options)(loop)
        except RuntimeError:  # nowhere to keep the cache
            return njit(*signature, **options)(loop)

    return compile_one


@_compiled()
def _lines(rows: int) -> np.ndarray:
    """Zeros (rows, 64) float64 that begin at a cache line."""
    raw = np.zeros((rows + 1) * LANES)
    begin = (-raw.ctypes.data % LANES) // raw.itemsize
    return raw[begin : begin + rows * LANES].reshape(rows, LANES)


@_compiled()
def _mixed(state: Any) -> Any:
    """As `streams.mix`, of one number."""
    once = (state ^ (state >> np.uint64(30))) * FIRST
    twice = (once ^ (once >> np.uint64(27))) * SECOND
    return twice ^ (twice >> np.uint64(31))


@_compiled("void(uint64[::1], uint8[:, ::1])")
def draw(starts: np.ndarray, weights: np.ndarray) -> None:
    """As `fallback.draw`."""
    groups = weights.shape[0]
    choices = np.uint64(groups)
    counts = np.zeros((LANES, groups), np.uint8)
    for lane in range(LANES):
        state, times = starts[lane], counts[lane]
        for _ in range(groups // 2):
            state += GAMMA
            found = _mixed(state)
            times[((found >> np.uint64(32)) * choices) >> np.uint64(32)] += np.uint8(1)
            times[((found & LOW) * choices) >> np.uint64(32)] += np.uint8(1)
        if groups % 2:
            found = _mixed(state + GAMMA)
            times[((found >> np.uint64(32)) * choices) >> np.uint64(32)] += np.uint8(1)
    for group in range(groups):
        for lane in range(LANES):
            weights[group, lane] = counts[lane, group]


def _sum(state: Any, weights: Any, values: Any) -> Any:
    """Sums of three values, each as often as its group is drawn."""
    gap, loss, brier = state
    for weight, (own_gap, own_loss, own_brier) in zip(weights, values, strict=True):
        gap += weight * own_gap
        loss += weight * own_loss
        brier += weight * own_brier
    return gap, loss, brier


def _gain(state: Any, weights: Any, _values: Any) -> Any:
    """A count, and the weights of more."""
    (count,), (more,) = state, weights
    return (count + more,)


def _meet_negatives(state: Any, weights: Any, _values: Any) -> Any:
    """Negatives lie below all positives met so far."""
    neg, below, pos = state
    (met,) = weights
    return neg + met, below + met * pos


def _meet_positives(state: Any, weights: Any, _values: Any) -> Any:
    """Positives bring their precision, pos / (pos + neg), into the pending fraction."""
    neg, below, pos, top, bottom = state
    for weight in weights:
        pos += weight
        met = pos + neg
        top = top * met + weight * pos * bottom
        bottom *= met
    return neg, below, pos, top, bottom


_total = summing()
_gain_of = stepping(_gain, 1, 1)
_sum_one, _sum_four = stepping(_sum, 1, 3, 3), stepping(_sum, 4, 3, 3)
_meet_negatives_of = stepping(_meet_negatives, 1, 3)
_meet_one, _meet_four = stepping(_meet_positives, 1, 5), stepping(_meet_positives, 4, 5)


@_compiled("void(uint8[:, ::1], int64, int32[::1], int64[::1], float64[:, :])")
def count_cells(
    weights: np.ndarray, room: int, items: np.ndarray, ends: np.ndarray, cells: np.ndarray
) -> None:
    """As `fallback.count_cells`."""
    state = _lines(2)
    lines, place, held = weights.ctypes.data, items.ctypes.data, state.ctypes.data
    total = held + LINE_BYTES
    at = 0
    for cell in range(ends.shape[0]):
        state[0] = 0
        while at < ends[cell]:
            more = min(ends[cell] - at, room)
            _total(lines, place + at * GROUP_BYTES, more, total)
            _gain_of(total, total + LANES, held, held)
            at += more
        cells[cell] = state[0]


@_compiled("void(uint8[:, ::1], int32[::1], float64[:, ::1], int64[::1], float64[:, :, :])")
def add_up(
    weights: np.ndarray, items: np.ndarray, values: np.ndarray, ends: np.ndarray, sums: np.ndarray
) -> None:
    """As `fallback.add_up`."""
    state = _lines(3)
    lines, held = weights.ctypes.data, state.ctypes.data
    place, value = items.ctypes.data, values.ctypes.data
    at = 0
    for part in range(ends.shape[0]):
        state[:] = 0
        while at + 4 <= ends[part]:
            _sum_four(lines, place + at * GROUP_BYTES, value + at * VALUE_BYTES, held)
            at += 4
        while at < ends[part]:
            _sum_one(lines, place + at * GROUP_BYTES, value + at * VALUE_BYTES, held)
            at += 1
        sums[0, part], sums[1, part], sums[2, part] = state[0], state[1], state[2]


@_compiled("void(uint8[:, ::1], int64, int32[::1], int64[:, ::1], int64[::1], float64[:, :, :])")
def rank(  # noqa: C901 - the walk in one piece, its parts being steps
    weights: np.ndarray,
    room: int,
    items: np.ndarray,
    segments: np.ndarray,
    rankings: np.ndarray,
    ranks: np.ndarray,
) -> None:
    """As `fallback.rank`."""
    state = _lines(9)
    neg, below, pos, top, bottom = state[0], state[1], state[2], state[3], state[4]
    tied, precision = state[5:7], state[7]
    lines, place, held = weights.ctypes.data, items.ctypes.data, state.ctypes.data
    total = held + 8 * LINE_BYTES
    at = 0
    for ranking in range(rankings.shape[0] - 1):
        state[:] = 0
        neg[:] = SLIVER
        bottom[:] = 1
        pending = 0
        for segment in range(rankings[ranking], rankings[ranking + 1]):
            while at < segments[segment, 0]:
                more = min(segments[segment, 0] - at, room)
                _total(lines, place + at * GROUP_BYTES, more, total)
                _meet_negatives_of(total, total + LANES, held, held)
                at += more
            while at < segments[segment, 1]:
                if at + 4 <= segments[segment, 1]:
                    _meet_four(lines, place + at * GROUP_BYTES, held, held)
                    at, pending = at + 4, pending + 4
                else:
                    _meet_one(lines, place + at * GROUP_BYTES, held, held)
                    at, pending = at + 1, pending + 1
                if pending > PENDING - 4:
                    for b in range(LANES):
                        precision[b] += top[b] / bottom[b]
                        top[b], bottom[b] = 0, 1
                    pending = 0
            if at < segments[segment, 3]:  # one tie: its negatives lie half below its positives
                for kind in range(2):
                    tied[kind] = 0
                    while at < segments[segment, 2 + kind]:
                        more = min(segments[segment, 2 + kind] - at, room)
                        _total(lines, place + at * GROUP_BYTES, more, total)
                        _gain_of(total, total + LANES, held, held + (5 + kind) * LINE_BYTES)
                        at += more
                for b in range(LANES):
                    below[b] += tied[0, b] * (pos[b] + tied[1, b] * 0.5)
                    pos[b] += tied[1, b]
                    neg[b] += tied[0, b]
                    precision[b] += tied[1, b] * pos[b] / (pos[b] + neg[b])
        ranks[0, ranking], ranks[1, ranking], ranks[2, ranking] = pos, neg, below
        ranks[3, ranking] = precision + top / bottom


@_compiled("void(float64[::1], float64[:, :], float64[:, :], float64[:, :])")
def interpolate(places: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """As `fallback.interpolate`."""
    last = x.shape[0] - 1
    for lane in range(x.shape[1]):
        if np.isnan(x[last, lane]) or np.isnan(y[last, lane]):
            out[:, lane] = np.nan
            continue
        at = 0
        while np.isnan(y[at, lane]):
            at += 1
        for place in range(places.shape[0]):
            here = places[place]
            while at < last and x[at + 1, lane] <= here:
                at += 1
            begin, low = x[at, lane], y[at, lane]
            if at == last or here <= begin:
                out[place, lane] = low
            else:
                slope = (y[at + 1, lane] - low) / (x[at + 1, lane] - begin)
                out[place, lane] = slope * (here - begin) + low


@_compiled()
def _pull(
    score: np.ndarray, positive: np.ndarray, whole: int, auc: np.ndarray, ap: np.ndarray
) -> None:
    """`pull` of one ranking that has positives, `whole` of them, into auc (L,) and ap (L,)."""
    size, rest = len(score), len(score) - whole
    at = pos = neg = 0
    area = mean = 0.0
    while at < size:  # down the ranking, a tie at a time: what stands above counts
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
    while at > 0:  # and up again: what stands below counts
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


@_compiled("UniTuple(float64[::1], 2)(float64[::1], boolean[::1], int64[::1])")
def pull(
    score: np.ndarray, positive: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `fallback.pull`."""
    auc, ap = np.zeros(len(score)), np.zeros(len(score))
    begin = both = some = 0
    for size in sizes:
        part = slice(begin, begin + size)
        whole = np.sum(positive[part])
        if whole > 0:
            some += 1
            both += whole < size
            _pull(score[part], positive[part], whole, auc[part], ap[part])
        begin += size
    return auc / max(both, 1), ap / max(some, 1)
