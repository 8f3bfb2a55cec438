"""Preprocessing: each step against OpenCV and NumPy written out, and by what it promises."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bench.data.preprocess import (
    BalanceColour,
    EqualizeContrast,
    RemoveHair,
    Resize,
    described,
    parse_chain,
    preprocess_image_cv,
    preprocessing,
    recorded,
    side_of,
)
from bench.errors import DataError
from bench.job import digest
from bench.recipe import Recipe

EVERYTHING = Recipe(image_size=64, hair_removal=True, colour_constancy=6, clahe=2)


def skin(seed: int, width: int = 600) -> np.ndarray:
    """Hairless skin with a lesion and pores, (0.75 width, width, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    height = width * 3 // 4
    texture = cv2.GaussianBlur(rng.normal(0, 30, (height, width)), (0, 0), 3)
    picture = np.full((height, width, 3), (215, 165, 150)) + texture[..., None]
    for _ in range(40):
        middle = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(picture, middle, 2, (170, 120, 110), -1)
    cv2.ellipse(picture, (width // 2, height // 2), (width // 6, height // 7), 20, 0, 360,
                (110, 70, 60), -1)  # fmt: skip
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 1.5), 0, 255).astype(np.uint8)


def with_hair(picture: np.ndarray, seed: int, hairs: int = 10) -> np.ndarray:
    """The picture with dark curved hairs, one to four pixels wide at a width of 600."""
    rng = np.random.default_rng(seed)
    out = picture.copy()
    size = np.array(picture.shape[1::-1])
    for _ in range(hairs):
        a, b, c = rng.uniform(0, 1, (3, 2)) * size
        t = np.linspace(0, 1, 60)[:, None]
        curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        colour = rng.uniform(20, 60, 3).tolist()
        width = max(1, round(int(rng.integers(1, 5)) * size[0] / 600))
        points = [np.round(curve * 16).astype(np.int32)]
        cv2.polylines(out, points, isClosed=False, color=colour, thickness=width,
                      lineType=cv2.LINE_AA, shift=4)  # fmt: skip
    return out


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_resize_is_opencvs_mean_over_areas():
    picture = skin(0)
    expected = cv2.resize(picture, (50, 50), interpolation=cv2.INTER_AREA)
    assert (Resize(50)(picture) == expected).all()
    blocks = picture.reshape(50, 9, 50, 12, 3).mean(axis=(1, 3))
    assert np.abs(Resize(50)(picture) - blocks).max() <= 0.51
    assert (Resize(50)(expected) == expected).all()


def test_the_hair_mask_is_a_black_hat_without_its_short_pieces():
    picture = with_hair(skin(1), 1)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    cross = np.zeros((17, 17), np.uint8)
    cross[8, :] = cross[:, 8] = 1
    closed = cv2.erode(cv2.dilate(grey, cross), cross)
    dark = (closed.astype(int) - grey > 15).astype(np.uint8)
    count, piece = cv2.connectedComponents(dark)
    expected = np.zeros_like(grey)
    for label in range(1, count):
        rows, columns = np.nonzero(piece == label)
        diagonal = np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1)
        if diagonal >= 40 and diagonal**2 >= 10 * len(rows):
            expected[piece == label] = 255
    mask = RemoveHair().mask(picture)
    assert 0 < (mask > 0).mean() < 0.2
    assert (mask == expected).all()
    painted = cv2.inpaint(picture, mask, 3.0, cv2.INPAINT_TELEA)
    assert (RemoveHair()(picture) == painted).all()


def test_a_dark_blob_is_no_hair():
    bare = skin(2)
    cv2.rectangle(bare, (100, 100), (150, 112), (60, 30, 30), -1)  # long enough, but not thin
    assert not RemoveHair().mask(bare).any()
    cv2.rectangle(bare, (100, 200), (150, 203), (60, 30, 30), -1)
    assert RemoveHair().mask(bare)[195:210].any()


@pytest.mark.parametrize("width", [600, 200, 1200])
@pytest.mark.parametrize("seed", range(3))
def test_hair_is_removed_at_any_size_and_hairless_skin_left_alone(seed: int, width: int):
    bare = skin(seed, width)
    hairy = with_hair(bare, seed)
    bald = RemoveHair()(hairy)
    assert error(bald, bare) < 0.35 * error(hairy, bare)
    assert RemoveHair()(bare) is bare
    again = RemoveHair()(bald)
    assert error(again, bald) < 0.1 * error(hairy, bald)


@pytest.mark.parametrize("seed", range(3))
def test_the_colour_of_the_light_is_taken_out(seed: int):
    """Skin under a coloured light becomes, but for rounding, skin under a grey one."""
    picture = (skin(seed) * 0.7).astype(np.uint8)
    step = BalanceColour()
    neutral = step(picture).astype(float)
    light = np.random.default_rng(seed).uniform(0.7, 1.2, 3)
    lit = np.clip(np.rint(picture * light), 0, 255).astype(np.uint8)
    seen = step(lit).astype(float)
    assert error(seen / seen.mean(), neutral / neutral.mean()) < 0.01
    assert np.ptp(step.light(step(lit))) < 1.0
    assert np.ptp(step.light(lit)) > 5
    assert np.abs(step(step(lit)).astype(int) - step(lit)).max() <= 2


def test_the_light_is_the_minkowski_mean_and_brightness_stays():
    picture = skin(3)
    for norm in (1.0, 6.0):
        step = BalanceColour(norm)
        values = picture.reshape(-1, 3).astype(float)
        light = (values**norm).mean(axis=0) ** (1 / norm)
        assert step.light(picture) == pytest.approx(light)
        gain = np.sqrt((light**2).mean()) / light
        expected = np.clip(np.rint(values * gain), 0, 255).reshape(picture.shape)
        assert (step(picture) == expected).all()
    grey = np.repeat(picture[..., :1], 3, axis=2)
    assert (BalanceColour()(grey) == grey).all()
    black = np.zeros((8, 8, 3), np.uint8)
    assert (BalanceColour()(black) == black).all()
    red = black + np.array([200, 0, 0], np.uint8)
    assert (BalanceColour()(red)[..., 1:] == 0).all()


def test_clahe_touches_the_lightness_only():
    picture = skin(4)
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lightness = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(lab[..., 0])
    merged = cv2.merge([lightness, lab[..., 1], lab[..., 2]])
    expected = cv2.cvtColor(merged, cv2.COLOR_LAB2RGB)
    assert (EqualizeContrast()(picture) == expected).all()
    assert expected.std() > picture.std()


def test_a_recipe_without_switches_is_only_resized():
    assert preprocessing(Recipe(image_size=64)) == (Resize(64),)
    assert recorded((Resize(64),)) == [{"step": "resize", "size": 64, "interpolation": "area"}]


def test_a_chain_is_its_steps_in_order_and_its_record_holds_every_parameter():
    chain = preprocessing(EVERYTHING)
    picture = with_hair(skin(5), 5)
    by_hand = Resize(64)(EqualizeContrast(2.0)(BalanceColour(6.0)(RemoveHair()(picture))))
    before = picture.copy()
    assert (preprocess_image_cv(picture, chain) == by_hand).all()
    assert (picture == before).all()
    assert [step["step"] for step in recorded(chain)] == [
        "remove_hair", "balance_colour", "clahe", "resize",
    ]  # fmt: skip
    assert recorded(chain)[0] == {
        "step": "remove_hair", "kernel": 17, "threshold": 15, "shortest": 40,
        "slender": 10.0, "radius": 3,
    }  # fmt: skip
    assert parse_chain(recorded(chain)) == chain
    assert described(recorded(chain)) == "remove_hair, balance_colour, clahe, resize 64"


def test_every_switch_makes_another_chain():
    switches = [{}, {"hair_removal": True}, {"clahe": 2}, {"clahe": 3}, {"colour_constancy": 6}]
    chains = [preprocessing(Recipe(**one)) for one in switches]
    assert len({digest(recorded(chain)) for chain in chains}) == len(set(chains)) == 5


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 900), (5, 5)])
def test_images_of_any_shape_go_through_every_step(shape: tuple[int, int]):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert preprocess_image_cv(image, preprocessing(EVERYTHING)).shape == (64, 64, 3)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(image: np.ndarray):
    with pytest.raises(DataError, match="preprocessing takes images"):
        preprocess_image_cv(image, (Resize(8),))


def test_an_unknown_step_or_parameter_is_named():
    with pytest.raises(DataError, match="unknown preprocessing step 'blur'; known are remove_hair"):
        parse_chain([{"step": "blur"}])
    with pytest.raises(DataError, match="clahe: .*'limit'"):
        parse_chain([{"step": "clahe", "limit": 3}])


def test_a_chain_without_a_size_fills_no_store():
    with pytest.raises(DataError, match="must end with resize"):
        side_of((RemoveHair(),))
