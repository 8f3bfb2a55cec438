"""Near-duplicate images: copied, resized, mirrored, turned or recompressed.

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

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np

from bench.data.duplicates.perceptual_hash import (
    FEW,
    NearPairs,
    near_pairs,
    perceptual_hashes,
    view_distances,
)
from bench.data.duplicates.registration import Agreement, look_closely, overlay, register, seen_as
from bench.dataset import Dataset
from bench.io import map_on_all_cores

Load = Callable[[str], np.ndarray]
"""Gives the pixels (H, W, 3) uint8 RGB of an image id."""

Advance = Callable[[str, int, int], object]
"""Hears how far a search is: name of the stage, how much of it is done, how much there is."""

SURE, LOOK = "sure", "look"


def no_progress(_stage: str, _done: int, _all: int) -> None:
    """Nobody wants to hear how far the search is."""


@dataclass(frozen=True, slots=True, order=True)
class DuplicatePair:
    """Two images of different native groups that show, or may show, the same lesion.

    phash_distance  bits of 256 under the best of the 8 symmetries
    inliers, correlation  of the registration
    verdict  "sure" by the thresholds, else "look"; a person's words replace it
    """

    image_a: str
    image_b: str
    lesion_a: str
    lesion_b: str
    phash_distance: int
    inliers: int
    correlation: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What a search found, and how.

    pairs       pairs that cross native groups and are or may be of one lesion, sorted by image ids
    candidates  pairs across groups that the first look gave to the second
    dropped     those of them that the second look refused
    within      pairs of images of one group that are near by their hashes: no leak, but no news
    blank       image ids without any picture on them, which were compared with nothing
    method      one sentence that says how it was searched
    """

    pairs: tuple[DuplicatePair, ...]
    candidates: int
    dropped: int
    within: int
    blank: tuple[str, ...]
    method: str

    @property
    def sure(self) -> tuple[DuplicatePair, ...]:
        """The pairs above the thresholds. On HAM10000 4 of 4 copies were right, and 102 of the 104
        that the thorough search gave."""
        return tuple(pair for pair in self.pairs if pair.verdict == SURE)

    def apart(self, group_of: Mapping[str, str]) -> tuple[DuplicatePair, ...]:
        """The pairs that a grouping leaves in two groups: those that it does not know yet.

        group_of the final group of every image id, as the `group_id` of a roles file gives it.
        """
        return tuple(p for p in self.pairs if group_of[p.image_a] != group_of[p.image_b])


def describe_pair(
    manifest: Dataset, a: int, b: int, distance: int, agreement: Agreement, verdict: str
) -> DuplicatePair:
    """The pair of images at the positions a < b of the manifest, with its evidence."""
    return DuplicatePair(
        image_a=manifest.image_ids[a],
        image_b=manifest.image_ids[b],
        lesion_a=manifest.native_groups[a],
        lesion_b=manifest.native_groups[b],
        phash_distance=distance,
        inliers=agreement.inliers,
        correlation=round(agreement.correlation, 2),
        verdict=verdict,
    )


def format_pairs(pairs: Iterable[DuplicatePair]) -> str:
    """The text of a CSV list of pairs, as `protocol freeze --duplicates` reads it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(DuplicatePair)])
    writer.writerows(astuple(pair) for pair in pairs)
    return text.getvalue()


LIMIT, LIMIT_OF_MANY = 64, 31
"""Bits in which the hashes of candidates may differ; of more than FEW pictures buckets are asked,
whose cost grows steeply with it."""
CONFIRMED, DOUBTFUL = 0.8, 0.7
BLANK_RANGE = 4
"""A picture whose smallest and largest values in every colour are nearer than this is blank."""


def find_near_duplicates(
    manifest: Dataset, load: Load, advance: Advance = no_progress
) -> Duplicates:
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
    manifest: Dataset, hashes: np.ndarray, blank: np.ndarray
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


def hash_all(manifest: Dataset, load: Load, advance: Advance) -> tuple[np.ndarray, np.ndarray]:
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
    manifest: Dataset, load: Load, hashes: np.ndarray, near: NearPairs, advance: Advance
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
