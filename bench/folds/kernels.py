"""Inner loops of fold assignment, compiled by numba.

Groups are sparse rows: `ends` (G,) exclusive, `columns` int32 ascending within a row, `amounts`
float64. The cost of a part is the sum over attributes of weight x (count - target)^2; `deviations`
and `weights` are (P, A). `move` and `swap` update `part_of` and `deviations` in place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np

EPSILON = 1e-9


def gather(
    order: np.ndarray,
    member: np.ndarray,
    codes: np.ndarray,
    ends: np.ndarray,
    columns: np.ndarray,
    amounts: np.ndarray,
) -> int:
    """Write the sparse rows of the groups; return the number of entries.

    order (N,) images sorted by group, member (N,) their groups, codes (K, N) attribute columns,
    ascending over K. columns and amounts have room for K x N entries.
    """
    filled = 0
    begin = 0
    for group in range(ends.shape[0]):
        stop = begin
        while stop < order.shape[0] and member[order[stop]] == group:
            stop += 1
        for key in range(codes.shape[0]):
            first = filled
            for at in range(begin, stop):
                column = codes[key, order[at]]
                place = first
                while place < filled and columns[place] < column:
                    place += 1
                if place < filled and columns[place] == column:
                    amounts[place] += 1.0
                    continue
                for moved in range(filled, place, -1):
                    columns[moved] = columns[moved - 1]
                    amounts[moved] = amounts[moved - 1]
                columns[place] = column
                amounts[place] = 1.0
                filled += 1
        ends[group] = filled
        begin = stop
    return filled


def move(  # noqa: C901 - one function compiles once
    turns: np.ndarray,
    ends: np.ndarray,
    columns: np.ndarray,
    amounts: np.ndarray,
    weights: np.ndarray,
    deviations: np.ndarray,
    part_of: np.ndarray,
) -> int:
    """One sweep: move each group to the part with the lowest cost; return the number of moves.

    Ties go to the first part. Part -1 means not assigned yet.
    """
    moved = 0
    for group in turns:
        begin = 0 if group == 0 else ends[group - 1]
        here = part_of[group]
        leaving = 0.0
        best, chosen = np.inf, here
        if here >= 0:
            best = -EPSILON
            for at in range(begin, ends[group]):
                amount, column = amounts[at], columns[at]
                leaving += weights[here, column] * amount * (amount - 2 * deviations[here, column])
        for part in range(weights.shape[0]):
            if part == here:
                continue
            cost = leaving
            for at in range(begin, ends[group]):
                amount, column = amounts[at], columns[at]
                cost += weights[part, column] * amount * (amount + 2 * deviations[part, column])
            if cost < best:
                best, chosen = cost, part
        if chosen != here:
            moved += 1
            part_of[group] = chosen
            for at in range(begin, ends[group]):
                deviations[chosen, columns[at]] += amounts[at]
                if here >= 0:
                    deviations[here, columns[at]] -= amounts[at]
    return moved


def swap(  # noqa: C901 - one function compiles once
    turns: np.ndarray,
    partners: np.ndarray,
    ends: np.ndarray,
    columns: np.ndarray,
    amounts: np.ndarray,
    weights: np.ndarray,
    deviations: np.ndarray,
    part_of: np.ndarray,
) -> int:
    """One sweep: exchange each group with its best partner of (T, K); return the number."""
    swapped = 0
    for turn in range(turns.shape[0]):
        one = turns[turn]
        first = 0 if one == 0 else ends[one - 1]
        here = part_of[one]
        best, chosen = -EPSILON, -1
        for other in partners[turn]:
            there = part_of[other]
            if there == here:
                continue
            begin = 0 if other == 0 else ends[other - 1]
            cost = 0.0
            left, right = first, begin
            while left < ends[one] or right < ends[other]:  # the two rows, merged
                gone = come = 0.0
                if right >= ends[other] or (left < ends[one] and columns[left] <= columns[right]):
                    column = columns[left]
                    gone = amounts[left]
                    if right < ends[other] and columns[right] == column:
                        come = amounts[right]
                        right += 1
                    left += 1
                else:
                    column = columns[right]
                    come = amounts[right]
                    right += 1
                gain = come - gone
                cost += weights[here, column] * gain * (2 * deviations[here, column] + gain)
                cost += weights[there, column] * gain * (gain - 2 * deviations[there, column])
            if cost < best:
                best, chosen = cost, other
        if chosen >= 0:
            swapped += 1
            there = part_of[chosen]
            part_of[one], part_of[chosen] = there, here
            for at in range(first, ends[one]):
                deviations[here, columns[at]] -= amounts[at]
                deviations[there, columns[at]] += amounts[at]
            begin = 0 if chosen == 0 else ends[chosen - 1]
            for at in range(begin, ends[chosen]):
                deviations[there, columns[at]] -= amounts[at]
                deviations[here, columns[at]] += amounts[at]
    return swapped


Loop = Callable[..., int]


class Loops(NamedTuple):
    """The three loops, compiled or plain."""

    gather: Loop
    move: Loop
    swap: Loop


@lru_cache(maxsize=1)
def compiled() -> Loops:
    """The loops compiled by numba and cached on disk; plain Python if numba is not installed."""
    try:
        import numba
    except ImportError:
        return Loops(gather, move, swap)

    def make(loop: Loop) -> Loop:
        try:
            return cast("Loop", numba.njit(cache=True)(loop))
        except RuntimeError:  # no folder for the cache
            return cast("Loop", numba.njit(loop))

    return Loops(make(gather), make(move), make(swap))
