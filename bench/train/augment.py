"""Augmentation of batches: flips, colour, RandAugment, TrivialAugment, CutMix and MixUp.

Operations and strengths are those of torchvision (`transforms.v2`), with two differences: borders
are filled by reflection, not black, and shears are centred. Images with the same operation are
processed together, each with its own strength.

torchvision's v2 transforms draw random numbers once per batch; here each image has its own row of
random draws. All geometry is one resampling and all colour one affine map of RGB, with parameters
per image. RandAugment or TrivialAugment (`auto_augment`) follow; random erasing is last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torchvision.transforms import v2

from bench.method import Recipe

MAX_OPS = 4
DRAWS_PER_OP = 3
"""Random draws of an operation: its index, strength and sign."""
OP_DRAWS = MAX_OPS * DRAWS_PER_OP

HALF = 0.5
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
TRANSLATED_PIXELS, ASSUMED_PIXELS = 32, 224
"""TrivialAugment translates by up to 32 pixels, here as a share of 224 pixels."""


def _affine(images: torch.Tensor, entries: dict[tuple[int, int], torch.Tensor]) -> torch.Tensor:
    """Resample by affine maps: the identity, with some entries (row, column) set to values (N,)."""
    theta = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    for (row, column), values in entries.items():
        theta[:, row, column] = values
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _shear_x(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _affine(images, {(0, 1): by})


def _shear_y(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _affine(images, {(1, 0): by})


def _translate_x(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _affine(images, {(0, 2): -2 * by})


def _translate_y(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _affine(images, {(1, 2): -2 * by})


def _rotate(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    angle = by.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    return _affine(images, {(0, 0): cos, (0, 1): -sin, (1, 0): sin, (1, 1): cos})


def _grey(images: torch.Tensor) -> torch.Tensor:
    luma = torch.tensor(LUMA_WEIGHTS, device=images.device)[:, None, None]
    return (images * luma).sum(dim=1, keepdim=True)


def _blend(images: torch.Tensor, other: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Blend or extrapolate: (1 + by) times the image minus by times the other, clipped."""
    return (images + by[:, None, None, None] * (images - other)).clamp(0, 1)


def _brightness(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _blend(images, torch.zeros_like(images), by)


def _saturation(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _blend(images, _grey(images), by)


def _contrast(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _blend(images, _grey(images).mean(dim=(2, 3), keepdim=True), by)


def _sharpness(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Blend with PIL's SMOOTH filter (ones around a 5, over 13); border pixels are unchanged."""
    across = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    nine = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = (nine + 4 * images[..., 1:-1, 1:-1]) / 13
    return _blend(images, smooth, by)


def _posterize(images: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """Keep the upper 8 - dropped of 8 bits."""
    levels = (2 ** (8 - dropped.round()))[:, None, None, None]
    return torch.minimum((images * levels).floor(), levels - 1) / levels


def _solarize(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Invert values of 1 - by and above."""
    return torch.where(images >= (1 - by)[:, None, None, None], 1 - images, images)


def _autocontrast(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    spread = high - low
    stretched = (images - low) / torch.where(spread > 0, spread, torch.ones_like(spread))
    return torch.where(spread > 0, stretched, images)


def _equalize(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms.v2 import functional as torchvision

    equalized: torch.Tensor = torchvision.equalize(images)
    return equalized


def _identity(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return images


@dataclass(frozen=True)
class Operation:
    """An operation, its largest strength in RandAugment and TrivialAugment, and if it is signed."""

    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    rand: float = 0.0
    trivial: float = 0.0
    signed: bool = False


_TRANSLATED = TRANSLATED_PIXELS / ASSUMED_PIXELS
OPERATIONS = {
    "identity": Operation(_identity),
    "shear_x": Operation(_shear_x, 0.3, 0.99, signed=True),
    "shear_y": Operation(_shear_y, 0.3, 0.99, signed=True),
    "translate_x": Operation(_translate_x, 150 / 331, _TRANSLATED, signed=True),
    "translate_y": Operation(_translate_y, 150 / 331, _TRANSLATED, signed=True),
    "rotate": Operation(_rotate, 30, 135, signed=True),
    "brightness": Operation(_brightness, 0.9, 0.99, signed=True),
    "saturation": Operation(_saturation, 0.9, 0.99, signed=True),
    "contrast": Operation(_contrast, 0.9, 0.99, signed=True),
    "sharpness": Operation(_sharpness, 0.9, 0.99, signed=True),
    "posterize": Operation(_posterize, 4, 6),
    "solarize": Operation(_solarize, 1, 1),
    "autocontrast": Operation(_autocontrast),
    "equalize": Operation(_equalize),
}


@dataclass(frozen=True)
class AutoAugment:
    """RandAugment (`rounds` operations of one strength) or TrivialAugment (one, random strength).

    `auto(images (N, 3, H, W) in [0, 1], draws (N, OP_DRAWS), strength (N,) or None)` gives images.
    """

    policy: str
    rounds: int
    magnitude: float

    @classmethod
    def of(cls, recipe: Recipe) -> AutoAugment | None:
        """The recipe's policy, or None."""
        if recipe.auto_augment == "none":
            return None
        rounds = recipe.rand_ops if recipe.auto_augment == "rand" else 1
        return cls(recipe.auto_augment, rounds, recipe.rand_magnitude)

    def __call__(
        self, images: torch.Tensor, draws: np.ndarray, strength: np.ndarray | None
    ) -> torch.Tensor:
        # contiguous channels: operations on single channels are several times faster
        images = images.clone(memory_format=torch.contiguous_format)
        for numbers in draws.reshape(len(draws), -1, DRAWS_PER_OP).swapaxes(0, 1)[: self.rounds]:
            # chosen on the CPU, so that a GPU need not synchronise
            chosen = (numbers[:, 0] * len(OPERATIONS)).astype(int)
            for index, operation in enumerate(OPERATIONS.values()):
                rows = np.flatnonzero(chosen == index)
                if len(rows) and operation.apply is not _identity:
                    stronger = None if strength is None else strength[rows]
                    by = self._amounts(operation, numbers[rows], stronger)
                    where = torch.from_numpy(rows).to(images.device)
                    amounts = torch.from_numpy(by).to(images.device, torch.float32)
                    images[where] = operation.apply(images[where], amounts)
        return images

    def _amounts(self, operation: Operation, draws: np.ndarray, strength: Any) -> np.ndarray:
        """Signed strength (n,) of an operation for each of its images."""
        rand = self.policy == "rand"
        shares = np.full(len(draws), self.magnitude) if rand else draws[:, 1]
        if strength is not None:
            shares = (shares * strength).clip(max=1)
        amounts = shares * (operation.rand if rand else operation.trivial)
        return amounts * np.where(draws[:, 2] < HALF, -1, 1) if operation.signed else amounts


DRAWS = 8
"""Random draws per position: two flips, rotation, brightness, contrast, saturation, hue, unused."""
SAMPLE_DRAWS = 6 + OP_DRAWS
"""Random draws per occurrence of an image: scale, erasing (if, area, ratio, y, x), operations."""

ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = 3.3
"""Largest ratio of height to width, and of width to height."""
MAX_CHANGE, MAX_ROTATION, MAX_HUE = 0.95, 180.0, 0.5

LUMA = torch.tensor([0.299, 0.587, 0.114])
# RGB -> YIQ (NTSC, SMPTE 170M): hue is the angle in the I-Q plane
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class Draws:
    """Random draws for N images: uniform in [0, 1), float32.

    position  (N, DRAWS), by the image's position in the epoch
    sample    (N, SAMPLE_DRAWS), by the image and its number of earlier occurrences in the epoch
    strength  (N,) factor of the augmentation's strength, or None for 1
    """

    position: np.ndarray
    sample: np.ndarray
    strength: np.ndarray | None = None

    def __getitem__(self, rows: slice) -> Draws:
        strength = None if self.strength is None else self.strength[rows]
        return Draws(self.position[rows], self.sample[rows], strength)


Width = float | torch.Tensor


@dataclass(frozen=True)
class Augment:
    """The recipe's augmentation; `augment(images, draws)` applies it.

    images (N, 3, S, S) float in [0, 1]; gives (N, 3, S, S) in [0, 1].
    """

    hflip: float
    vflip: float
    rotation: float
    scale: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    erasing_prob: float
    auto: AutoAugment | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> Augment:
        """The augmentation of a recipe."""
        names = set(cls.__dataclass_fields__) - {"auto"}
        return cls(**{name: getattr(recipe, name) for name in names}, auto=AutoAugment.of(recipe))

    def __call__(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        def tensor(numbers: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(numbers).to(images.device, torch.float32)

        position, sample = tensor(draws.position), tensor(draws.sample)
        strength = None if draws.strength is None else tensor(draws.strength)
        if self.rotation or self.scale:
            images = self._geometry(images, position[:, :3], sample[:, 0], strength)
        else:
            flips = draws.position[:, :2] < (self.hflip, self.vflip)
            images = _flipped(images, flips)
        images = self._colour(images, position[:, 3:7], strength)
        if self.auto is not None:
            images = self.auto(images, draws.sample[:, 6:], draws.strength)
        chances = draws.sample[:, 1] / (1.0 if draws.strength is None else draws.strength)
        rows = np.flatnonzero(chances < self.erasing_prob)
        if len(rows):
            where = torch.from_numpy(rows).to(images.device)
            chosen, images = images[where], images.clone()
            rectangles = _rectangles(chosen, sample[where, 2:6])
            images[where] = torch.where(rectangles, chosen.mean((2, 3), keepdim=True), chosen)
        return images

    def _geometry(
        self, images: torch.Tensor, draws: torch.Tensor, zoom: torch.Tensor, strength: Strength
    ) -> torch.Tensor:
        flip_x, flip_y = draws[:, 0] < self.hflip, draws[:, 1] < self.vflip
        rotation = _stronger(self.rotation, strength, MAX_ROTATION)
        angle = _spread(draws[:, 2], rotation * (math.pi / 180))
        sign_x, sign_y = 1 - 2 * flip_x.float(), 1 - 2 * flip_y.float()
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * sign_x, -angle.sin() * sign_y
        theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * sign_x, angle.cos() * sign_y
        if self.scale:
            size = 1 + _spread(zoom, _stronger(self.scale, strength, MAX_CHANGE))
            theta = theta / size[:, None, None]
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _colour(
        self, images: torch.Tensor, draws: torch.Tensor, strength: Strength
    ) -> torch.Tensor:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            return images
        brightness = 1 + _spread(draws[:, 0], _stronger(self.brightness, strength, MAX_CHANGE))
        contrast = 1 + _spread(draws[:, 1], _stronger(self.contrast, strength, MAX_CHANGE))
        saturation = 1 + _spread(draws[:, 2], _stronger(self.saturation, strength, MAX_CHANGE))
        hue = _spread(draws[:, 3], 2 * math.pi * _stronger(self.hue, strength, MAX_HUE))
        luma = LUMA.to(images.device)
        matrix = _saturate(saturation, luma) @ _rotate_hue(hue)
        matrix = matrix * (brightness * contrast)[:, None, None]
        grey = (images.mean(dim=(2, 3)) @ luma) * brightness
        offset = ((1 - contrast) * grey)[:, None].expand(-1, 3)
        pixels = images.permute(0, 2, 3, 1).flatten(1, 2)
        coloured = torch.baddbmm(offset[:, None, :], pixels, matrix.transpose(1, 2))
        shape = (len(images), *images.shape[2:], 3)
        return coloured.clamp_(0, 1).view(shape).permute(0, 3, 1, 2)


Strength = torch.Tensor | None


def _stronger(width: float, strength: Strength, largest: float) -> Width:
    """An option's width times the strength of each image, at most `largest`."""
    return width if strength is None else (width * strength).clamp(max=max(width, largest))


def _spread(uniform: torch.Tensor, width: Width) -> torch.Tensor:
    """Map uniform [0, 1) to uniform [-width, width)."""
    return (2 * uniform - 1) * width


def _flipped(images: torch.Tensor, flips: np.ndarray) -> torch.Tensor:
    """Flip images: flips (N, 2) bool, along x and along y."""
    flipped = images.clone()
    for along_x, along_y, axes in ((1, 0, (-1,)), (0, 1, (-2,)), (1, 1, (-2, -1))):
        rows = np.flatnonzero((flips[:, 0] == along_x) & (flips[:, 1] == along_y))
        if len(rows):
            where = torch.from_numpy(rows).to(images.device)
            flipped[where] = images[where].flip(axes)
    return flipped


def _rectangles(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Masks (N, 1, H, W) of the rectangle that random erasing takes from each image."""
    smallest, largest = ERASED_AREA
    area = smallest + (largest - smallest) * draws[:, 0]
    ratio = torch.exp(_spread(draws[:, 1], math.log(ERASED_RATIO)))
    height, width = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    top, left = draws[:, 2] * (1 - height), draws[:, 3] * (1 - width)
    y, x = ((torch.arange(size, device=images.device) + 0.5) / size for size in images.shape[2:])
    rows = (y >= top[:, None]) & (y < (top + height)[:, None])
    columns = (x >= left[:, None]) & (x < (left + width)[:, None])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _saturate(factor: torch.Tensor, luma: torch.Tensor) -> torch.Tensor:
    """Matrices (N, 3, 3) that change the saturation."""
    identity = torch.eye(3, device=factor.device)
    return factor[:, None, None] * identity + (1 - factor)[:, None, None] * luma.expand(3, 3)


def _rotate_hue(angle: torch.Tensor) -> torch.Tensor:
    """Matrices (N, 3, 3) that rotate the hue by an angle in radians and keep the luma."""
    rotation = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    rotation[:, 1, 1] = rotation[:, 2, 2] = angle.cos()
    rotation[:, 1, 2], rotation[:, 2, 1] = -angle.sin(), angle.sin()
    yiq = YIQ.to(angle.device)
    matrices: torch.Tensor = torch.linalg.inv(yiq) @ rotation @ yiq
    return matrices


Mix = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class NoMix:
    """Null variant: images unchanged, labels (N,) one-hot (N, C)."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return images, functional.one_hot(labels, self.num_classes).float()


class BatchMix:
    """CutMix, MixUp or neither, drawn once per batch."""

    def __init__(self, recipe: Recipe, num_classes: int) -> None:
        self.cutmix_prob, self.mixup_prob = recipe.cutmix_prob, recipe.mixup_prob
        self.cutmix = v2.CutMix(alpha=recipe.cutmix_alpha, num_classes=num_classes)
        self.mixup = v2.MixUp(alpha=recipe.mixup_alpha, num_classes=num_classes)
        self.neither = NoMix(num_classes)

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        draw = torch.rand(()).item()
        if draw < self.cutmix_prob:
            mixed: tuple[torch.Tensor, torch.Tensor] = self.cutmix(images, labels)
        elif draw < self.cutmix_prob + self.mixup_prob:
            mixed = self.mixup(images, labels)
        else:
            mixed = self.neither(images, labels)
        return mixed


def mixing(recipe: Recipe, num_classes: int, epoch: int) -> Mix:
    """The mixing of an epoch; none in the last `mix_off_epochs`."""
    mixes = recipe.cutmix_prob > 0 or recipe.mixup_prob > 0
    if mixes and epoch < recipe.epochs - recipe.mix_off_epochs:
        return BatchMix(recipe, num_classes)
    return NoMix(num_classes)
