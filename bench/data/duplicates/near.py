"""Near-duplicate images: copied, resized, mirrored, rotated or recompressed.

Two steps:

1. Candidates: perceptual hashes of 256 bits with a small distance under one of the 8 flips and
   quarter turns.
2. Confirmation: one image is registered to the other in this view (`registration.overlay`, refined
   by ECC); the local contrast of the two must correlate.

The thresholds come from all 2,125 pairs of HAM10000 within 64 bits. Of the 197 pairs with one
lesion id, 193 correlate at 0.8 or more. Of the 1,928 other pairs, the four above 0.8 show one
lesion too (all are in `protocols/groupkfold5/ham10000_duplicates.csv`); the next pair has 0.73 and
shows two lesions; half of them are below 0.35.

Further photographs of a lesion are found by `search.find_duplicates` only.
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
from bench.data.duplicates.registration import Agreement, fine_features, overlay, register, view_of
from bench.dataset import Dataset
from bench.io import map_on_all_cores

Load = Callable[[str], np.ndarray]
"""Returns the pixels (H, W, 3) uint8 RGB of an image id."""

Advance = Callable[[str, int, int], object]
"""Receives the progress: name of the stage, items done, items in total."""

SURE, REVIEW = "sure", "look"


def no_progress(_stage: str, _done: int, _all: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True, slots=True, order=True)
class DuplicatePair:
    """Two images of different native groups that show, or may show, the same lesion.

    phash_distance  bits of 256 under the best of the 8 symmetries
    inliers, correlation  of the registration
    verdict  "sure" by the thresholds, else "look"; the text of a reviewer replaces it
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
    """The result of a search.

    pairs       pairs in different native groups that show, or may show, one lesion; sorted by ids
    candidates  number of pairs in different groups after the first step
    dropped     number of candidates that the second step rejected
    within      number of pairs with near hashes within one group; they cause no leakage
    blank       ids of blank images, which are not compared
    method      description of the search in one sentence
    """

    pairs: tuple[DuplicatePair, ...]
    candidates: int
    dropped: int
    within: int
    blank: tuple[str, ...]
    method: str

    @property
    def sure(self) -> tuple[DuplicatePair, ...]:
        """The pairs above the thresholds.

        On HAM10000 4 of 4 copies were correct, and 102 of 104 pairs of the thorough search.
        """
        return tuple(pair for pair in self.pairs if pair.verdict == SURE)

    def apart(self, group_of: Mapping[str, str]) -> tuple[DuplicatePair, ...]:
        """The pairs that are in two groups of a grouping.

        group_of: final group of every image id, such as the `group_id` of a roles file
        """
        return tuple(p for p in self.pairs if group_of[p.image_a] != group_of[p.image_b])


def describe_pair(
    dataset: Dataset, a: int, b: int, distance: int, agreement: Agreement, verdict: str
) -> DuplicatePair:
    """The pair of images at positions a < b of the dataset, with its evidence."""
    return DuplicatePair(
        image_a=dataset.image_ids[a],
        image_b=dataset.image_ids[b],
        lesion_a=dataset.native_groups[a],
        lesion_b=dataset.native_groups[b],
        phash_distance=distance,
        inliers=agreement.inliers,
        correlation=round(agreement.correlation, 2),
        verdict=verdict,
    )


def format_pairs(pairs: Iterable[DuplicatePair]) -> str:
    """The pairs as CSV for `protocol freeze --duplicates`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(DuplicatePair)])
    writer.writerows(astuple(pair) for pair in pairs)
    return text.getvalue()


LIMIT, LIMIT_OF_MANY = 64, 31
"""Largest distance of candidates in bits. Above FEW images the hash index is used, and the smaller
limit: the cost of the index grows steeply with it."""
CONFIRMED, DOUBTFUL = 0.8, 0.7
BLANK_RANGE = 4
"""An image is blank if the range of values of every channel is below this."""


def find_near_duplicates(
    dataset: Dataset, load: Load, advance: Advance = no_progress
) -> Duplicates:
    """Near duplicates in different native groups of a dataset; each pair is sure or to review.

    Reads every image once, and the images of candidates again. Takes half a minute of one core for
    HAM10000 at 200x150.
    """
    hashes, blank = hash_all(dataset, load, advance)
    candidates, within = near_positions(dataset, hashes, blank)
    pairs = confirm_near(dataset, load, hashes, candidates, advance)
    return Duplicates(
        pairs=tuple(pairs),
        candidates=len(candidates.pairs),
        dropped=len(candidates.pairs) - len(pairs),
        within=within,
        blank=tuple(dataset.image_ids[blank].tolist()),
        method=describe_method(len(dataset)),
    )


def near_positions(
    dataset: Dataset, hashes: np.ndarray, blank: np.ndarray
) -> tuple[NearPairs, int]:
    """Pairs with near hashes in different native groups, and the number within one group."""
    near = near_pairs(hashes[~blank], limit_for(len(dataset)))
    at = np.flatnonzero(~blank)[near.pairs]
    groups = dataset.native_groups
    across = (groups[at[:, 0]] != groups[at[:, 1]]).astype(bool)
    return NearPairs(at[across], near.distances[across]), int((~across).sum())


def limit_for(images: int) -> int:
    """The largest distance of candidates in bits, for a number of images."""
    return LIMIT if images <= FEW else LIMIT_OF_MANY


def describe_method(images: int) -> str:
    """The search in one sentence."""
    return (
        f"perceptual hashes of 256 bits within {limit_for(images)} bits under the 8 flips and "
        f"quarter turns, confirmed if the registered images correlate at {CONFIRMED} or more"
    )


def hash_all(dataset: Dataset, load: Load, advance: Advance) -> tuple[np.ndarray, np.ndarray]:
    """The hashes (N, 8, 4) uint64 of all images, and a mask (N,) bool of blank images."""
    hashes = np.zeros((len(dataset), 8, 4), np.uint64)
    blank = np.zeros(len(dataset), bool)

    def hash_image(at: int) -> None:
        image = load(dataset.image_ids[at])
        hashes[at], blank[at] = perceptual_hashes(image), is_blank(image)

    for_each(len(dataset), hash_image, lambda done: advance("hashing", done, len(dataset)))
    return hashes, blank


def is_blank(image: np.ndarray) -> bool:
    """Whether an image (H, W, 3) uint8 is blank; its hash would be noise."""
    low, high = image.min(axis=(0, 1)).astype(int), image.max(axis=(0, 1)).astype(int)
    return bool((high - low < BLANK_RANGE).all())


def for_each(count: int, work: Callable[[int], None], advance: Callable[[int], object]) -> None:
    """Call `work(position)` for every position on all cores, and `advance` with the number done."""
    for done, _ in enumerate(map_on_all_cores(work, range(count)), 1):
        advance(done)


def confirm_near(
    dataset: Dataset, load: Load, hashes: np.ndarray, near: NearPairs, advance: Advance
) -> list[DuplicatePair]:
    """The pairs with near hashes whose registered images correlate."""
    confirmed: dict[int, DuplicatePair] = {}

    def confirm(at: int) -> None:
        a, b = near.pairs[at].tolist()
        image_a, image_b = (load(dataset.image_ids[each]) for each in (a, b))
        view = int(view_distances(hashes[a], hashes[b]).argmin())
        correlation = overlay(image_a, image_b, view)
        if correlation >= DOUBTFUL:
            inliers = register(
                fine_features(view_of(image_a, view)), fine_features(image_b)
            ).inliers
            confirmed[at] = describe_pair(
                dataset,
                a,
                b,
                int(near.distances[at]),
                Agreement(inliers, correlation),
                SURE if correlation >= CONFIRMED else REVIEW,
            )

    count = len(near.pairs)
    for_each(count, confirm, lambda done: advance("confirming", done, count))
    return sorted(confirmed.values())
