"""The inner loops of the search, compiled by numba when they are first called (some seconds).

Whoever imports this module waits for numba: it is imported where it is needed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from bench.data.duplicates.hashes import BITS, SYMMETRIES

compiled = numba.njit(nogil=True, error_model="numpy")


def _population(_typing: Any, _word: Any) -> Any:
    """How many bits of a 64-bit word are set: one instruction, which numba has no name for."""
    signature = numba.uint64(numba.uint64)
    return signature, lambda _context, builder, _signature, words: builder.ctpop(words[0])


set_bits: Any = intrinsic(_population)


@compiled
def differing(hashes: np.ndarray, a: int, view: int, standing: np.ndarray, b: int) -> Any:
    """Bits in which a view of picture a differs from the b-th of standing (N, 4)."""
    return (
        set_bits(hashes[a, view, 0] ^ standing[b, 0])
        + set_bits(hashes[a, view, 1] ^ standing[b, 1])
        + set_bits(hashes[a, view, 2] ^ standing[b, 2])
        + set_bits(hashes[a, view, 3] ^ standing[b, 3])
    )


@compiled
def write_if_near(
    hashes: np.ndarray, a: int, b: int, limit: int, out: np.ndarray, count: int
) -> int:
    """Write pair and distance into row `count` of out, if near and if there is room; how many
    pairs were near by then."""
    best = numba.uint64(BITS)
    for view in range(SYMMETRIES):
        best = min(best, differing(hashes, a, view, hashes[:, 0], b))
    if best > limit:
        return count
    if count < len(out):
        out[count, 0], out[count, 1], out[count, 2] = a, b, best
    return count + 1


@compiled
def compare_all(hashes: np.ndarray, limit: int, out: np.ndarray) -> int:
    """Every pair of hashes (N, 8, 4) within the limit into out (R, 3); how many there are."""
    count = 0
    for a in range(len(hashes)):
        for b in range(a + 1, len(hashes)):
            count = write_if_near(hashes, a, b, limit, out, count)
    return count


@compiled
def compare_bucket(
    hashes: np.ndarray,
    keys: np.ndarray,
    standing: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    masks: np.ndarray,
    limit: int,
    out: np.ndarray,
) -> int:
    """As compare_all, but only pairs in which a key (N, 8) of one is, but for a mask, the first
    key of the other. order[starts[key] : starts[key + 1]] are those whose first key is `key`, and
    standing (N, 4) their hashes, side by side in memory. If two are near in some view, their keys
    of that view meet at some piece, so only it is compared."""
    count = 0
    for a in range(len(hashes)):
        for view in range(SYMMETRIES):
            for mask in masks:
                key = keys[a, view] ^ mask
                for at in range(starts[key], starts[key + 1]):
                    b = order[at]
                    if b > a and differing(hashes, a, view, standing, at) <= limit:
                        count = write_if_near(hashes, a, b, limit, out, count)
    return count


@compiled
def match(likeness: np.ndarray, similarity: float, pairs: np.ndarray) -> int:
    """Mutual nearest neighbours of likeness (F, G) that are more alike than `similarity`, into
    pairs (F, 2); how many there are."""
    count = 0
    rows, columns = likeness.shape
    best = np.zeros(columns, np.int64)
    for row in range(1, rows):
        for column in range(columns):
            if likeness[row, column] > likeness[best[column], column]:
                best[column] = row
    for row in range(rows):
        nearest = 0
        for column in range(1, columns):
            if likeness[row, column] > likeness[row, nearest]:
                nearest = column
        if best[nearest] == row and likeness[row, nearest] > similarity:
            pairs[count, 0], pairs[count, 1] = row, nearest
            count += 1
    return count


@compiled
def most_explained(start: np.ndarray, end: np.ndarray, reach: float) -> int:
    """Points that the best transform through two of them takes within reach of their ends.

    Points are complex numbers, so a turn with a zoom is one factor, and a shift one summand.
    """
    most = 0
    for i in range(len(start)):
        for j in range(i + 1, len(start)):
            if start[i] == start[j]:
                continue
            turn = (end[j] - end[i]) / (start[j] - start[i])
            shift = end[i] - turn * start[i]
            inside = 0
            for k in range(len(start)):
                off = turn * start[k] + shift - end[k]
                inside += off.real * off.real + off.imag * off.imag <= reach * reach
            most = max(most, inside)
    return most


@compiled
def count_inliers(
    likeness: np.ndarray,
    here: np.ndarray,
    there: np.ndarray,
    ends: np.ndarray,
    similarity: float,
    reach: float,
) -> np.ndarray:
    """Matches that one transform explains, between the spots of a picture at here (F, 2) and those
    of each of P others, which stand one after the other in there (G, 2) and likeness (F, G):
    those of picture p at ends[p] to ends[p + 1]. (P,) int64."""
    out = np.zeros(len(ends) - 1, np.int64)
    pairs = np.empty((len(here), 2), np.int64)
    for picture in range(len(out)):
        block = likeness[:, ends[picture] : ends[picture + 1]]
        if block.size == 0:
            continue
        count = match(block, similarity, pairs)
        start = np.empty(count, np.complex128)
        end = np.empty(count, np.complex128)
        for at in range(count):
            p, q = here[pairs[at, 0]], there[ends[picture] + pairs[at, 1]]
            start[at], end[at] = complex(p[0], p[1]), complex(q[0], q[1])
        out[picture] = most_explained(start, end, reach)
    return out
