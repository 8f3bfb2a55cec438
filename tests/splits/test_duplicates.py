"""Drawn skin, photographed twice: what must be found, and what must not."""

from __future__ import annotations

import csv
import io

import cv2
import numpy as np
import pytest

from bench.manifest import Manifest, Record
from bench.splits.duplicates import BORDERLINE, SURE, find_duplicates, format_pairs, reaches
from bench.splits.hashes import hash_distances, near_pairs, perceptual_hashes
from bench.splits.registration import look_closely, register
from bench.splits.words import alike_pairs

TURNS = [lambda p, k=k, f=f: np.rot90(p[:, ::-1] if f else p, k) for k in range(4) for f in (0, 1)]


def skin(seed: int) -> np.ndarray:
    """A picture (150, 200, 3) uint8: skin texture, a lesion with an edge, some hairs."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (150, 200)), (0, 0), 2)
    picture = np.full((150, 200, 3), (210, 160, 150)) + texture[..., None]
    spots = rng.uniform((30, 60), (110, 140), (25, 2))
    for y, x in spots:
        colour = rng.uniform((60, 30, 20), (140, 90, 70)).tolist()
        cv2.circle(picture, (int(x), int(y)), int(rng.integers(4, 16)), colour, -1)
    for _ in range(3):
        ends = rng.integers(0, (200, 150), (2, 2)).tolist()
        cv2.line(picture, *ends, (40, 30, 30), 1)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 1), 0, 255).astype(np.uint8)


def again(picture: np.ndarray, degrees: float, zoom: float, light: float) -> np.ndarray:
    """The same skin, photographed again: turned, nearer or farther, in another light."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2 + 9, height / 2 - 6), degrees, zoom)
    moved = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.clip(moved * np.array([1.0, light, light]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("turn", TURNS)
def test_a_hash_knows_a_picture_under_all_flips_and_turns(turn: object) -> None:
    picture, strange = skin(0), skin(1)
    turned = np.ascontiguousarray(turn(picture))
    one, others = perceptual_hashes(turned), [perceptual_hashes(p) for p in (picture, strange)]
    near, far = hash_distances(one, np.stack(others))
    assert near <= 8
    assert far > 64


def test_near_pairs_are_those_that_pairwise_comparison_finds() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, (30, 8, 4), dtype=np.uint64)
    hashes[7] = hashes[3]
    slow = {
        (a, b)
        for a in range(30)
        for b in range(a + 1, 30)
        if min(
            sum((int(x) ^ int(y)).bit_count() for x, y in zip(view, hashes[b, 0], strict=True))
            for view in hashes[a]
        )
        <= 110
    }
    assert (3, 7) in slow
    assert near_pairs(hashes, 110) == slow


@pytest.mark.parametrize(
    ("degrees", "zoom", "light"), [(0, 1.0, 1.0), (7, 1.1, 0.8), (90, 1.0, 1.1), (-40, 1.5, 0.7)]
)
def test_skin_photographed_again_registers(degrees: float, zoom: float, light: float) -> None:
    picture = skin(2)
    second = again(picture, degrees, zoom, light)
    assert reaches(register(look_closely(picture), look_closely(second)), SURE)


def test_other_skin_does_not_register() -> None:
    looks = [look_closely(skin(seed)) for seed in range(3, 9)]
    for a in range(6):
        for b in range(a):
            assert not reaches(register(looks[a], looks[b]), BORDERLINE)


def test_pictures_without_any_feature_agree_with_nothing() -> None:
    blank = look_closely(np.full((150, 200, 3), 200, np.uint8))
    assert register(blank, look_closely(skin(0))) == (0, 0.0)
    assert register(blank, blank) == (0, 0.0)


def test_pictures_of_common_features_are_near_by_their_words() -> None:
    rng = np.random.default_rng(0)
    described = [rng.normal(size=(40, 16)).astype(np.float32) for _ in range(12)]
    described[9][:25] = described[2][:25]
    described = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in described]
    assert (2, 9) in alike_pairs(described, 1, rng)
    assert alike_pairs(described[:1], 1, rng) == set()


def test_the_search_finds_planted_duplicates_and_no_others() -> None:
    """A copy, a mirror image, and a second photograph, under lesion ids of their own."""
    pictures = {f"I{at:02d}": skin(10 + at) for at in range(10)}
    pictures["J0"] = pictures["I00"]
    pictures["J1"] = np.ascontiguousarray(pictures["I01"][:, ::-1])
    pictures["J2"] = again(pictures["I02"], 30, 1.2, 0.9)
    pictures["I03_b"] = again(pictures["I03"], 20, 1.1, 0.9)  # of the same lesion: no duplicate
    records = [Record(name, "nv", f"L{name.removesuffix('_b')}") for name in pictures]
    manifest = Manifest.from_records("drawn", ("nv",), records)
    pairs = find_duplicates(manifest, pictures.__getitem__, np.random.default_rng(0))
    found = {(pair.image_a, pair.image_b): pair.verdict for pair in pairs}
    assert found == {("I00", "J0"): "sure", ("I01", "J1"): "sure", ("I02", "J2"): "sure"}
    rows = list(csv.DictReader(io.StringIO(format_pairs(pairs))))
    assert rows[0]["image_a"] == "I00"
    assert rows[0]["lesion_b"] == "LJ0"
    assert rows[0]["phash_distance"] == "0"
