"""The searches on the images of HAM10000's committed lists of duplicates."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np

from bench.data.duplicates.near import find_near_duplicates
from bench.data.duplicates.search import find_duplicates
from bench.data.images import find_images, loader
from bench.data.open import OpenDataset, open_dataset
from tests.conftest import ROOT
from tests.real_data import HAM10000, needs_ham10000

FOLDER = ROOT / "protocols" / "groupkfold5"
COPIES = {
    ("ISIC_0025226", "ISIC_0030074"),
    ("ISIC_0027027", "ISIC_0029036"),
    ("ISIC_0027636", "ISIC_0027994"),
    ("ISIC_0034228", "ISIC_0034248"),
}


def listed(name: str) -> set[tuple[str, str]]:
    with (FOLDER / name).open(newline="") as stream:
        return {(row["image_a"], row["image_b"]) for row in csv.DictReader(stream)}


def listed_images() -> OpenDataset:
    """HAM10000, but only the images that stand in a list."""
    source = open_dataset(HAM10000)
    lists = ("ham10000_duplicates.csv", "ham10000_duplicates_missed.csv")
    named = {image for name in lists for pair in listed(name) for image in pair}
    table = source.manifest.table
    kept = table[table["image_id"].isin(named)]
    return replace(source, manifest=replace(source.manifest, table=kept))


@needs_ham10000
def test_the_copies_among_the_listed_pairs_are_found_and_confirmed():
    source = listed_images()
    found = find_near_duplicates(source.manifest, loader(find_images(source)))
    assert {(pair.image_a, pair.image_b) for pair in found.sure} == COPIES


@needs_ham10000
def test_the_thorough_search_finds_the_listed_pairs_and_those_the_list_missed():
    source = listed_images()
    rng = np.random.default_rng(0)
    found = find_duplicates(source.manifest, loader(find_images(source)), rng)
    pairs = {(pair.image_a, pair.image_b) for pair in found.pairs}
    assert len(pairs & listed("ham10000_duplicates.csv")) >= 114
    assert pairs >= listed("ham10000_duplicates_missed.csv")
    assert len(found.sure) >= 95
