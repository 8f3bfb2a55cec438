"""Perceptual hashes and the search for near hashes.

Whoever imports this module waits for numba: it is imported where it is needed.

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
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.extending import intrinsic
from PIL import Image
from scipy.fft import dct

from bench.errors import DataError
from bench.io import map_on_all_cores

HASH_SIZE = 16
SIDE = HASH_SIZE * 4
SYMMETRIES = 8
BITS = HASH_SIZE**2
MIRROR = np.where(np.arange(HASH_SIZE) % 2, -1.0, 1.0)


def perceptual_hashes(image: np.ndarray) -> np.ndarray:
    """imagehash.phash, 256 bits, of a picture and its 7 mirror images (8, 4) uint64.

    image (H, W, 3) uint8. The first row is the picture as it stands, the others stand in the order
    of PIL.Image.Transpose. To mirror a picture turns the sign of every other row or column of its
    cosine transform, and to transpose it transposes that, so one transform gives all eight: the
    same bits as imagehash gives for the eight pictures, in an eighth of the time.

    At imagehash's 64 bits, 1,300 pairs of different HAM10000 lesions are as near (4 bits) as
    pictures of one lesion are: a dark blob in the middle is all that so few bits can tell.
    """
    small = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    whole = dct(dct(np.asarray(small, dtype=np.float64), axis=0), axis=1)
    waves = _views(whole[:HASH_SIZE, :HASH_SIZE]).reshape(SYMMETRIES, BITS)
    bits = waves > np.median(waves, axis=1)[:, None]
    return np.packbits(bits, axis=1).view(np.uint64)


def _views(waves: np.ndarray) -> np.ndarray:
    """The low frequencies (H, H) of a picture, and of its 7 mirror images (8, H, H)."""
    across, down = MIRROR[None, :], MIRROR[:, None]
    turned = waves.T
    return np.stack(
        [
            waves,
            waves * across,  # left to right
            waves * down,  # top to bottom
            turned * down,  # a quarter turn
            waves * across * down,  # half a turn
            turned * across,  # three quarters
            turned,  # transposed
            turned * across * down,  # transposed along the other diagonal
        ]
    )


def view_distances(some: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits (8,) in which each view of a picture (8, 4) uint64 differs from another as it stands."""
    differing: np.ndarray = np.bitwise_count(some ^ other[0]).sum(axis=1, dtype=np.int64)
    return differing


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
