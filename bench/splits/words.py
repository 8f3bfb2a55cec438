"""Pictures that have many local features in common, found without comparing every pair.

Visual words with inverse document frequencies: Sivic & Zisserman 2003,
doi:10.1109/ICCV.2003.1238663.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

WORDS = 16384
EACH = 2  # words that a feature counts for: its two nearest
CHUNK = 1000


def alike_pairs(
    descriptors: Sequence[np.ndarray], nearest: int, rng: np.random.Generator
) -> set[tuple[int, int]]:
    """Pairs (a < b) in which one picture is among the `nearest` of the other.

    descriptors one (F, D) float32 a picture, rows of unit length.
    """
    counts = [len(rows) for rows in descriptors]
    features = np.concatenate(list(descriptors))
    if len(descriptors) < 2 or not len(features):  # noqa: PLR2004 - a pair takes two
        return set()
    owner = np.repeat(np.arange(len(descriptors)), counts)
    said = _words(features, rng)
    likeness = _normalised(said, owner, len(descriptors))
    pairs = set()
    step = max(1, CHUNK // 4)
    for start in range(0, len(descriptors), step):
        block = (likeness[start : start + step] @ likeness.T).toarray()
        block[np.arange(len(block)), start + np.arange(len(block))] = -1
        most = min(nearest, block.shape[1] - 1)
        top = np.argpartition(-block, most - 1, axis=1)[:, :most]
        for row, others in enumerate(top, start):
            pairs |= {(min(row, int(other)), max(row, int(other))) for other in others}
    return pairs


def _words(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The EACH nearest words of every feature (F, EACH); the words are features drawn at random."""
    size = min(WORDS, len(features))
    vocabulary = features[rng.choice(len(features), size, replace=False)]
    each = min(EACH, size)
    said = np.empty((len(features), each), dtype=np.int32)
    for start in range(0, len(features), CHUNK):
        unlike = -(features[start : start + CHUNK] @ vocabulary.T)
        said[start : start + CHUNK] = np.argpartition(unlike, each - 1, axis=1)[:, :each]
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
