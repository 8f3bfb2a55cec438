"""RandAugment and TrivialAugment: torchvision's operations, each image with its own."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide
from torchvision.transforms.v2 import functional as reference

from bench.method import Recipe
from bench.train.augment import OP_DRAWS, OPERATIONS, AutoAugment

SIZE = 33
NAMES = {  # ours: torchvision's
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness",
    "saturation": "Color", "contrast": "Contrast", "sharpness": "Sharpness",
    "posterize": "Posterize", "solarize": "Solarize", "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}  # fmt: skip


def images(count=3, size=SIZE):
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(
        torch.rand(count, 3, size + 4, size + 4, generator=generator), 5, stride=1
    )
    return (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 0.8 + 0.1


def apply(name, before, amount):
    return OPERATIONS[name].apply(before, torch.full((len(before),), float(amount)))


def affine(before, **settings):
    plain = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return reference.affine(before, **(plain | settings), interpolation=InterpolationMode.BILINEAR)


@pytest.mark.parametrize(
    ("name", "amount", "expected"),
    [
        ("brightness", -0.4, lambda x: reference.adjust_brightness(x, 0.6)),
        ("brightness", 0.4, lambda x: reference.adjust_brightness(x, 1.4)),
        ("saturation", 0.7, lambda x: reference.adjust_saturation(x, 1.7)),
        ("contrast", -0.5, lambda x: reference.adjust_contrast(x, 0.5)),
        ("sharpness", 0.8, lambda x: reference.adjust_sharpness(x, 1.8)),
        ("sharpness", -0.8, lambda x: reference.adjust_sharpness(x, 0.2)),
        ("posterize", 4, lambda x: reference.posterize(x, 4)),
        ("solarize", 0.4, lambda x: reference.solarize(x, 0.6)),
        ("autocontrast", 0, reference.autocontrast),
        ("equalize", 0, reference.equalize),
        ("identity", 0, lambda x: x),
    ],
)
def test_colours_are_torchvisions(name, amount, expected):
    before = images()
    assert torch.allclose(apply(name, before, amount), expected(before), atol=2e-3)


@pytest.mark.parametrize(
    ("name", "amount", "settings"),
    [
        ("rotate", 20, {"angle": 20.0}),
        ("shear_x", 0.2, {"shear": [-math.degrees(math.atan(0.2)), 0.0]}),
        ("shear_y", 0.2, {"shear": [0.0, -math.degrees(math.atan(0.2))]}),
        ("translate_x", 3 / SIZE, {"translate": [3, 0]}),
        ("translate_y", -5 / SIZE, {"translate": [0, -5]}),
    ],
)
def test_moves_are_torchvisions_where_the_image_still_is(name, amount, settings):
    before = images()
    after, expected = apply(name, before, amount), affine(before, **settings)
    inside = slice(10, -10)
    turned = [affine(before, **{key: _negative(value) for key, value in settings.items()})]
    close = [
        torch.allclose(after[..., inside, inside], each[..., inside, inside], atol=1e-3)
        for each in (expected, *turned)
    ]
    # which way is plus differs for a rotation; both ways are drawn alike
    assert any(close) if name in {"rotate", "shear_x", "shear_y"} else close[0]


def _negative(value):
    return [-each for each in value] if isinstance(value, list) else -value


@pytest.mark.parametrize(
    ("policy", "field", "last"),
    [(RandAugment, "rand", 30), (TrivialAugmentWide, "trivial", 30)],
)
def test_operations_and_their_strengths_are_torchvisions(policy, field, last):
    space = policy()._AUGMENTATION_SPACE
    assert {NAMES[name] for name in OPERATIONS} == set(space)
    size = 224 if field == "trivial" else 331
    for name, operation in OPERATIONS.items():
        magnitudes, signed = space[NAMES[name]]
        drawn = magnitudes(last + 1, size, size)
        most = 0.0 if drawn is None else float(drawn[-1])
        most = {"posterize": 8 - most, "solarize": 1 - most}.get(name, most)
        if name.startswith("translate"):
            most /= size
        assert getattr(operation, field) == pytest.approx(most), name
        assert operation.signed is signed


def draws(count, seed=0):
    return np.random.default_rng(seed).random((count, OP_DRAWS), dtype=np.float32)


@pytest.mark.parametrize("policy", ["rand", "trivial"])
def test_each_image_has_its_own_draw_and_the_order_of_the_batch_changes_nothing(policy):
    auto = AutoAugment.of(Recipe(auto_augment=policy, rand_magnitude=0.9))
    same, numbers = images(1).repeat(40, 1, 1, 1), draws(40)
    after = auto(same, numbers, None)
    assert len({tuple(image.flatten()[::7].tolist()) for image in after}) > 25
    shuffled = np.random.default_rng(1).permutation(40)
    assert torch.allclose(auto(same, numbers[shuffled], None), after[shuffled], atol=1e-6)
    alone = auto(same[:1], numbers[7:8], None)
    assert torch.allclose(alone[0], after[7], atol=1e-6)
    assert after.min() >= 0
    assert after.max() <= 1
    assert torch.equal(same, images(1).repeat(40, 1, 1, 1))


def test_rand_augment_does_as_many_operations_as_it_says():
    numbers = np.full((1, OP_DRAWS), 0.999, np.float32)
    brightness = list(OPERATIONS).index("brightness")
    numbers[:, ::3] = (brightness + 0.5) / len(OPERATIONS)
    before = 0.2 + 0 * images(1)
    for rounds in (1, 2, 3):
        auto = AutoAugment.of(Recipe(auto_augment="rand", rand_ops=rounds, rand_magnitude=0.1))
        assert torch.allclose(auto(before, numbers, None), before * 1.09**rounds, atol=1e-5)


def test_without_a_policy_there_is_none():
    assert AutoAugment.of(Recipe()) is None


def test_a_rare_class_gets_more_of_an_operation_but_never_more_than_all():
    auto = AutoAugment("rand", 1, 0.4)
    numbers = np.full((3, 3), 0.999, np.float32)
    strength = np.array([1, 2, 9], np.float32)
    amounts = auto._amounts(OPERATIONS["rotate"], numbers, strength)
    assert np.allclose(amounts, [12, 24, 30])
