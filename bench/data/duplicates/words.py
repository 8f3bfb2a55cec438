"""Pictures that have many local features in common, found without comparing every pair.

Visual words with inverse document frequencies: Sivic & Zisserman 2003,
doi:10.1109/ICCV.2003.1238663.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

WORDS = 16384
EACH = 2  # words that a feature counts for: its two nearest
CHUNK = 1000


def alike_pairs(
    descriptors: Sequence[np.ndarray],
    nearest: int,
    rng: np.random.Generator,
    told: Callable[[int, int], object] = lambda _done, _all: None,
) -> np.ndarray:
    """Pairs (P, 2) int64, a < b, sorted, in which one picture is among the `nearest` of the other.

    descriptors one (F, D) float32 a picture, rows of unit length. `told` hears how many features
    have been put into words, of how many.
    """
    counts = [len(rows) for rows in descriptors]
    if len(descriptors) < 2 or not sum(counts):  # noqa: PLR2004 - a pair takes two
        return np.empty((0, 2), np.int64)
    owner = np.repeat(np.arange(len(descriptors)), counts)
    said = _words(np.concatenate(list(descriptors)), rng, told)
    likeness = _normalised(said, owner, len(descriptors))
    pairs = []
    step = max(1, CHUNK // 4)
    for start in range(0, len(descriptors), step):
        block = (likeness[start : start + step] @ likeness.T).toarray()
        block[np.arange(len(block)), start + np.arange(len(block))] = -1
        most = min(nearest, block.shape[1] - 1)
        top = np.argpartition(-block, most - 1, axis=1)[:, :most].ravel()
        own = np.repeat(start + np.arange(len(block)), most)
        pairs.append(np.stack([np.minimum(own, top), np.maximum(own, top)], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _words(
    features: np.ndarray, rng: np.random.Generator, told: Callable[[int, int], object]
) -> np.ndarray:
    """The EACH nearest words of every feature (F, EACH); the words are features drawn at random."""
    size = min(WORDS, len(features))
    vocabulary = features[rng.choice(len(features), size, replace=False)]
    each = min(EACH, size)
    said = np.empty((len(features), each), dtype=np.int32)
    for start in range(0, len(features), CHUNK):
        like = features[start : start + CHUNK] @ vocabulary.T
        here = np.arange(len(like))
        for place in range(each):
            word = like.argmax(axis=1)
            said[start : start + CHUNK, place] = word
            like[here, word] = -np.inf
        told(start + len(like), len(features))
    return said


def _normalised(said: np.ndarray, owner: np.ndarray, pictures: int) -> sparse.csr_matrix:
    """Word weights by picture (pictures, words), rows of unit length."""
    ones = np.ones(said.size, dtype=np.float32)
    spoken = (np.repeat(owner, said.shape[1]), said.ravel())
    counts = sparse.csr_matrix((ones, spoken), shape=(pictures, int(said.max()) + 1))
    holders = np.asarray((counts > 0).sum(axis=0)).ravel()
    rarity = np.log((1 + pictures) / (1 + holders)).astype(np.float32)
    weights = sparse.csr_matrix(counts.multiply(rarity[None, :]))
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(lengths, 1e-9)) @ weights)
