"""Measures of a picture: what is blurred, dark, tinted or hairy comes out so."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bench.data.exploration import examples, measure, measure_images, thumbnail
from bench.data.images import find_images


@pytest.fixture
def skin() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(rng.normal((200, 160, 140), 12, (300, 400, 3)), 0, 255).astype(np.uint8)


def test_a_blurred_picture_is_less_sharp(skin):
    assert measure(cv2.GaussianBlur(skin, (0, 0), 3)).sharpness < measure(skin).sharpness / 5


def test_brightness_and_cast_are_cielabs():
    grey = measure(np.full((40, 50, 3), 119, np.uint8))
    assert grey.brightness == pytest.approx(50.03, abs=0.3)
    assert grey.colour_cast == pytest.approx(0, abs=0.1)
    red = measure(np.full((40, 50, 3), (255, 0, 0), np.uint8))
    assert red.brightness == pytest.approx(53.24, abs=0.3)
    assert red.colour_cast == pytest.approx(np.hypot(80.09, 67.20), abs=0.5)


def test_drawn_hairs_are_counted(skin):
    smooth = cv2.GaussianBlur(skin, (0, 0), 4)
    hairy = smooth.copy()
    for at in range(20, 380, 40):
        cv2.line(hairy, (at, 20), (at - 15, 280), (40, 30, 25), 3)
    assert measure(smooth).hair == 0
    assert 0.02 < measure(hairy).hair < 0.2


def test_more_pixels_alone_make_nothing_sharper(skin):
    large = cv2.resize(skin, (1600, 1200), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(large, (600, 450), interpolation=cv2.INTER_AREA)
    assert measure(large).sharpness == pytest.approx(measure(small).sharpness, rel=0.05)
    assert (measure(large).width, measure(large).height) == (1600, 1200)


def test_every_image_is_measured_by_its_id(small_source):
    seen: list[int] = []
    table = measure_images(find_images(small_source), lambda: seen.append(1))
    assert table.index.tolist() == small_source.manifest.image_ids.tolist()
    assert len(seen) == len(table)
    assert (table["width"] == 32).all()


def test_examples_come_from_different_groups(small_manifest):
    table = small_manifest.table.assign(group=small_manifest.native_groups)
    chosen = examples(table, 5, np.random.default_rng(0))
    group = dict(zip(table["image_id"], table["group"], strict=True))
    for ids in chosen.values():
        assert len({group[one] for one in ids}) == len(ids) == 5


def test_a_thumbnail_is_a_small_jpeg(skin):
    made = cv2.imdecode(np.frombuffer(thumbnail(skin), np.uint8), cv2.IMREAD_COLOR)
    assert made is not None
    assert made.shape == (96, 128, 3)
