"""Perceptual hashes, and the search for pairs of near hashes.

Importing this module imports numba, which takes seconds; import it only where it is needed.

Two algorithms find exactly the pairs within a limit. Comparing all pairs takes about a second for
10,000 images and hours for a million. The hash index is the multi-index hashing of Norouzi, Punjani
& Fleet (2012, doi:10.1109/CVPR.2012.6248043): a hash has 16 pieces of 16 bits. If two hashes differ
in at most `limit` bits, one of the pieces differs in at most limit // 16 bits, so only hashes with
such a piece are compared. Bits are assigned to pieces at random: neighbouring bits of a hash are
correlated, and correlated pieces would result in few, large buckets.
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
    """imagehash.phash with 256 bits of an image and its 7 other symmetries: (8, 4) uint64.

    image (H, W, 3) uint8. The first row is the original image, the others have the order of
    PIL.Image.Transpose. Mirroring an image changes the sign of every second row or column of its
    cosine transform, and transposing it transposes the transform. So one transform yields the bits
    of imagehash for all eight views in an eighth of the time.

    64 bits, the default of imagehash, are too few: 1,300 pairs of different HAM10000 lesions are
    within 4 bits, as images of one lesion are.
    """
    small = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    whole = dct(dct(np.asarray(small, dtype=np.float64), axis=0), axis=1)
    waves = _views(whole[:HASH_SIZE, :HASH_SIZE]).reshape(SYMMETRIES, BITS)
    bits = waves > np.median(waves, axis=1)[:, None]
    return np.packbits(bits, axis=1).view(np.uint64)


def _views(waves: np.ndarray) -> np.ndarray:
    """The low frequencies of all 8 views (8, H, H), from those of the image (H, H)."""
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
    """Distances (8,) in bits of each view of an image (8, 4) uint64 to another original image."""
    differing: np.ndarray = np.bitwise_count(some ^ other[0]).sum(axis=1, dtype=np.int64)
    return differing


compiled = numba.njit(nogil=True, error_model="numpy")


def _population(_typing: Any, _word: Any) -> Any:
    """The number of set bits of a 64-bit word: one CPU instruction without a numba function."""
    signature = numba.uint64(numba.uint64)
    return signature, lambda _context, builder, _signature, words: builder.ctpop(words[0])


set_bits: Any = intrinsic(_population)


@compiled
def differing(hashes: np.ndarray, a: int, view: int, originals: np.ndarray, b: int) -> Any:
    """Distance in bits of a view of image a to row b of originals (N, 4)."""
    return (
        set_bits(hashes[a, view, 0] ^ originals[b, 0])
        + set_bits(hashes[a, view, 1] ^ originals[b, 1])
        + set_bits(hashes[a, view, 2] ^ originals[b, 2])
        + set_bits(hashes[a, view, 3] ^ originals[b, 3])
    )


@compiled
def write_if_near(
    hashes: np.ndarray, a: int, b: int, limit: int, out: np.ndarray, count: int
) -> int:
    """Write a near pair and its distance into row `count` of out, if the row exists.

    Returns the number of near pairs so far.
    """
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
    """Write all pairs of hashes (N, 8, 4) within the limit into out (R, 3); return their number."""
    count = 0
    for a in range(len(hashes)):
        for b in range(a + 1, len(hashes)):
            count = write_if_near(hashes, a, b, limit, out, count)
    return count


@compiled
def compare_buckets(
    hashes: np.ndarray,
    keys: np.ndarray,
    originals: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    masks: np.ndarray,
    limit: int,
    out: np.ndarray,
) -> int:
    """As compare_all, for pairs with matching keys (N, 8): one of any view, one of the original.

    order[starts[key] : starts[key + 1]] are the images with first key `key`; originals (N, 4) are
    their hashes in this order. Keys match up to a mask. Hashes that are near in a view have
    matching keys of this view in one of the pieces, so other views need no comparison here.
    """
    count = 0
    for a in range(len(hashes)):
        for view in range(SYMMETRIES):
            for mask in masks:
                key = keys[a, view] ^ mask
                for at in range(starts[key], starts[key + 1]):
                    b = order[at]
                    if b > a and differing(hashes, a, view, originals, at) <= limit:
                        count = write_if_near(hashes, a, b, limit, out, count)
    return count


@compiled
def match(similarities: np.ndarray, similarity: float, pairs: np.ndarray) -> int:
    """Write mutual nearest neighbours in similarities (F, G) above `similarity` into pairs (F, 2).

    Returns their number.
    """
    count = 0
    rows, columns = similarities.shape
    best = np.zeros(columns, np.int64)
    for row in range(1, rows):
        for column in range(columns):
            if similarities[row, column] > similarities[best[column], column]:
                best[column] = row
    for row in range(rows):
        nearest = 0
        for column in range(1, columns):
            if similarities[row, column] > similarities[row, nearest]:
                nearest = column
        if best[nearest] == row and similarities[row, nearest] > similarity:
            pairs[count, 0], pairs[count, 1] = row, nearest
            count += 1
    return count


@compiled
def largest_inlier_count(start: np.ndarray, end: np.ndarray, reach: float) -> int:
    """The largest number of inliers of a similarity transform through two of the matches.

    An inlier is mapped from start to within `reach` of end. Points are complex numbers: rotation
    and scale are one factor, the shift is one summand.
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
    similarities: np.ndarray,
    here: np.ndarray,
    there: np.ndarray,
    ends: np.ndarray,
    similarity: float,
    reach: float,
) -> np.ndarray:
    """Inliers (P,) int64 of the best transform from one image to each of P others.

    here (F, 2) keypoints of the image; there (G, 2) keypoints of all others, one after the other:
    those of image p from ends[p] to ends[p + 1]; similarities (F, G) of the descriptors.
    """
    out = np.zeros(len(ends) - 1, np.int64)
    pairs = np.empty((len(here), 2), np.int64)
    for image in range(len(out)):
        block = similarities[:, ends[image] : ends[image + 1]]
        if block.size == 0:
            continue
        count = match(block, similarity, pairs)
        start = np.empty(count, np.complex128)
        end = np.empty(count, np.complex128)
        for at in range(count):
            p, q = here[pairs[at, 0]], there[ends[image] + pairs[at, 1]]
            start[at], end[at] = complex(p[0], p[1]), complex(q[0], q[1])
        out[image] = largest_inlier_count(start, end, reach)
    return out


PIECES = 16
PIECE_BITS = BITS // PIECES
KEYS = 1 << PIECE_BITS
FEW = 30_000
"""The largest number of images for which all pairs are compared."""
MOST_PAIRS = 20_000_000
"""Limit; with more near pairs, the images are too similar for a search by hashes."""
SHUFFLE_SEED = 0
SHUFFLED_AT_ONCE = 20_000


class NearPairs(NamedTuple):
    """Sorted pairs (P, 2) int64 of positions, the smaller first, and distances (P,) uint16.

    The distance is the smallest number of differing bits, of 256, over the 8 symmetries.
    """

    pairs: np.ndarray
    distances: np.ndarray


def near_pairs(hashes: np.ndarray, limit: int) -> NearPairs:
    """The pairs of images whose hashes (N, 8, 4) uint64 differ in at most `limit` bits."""
    return all_near(hashes, limit) if len(hashes) <= FEW else indexed_near(hashes, limit)


def all_near(hashes: np.ndarray, limit: int) -> NearPairs:
    """As `near_pairs`, by comparing all pairs."""
    hashes = np.ascontiguousarray(hashes)
    return _sorted(_grown(lambda out: compare_all(hashes, limit, out)))


def indexed_near(hashes: np.ndarray, limit: int) -> NearPairs:
    """As `near_pairs`, by a hash index."""
    shuffled = _shuffled(np.ascontiguousarray(hashes))
    rows = list(
        map_on_all_cores(lambda piece: _near_by_piece(shuffled, piece, limit), range(PIECES))
    )
    return _sorted(np.unique(np.concatenate(rows), axis=0))


def _near_by_piece(hashes: np.ndarray, piece: int, limit: int) -> np.ndarray:
    """Rows (P, 3) of the pairs within the limit that the index of one piece finds."""
    keys = np.ascontiguousarray(hashes.view(np.uint16)[:, :, piece])
    order = np.argsort(keys[:, 0], kind="stable").astype(np.int32)
    starts = np.searchsorted(keys[order, 0], np.arange(KEYS + 1)).astype(np.int32)
    originals, masks = hashes[order, 0], _masks(limit // PIECES)
    return _grown(
        lambda out: compare_buckets(hashes, keys, originals, order, starts, masks, limit, out)
    )


def _masks(bits: int) -> np.ndarray:
    """All numbers of PIECE_BITS bits with at most `bits` set bits, uint16."""
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
    """The hashes with their bits in a fixed random order."""
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
    """The rows (P, 3) that `fill` writes; a second call gets enough rows if the first has too few.

    `fill` returns the number of rows it needs, and writes no more than fit.
    """
    out = np.empty((1 << 20, 3), np.int64)
    count = fill(out)
    if count > MOST_PAIRS:
        raise DataError(
            f"{count:,} pairs of images have near hashes: the images are too similar for a "
            "search by hashes; remove exact copies first"
        )
    if count > len(out):
        out = np.empty((count, 3), np.int64)
        fill(out)
    return out[:count]


def _sorted(rows: np.ndarray) -> NearPairs:
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return NearPairs(rows[:, :2].copy(), rows[:, 2].astype(np.uint16))
