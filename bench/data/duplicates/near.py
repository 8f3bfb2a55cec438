"""Pictures that stand in a dataset twice: copied, resized, mirrored, turned or recompressed.

Two looks:

1. Perceptual hashes of 256 bits that are near under one of the 8 flips and quarter turns.
2. One picture laid over the other as their hashes say, refined by ECC (`registration.overlay`), and
   the correlation of their local contrast.

The thresholds come from all 2,125 pairs of HAM10000 that are within 64 bits. Of the 197 whose
images bear one lesion id, 193 correlate at 0.8 or more. Of the 1,928 others, the four above 0.8 are
of one lesion, too (all are in `protocols/groupkfold5/ham10000_duplicates.csv`); the next is at 0.73
and of two lesions, and half lie below 0.35.

What this does not find are further photographs of a lesion: `search.find_duplicates` does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.data.duplicates.hashes import perceptual_hashes, view_distances
from bench.data.duplicates.nearest import FEW, NearPairs, near_pairs
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
from bench.data.duplicates.registration import Agreement, look_closely, overlay, register, seen_as
from bench.data.threads import map_on_all_cores
from bench.manifest import Manifest

LIMIT, LIMIT_OF_MANY = 64, 31
"""Bits in which the hashes of candidates may differ; of more than FEW pictures buckets are asked,
whose cost grows steeply with it."""
CONFIRMED, DOUBTFUL = 0.8, 0.7
BLANK_RANGE = 4
"""A picture whose smallest and largest values in every colour are nearer than this is blank."""


def find_near_duplicates(manifest: Manifest, load: Load, advance: Advance = silent) -> Duplicates:
    """Pictures that stand in a dataset under two native groups, each pair confirmed or doubtful.

    Reads every image once, and those of candidates again. Half a minute of one core for HAM10000
    at 200x150.
    """
    hashes, blank = hash_all(manifest, load, advance)
    candidates, within = near_positions(manifest, hashes, blank)
    found = confirm_near(manifest, load, hashes, candidates, advance)
    return Duplicates(
        pairs=tuple(found),
        candidates=len(candidates.pairs),
        dropped=len(candidates.pairs) - len(found),
        within=within,
        blank=tuple(manifest.image_ids[blank].tolist()),
        method=describe_method(len(manifest)),
    )


def near_positions(
    manifest: Manifest, hashes: np.ndarray, blank: np.ndarray
) -> tuple[NearPairs, int]:
    """Pairs across native groups that are near by their hashes, and how many are within one."""
    near = near_pairs(hashes[~blank], limit_for(len(manifest)))
    at = np.flatnonzero(~blank)[near.pairs]
    groups = manifest.native_groups
    across = (groups[at[:, 0]] != groups[at[:, 1]]).astype(bool)
    return NearPairs(at[across], near.distances[across]), int((~across).sum())


def limit_for(pictures: int) -> int:
    """Bits in which the hashes of candidates may differ, among so many pictures."""
    return LIMIT if pictures <= FEW else LIMIT_OF_MANY


def describe_method(pictures: int) -> str:
    """The search in one sentence."""
    return (
        f"perceptual hashes of 256 bits within {limit_for(pictures)} under the 8 flips and quarter "
        f"turns, confirmed where the pictures laid over each other correlate at {CONFIRMED} or more"
    )


def hash_all(manifest: Manifest, load: Load, advance: Advance) -> tuple[np.ndarray, np.ndarray]:
    """The hashes (N, 8, 4) uint64 of all images, and which (N,) bool are blank."""
    hashes = np.zeros((len(manifest), 8, 4), np.uint64)
    blank = np.zeros(len(manifest), bool)

    def one(at: int) -> None:
        image = load(manifest.image_ids[at])
        hashes[at], blank[at] = perceptual_hashes(image), is_blank(image)

    for_each(len(manifest), one, lambda done: advance("hashing", done, len(manifest)))
    return hashes, blank


def is_blank(image: np.ndarray) -> bool:
    """Whether a picture (H, W, 3) uint8 shows nothing at all: its hash would be noise."""
    low, high = image.min(axis=(0, 1)).astype(int), image.max(axis=(0, 1)).astype(int)
    return bool((high - low < BLANK_RANGE).all())


def for_each(count: int, work: Callable[[int], None], told: Callable[[int], object]) -> None:
    """Do `work(position)` for every position on all cores, and tell how many are done."""
    for done, _ in enumerate(map_on_all_cores(work, range(count)), 1):
        told(done)


def confirm_near(
    manifest: Manifest, load: Load, hashes: np.ndarray, near: NearPairs, advance: Advance
) -> list[DuplicatePair]:
    """Those of the pairs that are near by their hashes and agree when laid over each other."""
    found: dict[int, DuplicatePair] = {}

    def one(at: int) -> None:
        a, b = near.pairs[at].tolist()
        image_a, image_b = (load(manifest.image_ids[each]) for each in (a, b))
        view = int(view_distances(hashes[a], hashes[b]).argmin())
        correlation = overlay(image_a, image_b, view)
        if correlation >= DOUBTFUL:
            inliers = register(look_closely(seen_as(image_a, view)), look_closely(image_b)).inliers
            found[at] = describe_pair(
                manifest,
                a,
                b,
                int(near.distances[at]),
                Agreement(inliers, correlation),
                SURE if correlation >= CONFIRMED else LOOK,
            )

    count = len(near.pairs)
    for_each(count, one, lambda done: advance("confirming", done, count))
    return sorted(found.values())
