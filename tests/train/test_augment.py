"""Augmentation: each image its own draw; colours and turns as torchvision does them."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from bench.train.augment import DRAWS, SAMPLE_DRAWS, Augment, Draws

NOTHING = {
    "hflip": 0.0, "vflip": 0.0, "rotation": 0.0, "brightness": 0.0, "contrast": 0.0,
    "saturation": 0.0, "hue": 0.0, "scale": 0.0, "erasing_prob": 0.0,
}  # fmt: skip


def images(count=4, size=16):
    generator = torch.Generator().manual_seed(0)
    # mid-range values, so that nothing is clamped
    return 0.3 + 0.4 * torch.rand(count, 3, size, size, generator=generator)


def draws(count=4, **set_):
    numbers = np.full((count, DRAWS), 0.5, np.float32)
    for column, value in set_.items():
        numbers[:, int(column[1:])] = value
    return Draws(numbers, np.full((count, SAMPLE_DRAWS), 0.5, np.float32))


def test_without_switches_nothing_changes():
    before = images()
    assert torch.equal(Augment(**NOTHING)(before.clone(), draws()), before)


@pytest.mark.parametrize("rotation", [0.0, 1e-6])
def test_flips_are_flips_of_single_images(rotation):
    before = images()
    numbers = draws(d0=np.array([0.1, 0.9, 0.1, 0.9]), d1=np.array([0.1, 0.1, 0.9, 0.9]))
    after = Augment(**(NOTHING | {"hflip": 0.5, "vflip": 0.5, "rotation": rotation}))(
        before, numbers
    )
    expected = torch.stack(
        [before[0].flip(-1).flip(-2), before[1].flip(-2), before[2].flip(-1), before[3]]
    )
    assert torch.allclose(after, expected, atol=1e-4)


def test_a_quarter_turn_is_a_quarter_turn():
    before = images()
    after = Augment(**(NOTHING | {"rotation": 90.0}))(before, draws(d2=0.0))
    assert torch.allclose(after, before.rot90(-1, (-2, -1)), atol=1e-4)


@pytest.mark.parametrize(
    ("switch", "column", "adjust"),
    [
        ("brightness", "d3", reference.adjust_brightness),
        ("saturation", "d5", reference.adjust_saturation),
    ],
)
@pytest.mark.parametrize("draw", [0.0, 0.3, 0.9])
def test_colours_change_as_torchvision_changes_them(switch, column, adjust, draw):
    before = images()
    after = Augment(**(NOTHING | {switch: 0.2}))(before, draws(**{column: draw}))
    assert torch.allclose(after, adjust(before, 1 + (2 * draw - 1) * 0.2), atol=2e-3)


def test_contrast_changes_around_the_mean_grey_of_each_image():
    before = images()
    after = Augment(**(NOTHING | {"contrast": 0.5}))(before, draws(d4=0.0))
    weights = torch.tensor([0.299, 0.587, 0.114])
    grey = (before.mean(dim=(2, 3)) @ weights)[:, None, None, None]
    assert torch.allclose(after, 0.5 * before + 0.5 * grey, atol=1e-5)


def test_turning_the_hue_keeps_the_luma_and_a_full_turn_changes_nothing():
    before = 0.45 + 0.1 * torch.rand(2, 3, 8, 8)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    half = Augment(**(NOTHING | {"hue": 0.5}))
    turned = half(before, draws(2, d6=0.75))
    assert torch.allclose((turned * weights).sum(1), (before * weights).sum(1), atol=1e-4)
    assert not torch.allclose(turned, before, atol=1e-2)
    assert torch.allclose(half(before, draws(2, d6=0.0)), half(before, draws(2, d6=1.0)), atol=1e-4)


def test_images_of_a_batch_are_drawn_apart_and_stay_in_range():
    rng = np.random.default_rng(0)
    numbers = Draws(*(rng.random((4, n), dtype=np.float32) for n in (DRAWS, SAMPLE_DRAWS)))
    augment = Augment(0.5, 0.5, 180, 0.2, 0.5, 0.5, 0.5, 0.1, 0.0)
    same = images(1).repeat(4, 1, 1, 1)
    after = augment(same, numbers)
    assert all(
        not torch.allclose(after[i], after[j], atol=1e-2) for i in range(4) for j in range(i)
    )
    assert after.min() >= 0
    assert after.max() <= 1
    alone = augment(same[2:3], numbers[2:3])
    assert torch.allclose(alone[0], after[2], atol=1e-5)
    assert math.isfinite(after.sum().item())


def sample(before, **columns):
    numbers = np.full((len(before), SAMPLE_DRAWS), 0.5, np.float32)
    for column, value in columns.items():
        numbers[:, int(column[1:])] = value
    return Draws(draws(len(before)).position, numbers)


def test_a_zoom_is_torchvisions():
    before = images(size=32)
    after = Augment(**(NOTHING | {"scale": 0.5}))(before, sample(before, s0=0.9))
    expected = reference.affine(
        before, 0.0, [0, 0], 1.4, [0.0, 0.0], interpolation=reference.InterpolationMode.BILINEAR
    )
    assert torch.allclose(after, expected, atol=1e-4)


@pytest.mark.parametrize(("area", "ratio"), [(0.0, 0.5), (0.5, 0.9), (0.9, 0.3)])
def test_erasing_takes_a_rectangle_of_the_drawn_area_and_ratio(area, ratio):
    before = images(size=64)
    after = Augment(**(NOTHING | {"erasing_prob": 1.0}))(before, sample(before, s2=area, s3=ratio))
    erased = (after != before).any(dim=1)
    rows, columns = erased[0].any(dim=1).sum().item(), erased[0].any(dim=0).sum().item()
    assert erased[0].sum() == rows * columns
    wanted = 0.02 + 0.31 * area
    height_to_width = math.exp((2 * ratio - 1) * math.log(3.3))
    assert abs(rows - 64 * math.sqrt(wanted * height_to_width)) <= 1
    assert abs(columns - 64 * math.sqrt(wanted / height_to_width)) <= 1
    filled = after[0][:, erased[0]]
    assert torch.allclose(filled, before[0].mean(dim=(1, 2))[:, None].expand_as(filled))


def test_erasing_happens_as_often_as_its_probability():
    before = images(4)
    chances = np.array([0.1, 0.3, 0.5, 0.9])
    after = Augment(**(NOTHING | {"erasing_prob": 0.4}))(before, sample(before, s1=chances))
    assert (after != before).flatten(1).any(dim=1).tolist() == [True, True, False, False]


def test_a_rare_class_is_turned_further():
    before = images(2, size=32)
    numbers = draws(2, d2=1.0)
    stronger = Draws(numbers.position, numbers.sample, np.array([1, 3], np.float32))
    after = Augment(**(NOTHING | {"rotation": 20.0}))(before, stronger)
    assert torch.allclose(
        after[1], Augment(**(NOTHING | {"rotation": 60.0}))(before, numbers)[1], atol=1e-4
    )
    assert torch.allclose(
        after[0], Augment(**(NOTHING | {"rotation": 20.0}))(before, numbers)[0], atol=1e-4
    )


def test_strength_one_changes_nothing():
    before, rng = images(4), np.random.default_rng(0)
    turn, own = (rng.random((4, n), dtype=np.float32) for n in (DRAWS, SAMPLE_DRAWS))
    augment = Augment(0.5, 0.5, 90, 0.2, 0.5, 0.5, 0.5, 0.1, 0.5)
    plain = augment(before, Draws(turn, own))
    same = augment(before, Draws(turn, own, np.ones(4, np.float32)))
    assert torch.allclose(plain, same, atol=1e-5)
