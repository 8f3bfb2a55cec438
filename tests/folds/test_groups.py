"""Joined groups against a walk through the graph."""

from __future__ import annotations

import numpy as np
import pytest

from bench.dataset import Dataset, Record
from bench.errors import RolesError
from bench.folds.assign import join_groups
from tests.folds.cohorts import random_manifest


def walked(manifest: Dataset, pairs: list[tuple[str, str]]) -> list[str]:
    """The smallest native id that each image reaches over lesions, natives and pairs."""
    natives, lesions = manifest.native_groups, manifest.table["lesion_id"].to_numpy(dtype=object)
    links = {frozenset(pair) for pair in pairs}
    ids = manifest.image_ids
    reached = []
    for start in range(len(ids)):
        seen, edge = {start}, [start]
        while edge:
            at = edge.pop()
            for other in range(len(ids)):
                same = natives[at] == natives[other] or lesions[at] == lesions[other]
                if other not in seen and (same or frozenset((ids[at], ids[other])) in links):
                    seen.add(other)
                    edge.append(other)
        reached.append(min(natives[list(seen)]))
    return reached


@pytest.mark.parametrize("seed", range(3))
def test_joined_groups_are_the_connected_ones(seed: int) -> None:
    manifest = random_manifest(seed, patients=12)
    rng = np.random.default_rng(seed)
    pairs = [tuple(rng.choice(manifest.image_ids, 2, replace=False)) for _ in range(6)]
    assert join_groups(manifest, pairs).tolist() == walked(manifest, pairs)


def test_without_links_groups_are_the_native_ones(small_manifest: Dataset) -> None:
    assert join_groups(small_manifest).tolist() == small_manifest.native_groups.tolist()


def test_the_smallest_native_id_names_a_chain() -> None:
    records = [Record(f"I{at}", "nv", f"L{9 - at}") for at in range(5)]
    manifest = Dataset.from_records("chain", ("nv",), records)
    joined = join_groups(manifest, [("I0", "I1"), ("I1", "I4")])
    assert joined.tolist() == ["L5", "L5", "L7", "L6", "L5"]


def test_pairs_of_unknown_images_are_named(small_manifest: Dataset) -> None:
    with pytest.raises(RolesError, match="names images that small does not have: ISIC_1"):
        join_groups(small_manifest, [("IMG_000_0", "ISIC_1")])
