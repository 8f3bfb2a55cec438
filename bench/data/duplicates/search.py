"""Thorough search for photographs of one lesion under different lesion ids.

Visual words with inverse document frequencies: Sivic & Zisserman 2003,
doi:10.1109/ICCV.2003.1238663.

`registration.compare_quickly` takes 0.4 ms a pair, nearly all of it for RANSAC on pictures that
have nothing in common. Between so few spots, the transform that most of them agree on can be sought
through all pairs of matches instead of drawing them, in microseconds. RANSAC finds as many at most,
so pairs with too few need no comparison, and none is lost.

Three looks, each narrower than the last:

1. Candidates, generously: pictures that are near by their hashes (`near`); pictures with many local
   features in common; pictures whose age, sex and body site are the same.
2. Registration (`registration.register`): how many spots fit one transform, and how well the skin
   between them correlates after it.
3. A person looks at every pair that is not sure, one picture laid over the other.

The thresholds come from 3,137 registered pairs of HAM10000, looked at by eye. At 9 inliers and a
correlation of 0.45, 98 of 98 pairs were the same lesion: SURE_FROM. From 6 inliers and 0.2 on, some
were, small lesions on smooth skin above all, which have few spots: LOOK_FROM. Below, none was.
The hash alone would have shown 6 of the 120 pairs of `ham10000_duplicates.csv`.

On all 10,015 images at 200x150 this search finds 117 of the 120 again, 96 of them sure. Eight more
pairs are sure: three whose lesions the list joins by other images, three of one lesion that the
list misses, and two that are wrong, where hairs cross alike in a corner. So 102 of 104 sure pairs
are right; it remains for a person to look. Of 279 more that are to be looked at, some 50 were, and
one is of one lesion. The four pairs that the list misses stand in
`protocols/groupkfold5/ham10000_duplicates_missed.csv`. The list is not complete: true pairs grew no
rarer down to the 5 quick inliers from which pairs are registered, so some remain unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
from scipy import sparse

from bench.data.duplicates.near import (
    LOOK,
    SURE,
    Advance,
    DuplicatePair,
    Duplicates,
    Load,
    confirm_near,
    describe_method,
    describe_pair,
    for_each,
    hash_all,
    near_positions,
    no_progress,
)
from bench.data.duplicates.perceptual_hash import count_inliers, view_distances
from bench.data.duplicates.registration import (
    FEW_REACH,
    FEW_SIMILARITY,
    FEWEST_MATCHES,
    Agreement,
    Look,
    compare_quickly,
    look_closely,
    look_quickly,
    register,
)
from bench.dataset import Dataset

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


AT_ONCE = 256
SLACK = 1.001
"""RANSAC works in other precision: what is inside for it must be inside here."""


def most_inliers(one: Look, others: Sequence[Look]) -> np.ndarray:
    """Matches (P,) int64 that the best similarity transform between the spots of a picture and each
    of P others explains. Never fewer than `compare_quickly` gives."""
    found = [
        _inliers(one, others[start : start + AT_ONCE]) for start in range(0, len(others), AT_ONCE)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _inliers(one: Look, others: Sequence[Look]) -> np.ndarray:
    ends = np.cumsum([0, *(len(other.spots.points) for other in others)])
    described = np.concatenate([other.spots.descriptors for other in others])
    likeness = one.spots.descriptors @ described.T
    points = np.concatenate([other.spots.points for other in others])
    counted: np.ndarray = count_inliers(
        likeness, one.spots.points, points, ends, FEW_SIMILARITY, FEW_REACH * SLACK
    )
    return counted


WORD_NEIGHBOURS = 160
LARGEST_STRATUM = 800
PROMISING = Agreement(5, 0.2)
STRIKING_INLIERS = 7
SURE_FROM = Agreement(9, 0.45)
LOOK_FROM = Agreement(6, 0.2)
LOOKS_KEPT = 512


def find_duplicates(
    manifest: Dataset, load: Load, rng: np.random.Generator, advance: Advance = no_progress
) -> Duplicates:
    """Pairs of images of different native groups that are, or may be, of one lesion.

    Keeps some 70 kB an image in memory, twice that at its peak. It takes minutes where
    `near.find_near_duplicates` takes seconds (HAM10000: 500 s of one core against 31 s), and grows
    with the pairs that have words or metadata in common.
    """
    hashes, blank = hash_all(manifest, load, advance)
    near, within = near_positions(manifest, hashes, blank)
    found = confirm_near(manifest, load, hashes, near, advance)
    looks = _look_at_all(manifest, load, advance)
    candidates = np.unique(
        np.concatenate([near.pairs, _candidates(manifest, looks, rng, advance)]), axis=0
    )
    known = {(pair.image_a, pair.image_b) for pair in found}
    ids = manifest.image_ids
    promising = [
        (a, b) for a, b in _promising(looks, candidates, advance) if (ids[a], ids[b]) not in known
    ]
    del looks
    found += _register_all(manifest, load, hashes, promising, advance)
    return Duplicates(
        pairs=tuple(sorted(found)),
        candidates=len(candidates),
        dropped=len(candidates) - len(found),
        within=within,
        blank=tuple(manifest.image_ids[blank].tolist()),
        method=f"{describe_method(len(manifest))}; and pictures with local features or age, sex "
        "and body site in common, registered by SIFT and RANSAC and correlated after it",
    )


def _look_at_all(manifest: Dataset, load: Load, advance: Advance) -> list[Look]:
    looks: dict[int, Look] = {}
    count = len(manifest)

    def one(at: int) -> None:
        looks[at] = look_quickly(load(manifest.image_ids[at]))

    for_each(count, one, lambda done: advance("finding spots", done, count))
    return [looks[at] for at in range(count)]


def _candidates(
    manifest: Dataset, looks: list[Look], rng: np.random.Generator, advance: Advance
) -> np.ndarray:
    """Pairs (P, 2) across groups with words or metadata in common, sorted."""
    alike = alike_pairs(
        [look.spots.descriptors for look in looks],
        WORD_NEIGHBOURS,
        rng,
        lambda done, whole: advance("comparing words", done, whole),
    )
    pairs = np.unique(np.concatenate([alike, same_metadata_pairs(manifest)]), axis=0)
    groups = np.unique(manifest.native_groups.astype(str), return_inverse=True)[1]
    return np.asarray(pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]])


def _promising(looks: list[Look], pairs: np.ndarray, advance: Advance) -> list[tuple[int, int]]:
    """The pairs whose pictures agree somewhat at a quick look."""
    rows = list(_by_first(pairs))
    chosen: dict[int, list[tuple[int, int]]] = {}

    def one(at: int) -> None:
        a, others = rows[at]
        fitting = most_inliers(looks[a], [looks[b] for b in others])
        chosen[at] = [
            (a, b)
            for b, most in zip(others, fitting.tolist(), strict=True)
            if most >= FEWEST_MATCHES and _promises(compare_quickly(looks[a], looks[b]))
        ]

    for_each(len(rows), one, lambda done: advance("comparing spots", done, len(rows)))
    return [pair for at in range(len(rows)) for pair in chosen[at]]


def _by_first(pairs: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """Sorted pairs as (first, all its seconds)."""
    for first, group in groupby(pairs.tolist(), key=lambda pair: pair[0]):
        yield first, [second for _, second in group]


def _register_all(
    manifest: Dataset,
    load: Load,
    hashes: np.ndarray,
    pairs: list[tuple[int, int]],
    advance: Advance,
) -> list[DuplicatePair]:
    """Those of the pairs whose pictures fit each other at a close look."""
    found: dict[int, DuplicatePair] = {}

    @lru_cache(maxsize=LOOKS_KEPT)
    def look(at: int) -> Look:
        return look_closely(load(manifest.image_ids[at]))

    def one(at: int) -> None:
        a, b = pairs[at]
        agreement = register(look(a), look(b))
        if reaches(agreement, LOOK_FROM):
            distance = int(view_distances(hashes[a], hashes[b]).min())
            verdict = SURE if reaches(agreement, SURE_FROM) else LOOK
            found[at] = describe_pair(manifest, a, b, distance, agreement, verdict)

    for_each(len(pairs), one, lambda done: advance("registering", done, len(pairs)))
    return list(found.values())


def reaches(agreement: Agreement, threshold: Agreement) -> bool:
    """Whether two pictures agree at least as far as a threshold, in both respects."""
    enough = agreement.inliers >= threshold.inliers
    return enough and agreement.correlation >= threshold.correlation


def _promises(agreement: Agreement) -> bool:
    return agreement.inliers >= STRIKING_INLIERS or reaches(agreement, PROMISING)


def same_metadata_pairs(manifest: Dataset) -> np.ndarray:
    """Pairs (P, 2) of rows, a < b, that agree in age, sex and body site: one patient would.

    Combinations that more than LARGEST_STRATUM images share say little, and are left out.
    """
    pairs = [np.empty((0, 2), np.int64)]
    keys = ["age", "sex", "localization"]
    for _, rows in manifest.table.groupby(keys, dropna=False, sort=True):
        if len(rows) <= LARGEST_STRATUM:
            at = rows.index.to_numpy(dtype=np.int64)
            pairs.append(at[np.stack(np.triu_indices(len(rows), 1), axis=1)])
    return np.concatenate(pairs)
