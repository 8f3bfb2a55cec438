"""Drawn skin, photographed twice: what must be found, and what must not."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from bench.data.duplicates.near import format_pairs
from bench.data.duplicates.registration import coarse_features, fine_features, prefilter, register
from bench.data.duplicates.search import (
    REVIEW_FROM,
    SURE_FROM,
    find_duplicates,
    most_inliers,
    reaches,
    similar_pairs,
)
from bench.dataset import Dataset, Record
from tests.data.duplicates.skin import again, skin


@pytest.mark.parametrize(
    ("degrees", "zoom", "light"), [(0, 1.0, 1.0), (7, 1.1, 0.8), (90, 1.0, 1.1), (-40, 1.5, 0.7)]
)
def test_skin_photographed_again_registers(degrees: float, zoom: float, light: float) -> None:
    picture = skin(2)
    second = again(picture, degrees, zoom, light)
    assert reaches(register(fine_features(picture), fine_features(second)), SURE_FROM)


def test_other_skin_does_not_register() -> None:
    looks = [fine_features(skin(seed)) for seed in range(3, 9)]
    for a in range(6):
        for b in range(a):
            assert not reaches(register(looks[a], looks[b]), REVIEW_FROM)


def test_pictures_without_any_feature_agree_with_nothing() -> None:
    blank = fine_features(np.full((150, 200, 3), 200, np.uint8))
    assert register(blank, fine_features(skin(0))) == (0, 0.0)
    assert register(blank, blank) == (0, 0.0)


def test_pictures_of_common_features_are_near_by_their_words() -> None:
    rng = np.random.default_rng(0)
    described = [rng.normal(size=(40, 16)).astype(np.float32) for _ in range(12)]
    described[9][:25] = described[2][:25]
    described = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in described]
    assert [2, 9] in similar_pairs(described, 1, rng).tolist()
    assert len(similar_pairs(described[:1], 1, rng)) == 0


def test_the_fast_count_of_fitting_spots_is_never_below_that_of_ransac() -> None:
    """So whatever it drops, RANSAC would have dropped: ten skins, each photographed three times."""
    rng = np.random.default_rng(0)
    pictures = [
        again(skin(seed), rng.uniform(-90, 90), rng.uniform(0.9, 1.4), 0.9)
        for seed in range(20, 30)
        for _ in range(3)
    ]
    looks = [coarse_features(picture) for picture in [*pictures, np.zeros((150, 200, 3), np.uint8)]]
    fast = np.array([most_inliers(look, looks) for look in looks])
    slow = np.array([[prefilter(a, b).inliers for b in looks] for a in looks])
    assert (fast >= slow).all()
    assert (slow >= 5).sum() > 50
    assert (fast[slow == 0] < 5).all()


def test_the_search_finds_planted_duplicates_and_no_others() -> None:
    """A copy, a mirror image, and a second photograph, under lesion ids of their own."""
    pictures = {f"I{at:02d}": skin(10 + at) for at in range(10)}
    pictures["J0"] = pictures["I00"]
    pictures["J1"] = np.ascontiguousarray(pictures["I01"][:, ::-1])
    pictures["J2"] = again(pictures["I02"], 30, 1.2, 0.9)
    pictures["I03_b"] = again(pictures["I03"], 20, 1.1, 0.9)  # of the same lesion: no duplicate
    records = [Record(name, "nv", f"L{name.removesuffix('_b')}") for name in pictures]
    manifest = Dataset.from_records("drawn", ("nv",), records)
    result = find_duplicates(manifest, pictures.__getitem__, np.random.default_rng(0))
    pairs = result.pairs
    assert result.sure == pairs
    assert result.candidates == result.dropped + 3
    found = {(pair.image_a, pair.image_b): pair.verdict for pair in pairs}
    assert found == {("I00", "J0"): "sure", ("I01", "J1"): "sure", ("I02", "J2"): "sure"}
    rows = list(csv.DictReader(io.StringIO(format_pairs(pairs))))
    assert rows[0]["image_a"] == "I00"
    assert rows[0]["lesion_b"] == "LJ0"
    assert rows[0]["phash_distance"] == "0"
