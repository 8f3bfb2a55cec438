"""Which of many hashes are near: all pairs where they are few, buckets where they are many.

Both ways find exactly the pairs within the limit. All pairs of 10,000 pictures take about a second,
of a million some hours. Buckets are Norouzi, Punjani & Fleet's multi-index hashing (2012,
doi:10.1109/CVPR.2012.6248043): of the 16 pieces of 16 bits, two hashes that differ in at most
`limit` bits differ in at most limit // 16 bits in one of them at least, so it is enough to compare
those that share a piece but for so many bits. Bits are dealt onto the pieces at random: neighbours
in a picture's hash say alike things, and pieces of one thing make few, large buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from bench.data.duplicates.hashes import BITS
from bench.data.duplicates.loops import compare_all, compare_bucket
from bench.data.threads import map_on_all_cores
from bench.errors import DataError

PIECES = 16
PIECE_BITS = BITS // PIECES
KEYS = 1 << PIECE_BITS
FEW = 30_000
"""Up to so many pictures every pair is compared."""
MOST_PAIRS = 20_000_000
"""More near pairs than this are no duplicates but a dataset of pictures that are all alike."""
SHUFFLE_SEED = 0
SHUFFLED_AT_ONCE = 20_000


class NearPairs(NamedTuple):
    """Pairs (P, 2) int64 of positions, the smaller first, sorted, and the bits (P,) uint16 of 256
    in which they differ under the best of the 8 symmetries."""

    pairs: np.ndarray
    distances: np.ndarray


def near_pairs(hashes: np.ndarray, limit: int) -> NearPairs:
    """The pairs of pictures whose hashes (N, 8, 4) uint64 differ in at most `limit` bits."""
    return all_near(hashes, limit) if len(hashes) <= FEW else bucketed_near(hashes, limit)


def all_near(hashes: np.ndarray, limit: int) -> NearPairs:
    """As `near_pairs`, by comparing every pair."""
    hashes = np.ascontiguousarray(hashes)
    return _sorted(_grown(lambda out: compare_all(hashes, limit, out)))


def bucketed_near(hashes: np.ndarray, limit: int) -> NearPairs:
    """As `near_pairs`, by comparing those that share a bucket."""
    shuffled = _shuffled(np.ascontiguousarray(hashes))
    found = list(
        map_on_all_cores(lambda piece: _near_by_piece(shuffled, piece, limit), range(PIECES))
    )
    return _sorted(np.unique(np.concatenate(found), axis=0))


def _near_by_piece(hashes: np.ndarray, piece: int, limit: int) -> np.ndarray:
    """Rows (P, 3) of pairs within the limit whose pieces at one place are near enough."""
    keys = np.ascontiguousarray(hashes.view(np.uint16)[:, :, piece])
    order = np.argsort(keys[:, 0], kind="stable").astype(np.int32)
    starts = np.searchsorted(keys[order, 0], np.arange(KEYS + 1)).astype(np.int32)
    standing, masks = hashes[order, 0], _masks(limit // PIECES)
    return _grown(
        lambda out: compare_bucket(hashes, keys, standing, order, starts, masks, limit, out)
    )


def _masks(bits: int) -> np.ndarray:
    """Every number of PIECE_BITS bits of which at most `bits` are set, uint16."""
    places = range(PIECE_BITS)
    return np.array(
        [
            sum(1 << p for p in chosen)
            for k in range(bits + 1)
            for chosen in combinations(places, k)
        ],
        dtype=np.uint16,
    )


def _shuffled(hashes: np.ndarray) -> np.ndarray:
    """The hashes with their bits in another order, the same for all."""
    order = np.random.default_rng(SHUFFLE_SEED).permutation(BITS)
    out = np.empty_like(hashes)
    for start in range(0, len(hashes), SHUFFLED_AT_ONCE):
        some = hashes[start : start + SHUFFLED_AT_ONCE]
        bits = np.unpackbits(some.view(np.uint8), axis=-1)[..., order]
        out[start : start + SHUFFLED_AT_ONCE] = np.ascontiguousarray(
            np.packbits(bits, axis=-1)
        ).view(np.uint64)
    return out


def _grown(fill: Callable[[np.ndarray], int]) -> np.ndarray:
    """What `fill` writes into rows (P, 3), with as many rows as it wants: it gives their number,
    and writes no more than there is room for."""
    out = np.empty((1 << 20, 3), np.int64)
    count = fill(out)
    if count > MOST_PAIRS:
        raise DataError(
            f"{count:,} pairs of images are near each other: these images are too alike to be "
            "told apart by their hashes; remove exact copies first"
        )
    if count > len(out):
        out = np.empty((count, 3), np.int64)
        fill(out)
    return out[:count]


def _sorted(rows: np.ndarray) -> NearPairs:
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return NearPairs(rows[:, :2].copy(), rows[:, 2].astype(np.uint16))
