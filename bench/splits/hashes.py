"""Perceptual hashes of pictures under the 8 flips and quarter turns, and which of them are near."""

from __future__ import annotations

import imagehash
import numpy as np
from PIL import Image

HASH_SIZE = 16
SIDE = HASH_SIZE * 4
SYMMETRIES = 8
BITS = HASH_SIZE**2


def perceptual_hashes(image: np.ndarray) -> np.ndarray:
    """imagehash.phash, 256 bits, of a picture and its 7 mirror images (8, 4) uint64.

    image (H, W, 3) uint8. The first row is the picture as it stands. At imagehash's 64 bits,
    1,300 pairs of different HAM10000 lesions are as near (4 bits) as pictures of one lesion are:
    a dark blob in the middle is all that so few bits can tell.
    """
    small = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    views = [small, *(small.transpose(Image.Transpose(turn)) for turn in range(SYMMETRIES - 1))]
    bits = [imagehash.phash(view, hash_size=HASH_SIZE).hash.ravel() for view in views]
    return np.packbits(np.stack(bits), axis=1).view(np.uint64)


def hash_distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bits (M,) in which a picture, under its best symmetry, differs from each of M others.

    some (8, 4) uint64, others (M, 8, 4) uint64.
    """
    differing = np.zeros((SYMMETRIES, len(others)), dtype=np.uint16)
    for word in range(some.shape[1]):
        standing = np.ascontiguousarray(others[:, 0, word])
        differing += np.bitwise_count(standing[None, :] ^ some[:, word, None])
    return np.asarray(differing.min(axis=0), dtype=np.int64)


def near_pairs(hashes: np.ndarray, limit: int) -> set[tuple[int, int]]:
    """Pairs (a < b) of pictures whose hashes (N, 8, 4) differ in at most `limit` bits."""
    pairs = set()
    for first in range(len(hashes) - 1):
        distances = hash_distances(hashes[first], hashes[first + 1 :])
        pairs |= {(first, first + 1 + int(at)) for at in np.flatnonzero(distances <= limit)}
    return pairs
