"""What a search for duplicates finds: pairs of images with their evidence, and how it searched."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np

from bench.data.duplicates.registration import Agreement
from bench.manifest import Manifest

Load = Callable[[str], np.ndarray]
"""Gives the pixels (H, W, 3) uint8 RGB of an image id."""

Advance = Callable[[str, int, int], object]
"""Hears how far a search is: name of the stage, how much of it is done, how much there is."""

SURE, LOOK = "sure", "look"


def silent(_stage: str, _done: int, _all: int) -> None:
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
    manifest: Manifest, a: int, b: int, distance: int, agreement: Agreement, verdict: str
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
