"""Pictures of one lesion that stand in a dataset under different lesion ids.

Nothing of one lesion may stand on two sides of a fold, so such groups are joined before freezing.
Three looks, each narrower than the last:

1. Candidates, generously: perceptual hashes that are near under one of the 8 symmetries; pictures
   with many local features in common; pictures whose age, sex and body site are the same.
2. Registration (`registration.register`): how many spots fit one transform, and how well the skin
   between them correlates after it.
3. A person looks at every pair that is not sure, one picture laid over the other.

The thresholds come from 3,137 registered pairs of HAM10000, looked at by eye. At 9 inliers and a
correlation of 0.45, 98 of 98 pairs were the same lesion: SURE. From 6 inliers and 0.2 on, some
were, small lesions on smooth skin above all, which have few spots: BORDERLINE. Below, none was.
The hash alone would have shown 6 of the 120 pairs. The list is not complete: true pairs grew no
rarer down to the 5 quick inliers from which pairs were registered, so some remain unknown.
Among 1,000 other images of HAM10000 this search finds 117 of the 120 pairs again, 98 of them sure,
and no sure pair whose lesions the list does not join.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from functools import lru_cache

import numpy as np

from bench.manifest import Manifest
from bench.splits.hashes import hash_distances, near_pairs, perceptual_hashes
from bench.splits.registration import (
    Agreement,
    Look,
    compare_quickly,
    look_closely,
    look_quickly,
    register,
)
from bench.splits.words import alike_pairs

HASH_LIMIT = 64
WORD_NEIGHBOURS = 160
LARGEST_STRATUM = 800
PROMISING = Agreement(5, 0.2)
STRIKING_INLIERS = 7
SURE = Agreement(9, 0.45)
BORDERLINE = Agreement(6, 0.2)
LOOKS_KEPT = 512

Load = Callable[[str], np.ndarray]
"""Gives the pixels (H, W, 3) uint8 RGB of an image id."""


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


def find_duplicates(
    manifest: Manifest, load: Load, rng: np.random.Generator
) -> list[DuplicatePair]:
    """Pairs of images of different native groups that are, or may be, of one lesion, sorted.

    Two minutes of one core for 1,200 images; it grows with the pairs that share metadata.
    """
    quick: list[Look] = []
    hashes = []
    for image_id in manifest.image_ids:
        image = load(image_id)
        hashes.append(perceptual_hashes(image))
        quick.append(look_quickly(image))
    stacked = np.stack(hashes)
    groups = manifest.native_groups
    near = _across(near_pairs(stacked, HASH_LIMIT), groups)
    alike = alike_pairs([look.spots.descriptors for look in quick], WORD_NEIGHBOURS, rng)
    others = _across(alike | same_metadata_pairs(manifest), groups) - near
    chosen = near | {(a, b) for a, b in others if _promises(compare_quickly(quick[a], quick[b]))}

    @lru_cache(maxsize=LOOKS_KEPT)
    def look(at: int, *, mirrored: bool = False) -> Look:
        image = load(manifest.image_ids[at])
        return look_closely(image[:, ::-1] if mirrored else image)

    found = []
    for a, b in sorted(chosen):
        agreement = register(look(a), look(b))
        if (a, b) in near and not reaches(agreement, SURE):
            agreement = max(agreement, register(look(a, mirrored=True), look(b)))
        if reaches(agreement, BORDERLINE):
            distance = int(hash_distances(stacked[a], stacked[b : b + 1])[0])
            found.append(_pair(manifest, a, b, distance, agreement))
    return sorted(found)


def reaches(agreement: Agreement, threshold: Agreement) -> bool:
    """Whether two pictures agree at least as far as a threshold, in both respects."""
    enough = agreement.inliers >= threshold.inliers
    return enough and agreement.correlation >= threshold.correlation


def _promises(agreement: Agreement) -> bool:
    return agreement.inliers >= STRIKING_INLIERS or reaches(agreement, PROMISING)


def same_metadata_pairs(manifest: Manifest) -> set[tuple[int, int]]:
    """Pairs (a < b) of rows that agree in age, sex and body site: one patient would.

    Combinations that more than LARGEST_STRATUM images share say little, and are left out.
    """
    pairs = set()
    keys = ["age", "sex", "localization"]
    for _, rows in manifest.table.groupby(keys, dropna=False, sort=True):
        if len(rows) <= LARGEST_STRATUM:
            first, second = np.triu_indices(len(rows), 1)
            at = rows.index.to_numpy()
            pairs |= set(zip(at[first].tolist(), at[second].tolist(), strict=True))
    return pairs


def format_pairs(pairs: Iterable[DuplicatePair]) -> str:
    """The text of a CSV list of pairs, as `protocol freeze --duplicates` reads it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(DuplicatePair)])
    writer.writerows(astuple(pair) for pair in pairs)
    return text.getvalue()


def _across(pairs: set[tuple[int, int]], groups: np.ndarray) -> set[tuple[int, int]]:
    return {(a, b) for a, b in pairs if groups[a] != groups[b]}


def _pair(manifest: Manifest, a: int, b: int, distance: int, agreement: Agreement) -> DuplicatePair:
    return DuplicatePair(
        image_a=manifest.image_ids[a],
        image_b=manifest.image_ids[b],
        lesion_a=manifest.native_groups[a],
        lesion_b=manifest.native_groups[b],
        phash_distance=distance,
        inliers=agreement.inliers,
        correlation=round(agreement.correlation, 2),
        verdict="sure" if reaches(agreement, SURE) else "look",
    )
