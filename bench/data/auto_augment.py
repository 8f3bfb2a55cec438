"""RandAugment and TrivialAugment for a batch, an operation of its own for each image.

The operations and their strengths are torchvision's (`transforms.v2`), with two differences: space
outside the image is its reflection, not black, and shears turn around the centre. Of each round the
images that drew the same operation go through it together, each with its own strength.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from bench.method import Recipe

MAX_OPS = 4
DRAWS_AN_OP = 3
"""Uniform numbers: which operation, how strong, which sign."""
OP_DRAWS = MAX_OPS * DRAWS_AN_OP

HALF = 0.5
LUMA = (0.299, 0.587, 0.114)
TRANSLATED_PIXELS, ASSUMED_PIXELS = 32, 224
"""TrivialAugment translates by up to 32 pixels; taken as a share of images of 224 pixels."""


def _affine(images: torch.Tensor, entries: dict[tuple[int, int], torch.Tensor]) -> torch.Tensor:
    """Resample by maps (N, 2, 3) that are the identity but for some entries (N,)."""
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
    luma = torch.tensor(LUMA, device=images.device)[:, None, None]
    return (images * luma).sum(dim=1, keepdim=True)


def _blend(images: torch.Tensor, other: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """From `other` through the image and beyond: 1 + by of the image, -by of the other."""
    return (images + by[:, None, None, None] * (images - other)).clamp(0, 1)


def _brightness(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _blend(images, torch.zeros_like(images), by)


def _saturation(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _blend(images, _grey(images), by)


def _contrast(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return _blend(images, _grey(images).mean(dim=(2, 3), keepdim=True), by)


def _sharpness(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Against PIL's smoothing (ones around a 5, over 13); the outermost pixels stay, as there."""
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
    """Turn values of 1 - by and above into their negative."""
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
    """What is done, the most that RandAugment and TrivialAugment do of it, both ways or one."""

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
    """RandAugment (`rounds` operations of one strength) or TrivialAugment (one of any strength).

    `auto(images (N, 3, H, W) in [0, 1], draws (N, OP_DRAWS), strength (N,) or None)`.
    """

    policy: str
    rounds: int
    magnitude: float

    @classmethod
    def of(cls, recipe: Recipe) -> AutoAugment | None:
        """The policy that a recipe asks for."""
        if recipe.auto_augment == "none":
            return None
        rounds = recipe.rand_ops if recipe.auto_augment == "rand" else 1
        return cls(recipe.auto_augment, rounds, recipe.rand_magnitude)

    def __call__(
        self, images: torch.Tensor, draws: np.ndarray, strength: np.ndarray | None
    ) -> torch.Tensor:
        # one plane a channel: what looks at single channels is several times faster
        images = images.clone(memory_format=torch.contiguous_format)
        for turn in draws.reshape(len(draws), -1, DRAWS_AN_OP).swapaxes(0, 1)[: self.rounds]:
            # chosen on the CPU, so that a GPU need not wait for the answer
            chosen = (turn[:, 0] * len(OPERATIONS)).astype(int)
            for number, operation in enumerate(OPERATIONS.values()):
                rows = np.flatnonzero(chosen == number)
                if len(rows) and operation.apply is not _identity:
                    stronger = None if strength is None else strength[rows]
                    by = self._amounts(operation, turn[rows], stronger)
                    where = torch.from_numpy(rows).to(images.device)
                    amounts = torch.from_numpy(by).to(images.device, torch.float32)
                    images[where] = operation.apply(images[where], amounts)
        return images

    def _amounts(self, operation: Operation, draws: np.ndarray, strength: Any) -> np.ndarray:
        """How much of an operation each of its images gets."""
        rand = self.policy == "rand"
        shares = np.full(len(draws), self.magnitude) if rand else draws[:, 1]
        if strength is not None:
            shares = (shares * strength).clip(max=1)
        amounts = shares * (operation.rand if rand else operation.trivial)
        return amounts * np.where(draws[:, 2] < HALF, -1, 1) if operation.signed else amounts
