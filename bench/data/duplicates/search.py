"""Pictures of one lesion that stand in a dataset under different lesion ids: a thorough search.

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

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import numpy as np

from bench.data.duplicates.hashes import view_distances
from bench.data.duplicates.near import (
    confirm_near,
    describe_method,
    for_each,
    hash_all,
    near_positions,
)
from bench.data.duplicates.pairs import (
    LOOK,
    SURE,
    Advance,
    DuplicatePair,
    Duplicates,
    Load,
    describe_pair,
    silent,
)
from bench.data.duplicates.quick import most_inliers
from bench.data.duplicates.registration import (
    FEWEST_MATCHES,
    Agreement,
    Look,
    compare_quickly,
    look_closely,
    look_quickly,
    register,
)
from bench.data.duplicates.words import alike_pairs
from bench.manifest import Manifest

WORD_NEIGHBOURS = 160
LARGEST_STRATUM = 800
PROMISING = Agreement(5, 0.2)
STRIKING_INLIERS = 7
SURE_FROM = Agreement(9, 0.45)
LOOK_FROM = Agreement(6, 0.2)
LOOKS_KEPT = 512


def find_duplicates(
    manifest: Manifest, load: Load, rng: np.random.Generator, advance: Advance = silent
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


def _look_at_all(manifest: Manifest, load: Load, advance: Advance) -> list[Look]:
    looks: dict[int, Look] = {}
    count = len(manifest)

    def one(at: int) -> None:
        looks[at] = look_quickly(load(manifest.image_ids[at]))

    for_each(count, one, lambda done: advance("finding spots", done, count))
    return [looks[at] for at in range(count)]


def _candidates(
    manifest: Manifest, looks: list[Look], rng: np.random.Generator, advance: Advance
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
    manifest: Manifest,
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


def same_metadata_pairs(manifest: Manifest) -> np.ndarray:
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
