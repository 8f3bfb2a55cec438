"""Pictures that stand in a dataset twice: copied, turned, resized, recompressed."""

from __future__ import annotations

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from bench.data.duplicates import perceptual_hash
from bench.data.duplicates.near import find_near_duplicates
from bench.data.duplicates.perceptual_hash import (
    HASH_SIZE,
    SIDE,
    all_near,
    indexed_near,
    near_pairs,
    perceptual_hashes,
    view_distances,
)
from bench.data.duplicates.registration import overlay, view_of
from bench.dataset import Dataset, Record
from bench.errors import DataError
from tests.data.duplicates.skin import again, skin

TURNS = [lambda p, k=k, f=f: np.rot90(p[:, ::-1] if f else p, k) for k in range(4) for f in (0, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_the_eight_hashes_are_those_of_imagehash(seed: int) -> None:
    picture = skin(seed)
    small = Image.fromarray(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    for view, words in enumerate(perceptual_hashes(picture)):
        bits = imagehash.phash(Image.fromarray(view_of(np.array(small), view)), HASH_SIZE).hash
        assert (np.unpackbits(words.view(np.uint8)) == bits.ravel()).all()
    whole = imagehash.phash(Image.fromarray(picture), HASH_SIZE).hash.ravel()
    assert (np.unpackbits(perceptual_hashes(picture)[0].view(np.uint8)) == whole).all()


@pytest.mark.parametrize("turn", TURNS)
def test_a_hash_knows_a_picture_under_all_flips_and_turns(turn: object) -> None:
    picture, strange = skin(0), skin(1)
    turned = perceptual_hashes(np.ascontiguousarray(turn(picture)))
    assert view_distances(turned, perceptual_hashes(picture)).min() <= 8
    assert view_distances(turned, perceptual_hashes(strange)).min() > 64


def random_hashes(seed: int, pictures: int, alike: int) -> np.ndarray:
    """Hashes (N, 8, 4) that lean one way, as those of blobs do; every tenth is another's, in
    another view, but for up to `alike` bits."""
    rng = np.random.default_rng(seed)
    lean = rng.uniform(0.2, 0.8, 256)
    bits = rng.uniform(size=(pictures, 8, 256)) < lean
    for at in range(10, pictures, 10):
        bits[at] = bits[at - 7][rng.permutation(8)]
        flipped = rng.choice(256, rng.integers(0, alike + 1), replace=False)
        bits[at][:, flipped] ^= True
    return np.packbits(bits, axis=-1).view(np.uint64)


def pairs_by_definition(hashes: np.ndarray, limit: int) -> dict[tuple[int, int], int]:
    found = {}
    for a in range(len(hashes)):
        for b in range(a + 1, len(hashes)):
            bits = min(
                sum((int(x) ^ int(y)).bit_count() for x, y in zip(view, hashes[b, 0], strict=True))
                for view in hashes[a]
            )
            if bits <= limit:
                found[a, b] = bits
    return found


@pytest.mark.parametrize("limit", [0, 15, 16, 31, 40])
def test_near_pairs_are_those_of_the_definition(limit: int) -> None:
    hashes = random_hashes(0, 60, 45)
    expected = pairs_by_definition(hashes, limit)
    for way in (all_near, indexed_near, near_pairs):
        pairs, distances = way(hashes, limit)
        found = dict(zip(map(tuple, pairs.tolist()), distances.tolist(), strict=True))
        assert found == expected
        assert list(found) == sorted(found)


@pytest.mark.parametrize(("seed", "limit"), [(1, 15), (2, 31), (3, 31), (4, 47)])
def test_buckets_find_what_all_pairs_find(seed: int, limit: int) -> None:
    hashes = random_hashes(seed, 2000, 50)
    slow, fast = all_near(hashes, limit), indexed_near(hashes, limit)
    assert len(slow.pairs) > 40
    assert (slow.pairs == fast.pairs).all()
    assert (slow.distances == fast.distances).all()


def test_no_hashes_or_one_are_near_nothing() -> None:
    for count in (0, 1):
        for way in (all_near, indexed_near):
            assert way(np.zeros((count, 8, 4), np.uint64), 31).pairs.shape == (0, 2)


def test_pictures_that_are_all_alike_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual_hash, "MOST_PAIRS", 100)
    with pytest.raises(DataError, match="1,225 pairs of images have near hashes"):
        all_near(np.zeros((50, 8, 4), np.uint64), 31)


def recompressed(picture: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)


def test_the_same_picture_agrees_and_another_does_not() -> None:
    picture = skin(0)
    for view in range(8):
        turned = recompressed(cv2.resize(view_of(picture, view), (320, 240)))
        assert overlay(picture, turned, view) > 0.9
        assert overlay(skin(1), turned, view) < 0.7


def test_smooth_pictures_without_any_spot_are_confirmed() -> None:
    y, x = np.mgrid[:150, :200]
    blob = 200 - 120 * np.exp(-(((x - 90) / 40) ** 2) - ((y - 70) / 25) ** 2)
    picture = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    assert overlay(picture, recompressed(picture), 0) > 0.8


def test_copies_under_other_groups_are_found_and_blanks_named() -> None:
    pictures = {f"I{at:02d}": skin(10 + at) for at in range(12)}
    pictures["J0"] = pictures["I00"]
    pictures["J1"] = np.ascontiguousarray(np.rot90(pictures["I01"][:, ::-1]))
    pictures["J2"] = recompressed(cv2.resize(pictures["I02"], (100, 75)))
    pictures["I03_b"] = recompressed(pictures["I03"])  # the same lesion id: no leak
    pictures["K0"] = again(pictures["I04"], 40, 1.5, 0.7)  # another photograph, not a copy
    pictures["blank1"] = np.full((150, 200, 3), 200, np.uint8)
    pictures["blank2"] = np.full((150, 200, 3), 20, np.uint8)
    records = [Record(name, "nv", f"L{name.removesuffix('_b')}") for name in pictures]
    manifest = Dataset.from_records("drawn", ("nv",), records)
    told: list[tuple[str, int, int]] = []
    result = find_near_duplicates(
        manifest, pictures.__getitem__, lambda *progress: told.append(progress)
    )
    found = {(pair.image_a, pair.image_b): pair.verdict for pair in result.pairs}
    assert found == {("I00", "J0"): "sure", ("I01", "J1"): "sure", ("I02", "J2"): "sure"}
    assert result.within == 1
    assert result.blank == ("blank1", "blank2")
    assert result.candidates == result.dropped + 3
    assert told[-1][0] == "confirming"
    joined = {name: name.replace("J", "I0")[:3] for name in pictures}
    assert result.apart(joined) == ()
    joined["J1"] = "J1"
    assert [pair.image_b for pair in result.apart(joined)] == ["J1"]
