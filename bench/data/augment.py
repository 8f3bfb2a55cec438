"""Augmentation of a batch on its device, drawn for each image.

torchvision's v2 transforms draw once for a whole batch, so the draws are made here: rows of
uniform numbers an image. All geometry is one resampling and all colour one affine map of RGB, each
with its own parameters an image; RandAugment and TrivialAugment follow (`auto_augment`), random
erasing comes last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bench.data.auto_augment import OP_DRAWS, AutoAugment
from bench.method import Recipe

DRAWS = 8
"""Numbers an image and turn: two flips, rotation, brightness, contrast, saturation, hue, spare."""
SAMPLE_DRAWS = 6 + OP_DRAWS
"""Numbers an image and showing: scale, erasing (whether, area, ratio, y, x), the operations."""

ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = 3.3
"""Height over width, at most; width over height, likewise."""
MOST_CHANGE, MOST_TURN, MOST_HUE = 0.95, 180.0, 0.5

LUMA = torch.tensor([0.299, 0.587, 0.114])
# RGB -> YIQ (NTSC, SMPTE 170M): hue is the angle in the I-Q plane
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class Draws:
    """Uniform numbers in [0, 1) for N images, float32.

    turn      (N, DRAWS), of the image's place in the epoch
    sample    (N, SAMPLE_DRAWS), of the image itself and how often the epoch has shown it
    strength  (N,) how much stronger than the recipe's its augmentation is, or None: as the recipe's
    """

    turn: np.ndarray
    sample: np.ndarray
    strength: np.ndarray | None = None

    def __getitem__(self, rows: slice) -> Draws:
        strength = None if self.strength is None else self.strength[rows]
        return Draws(self.turn[rows], self.sample[rows], strength)


Width = float | torch.Tensor


@dataclass(frozen=True)
class Augment:
    """The switches of augmentation; `augment(images, draws)` applies them.

    images (N, 3, H, W) float in [0, 1], square. Gives (N, 3, H, W) in [0, 1].
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
        """The augmentation that a recipe asks for."""
        names = set(cls.__dataclass_fields__) - {"auto"}
        return cls(**{name: getattr(recipe, name) for name in names}, auto=AutoAugment.of(recipe))

    def __call__(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        def tensor(numbers: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(numbers).to(images.device, torch.float32)

        turn, sample = tensor(draws.turn), tensor(draws.sample)
        strength = None if draws.strength is None else tensor(draws.strength)
        if self.rotation or self.scale:
            images = self._geometry(images, turn[:, :3], sample[:, 0], strength)
        else:
            flips = draws.turn[:, :2] < (self.hflip, self.vflip)
            images = _flipped(images, flips)
        images = self._colour(images, turn[:, 3:7], strength)
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
        rotation = _stronger(self.rotation, strength, MOST_TURN)
        angle = _spread(draws[:, 2], rotation * (math.pi / 180))
        sign_x, sign_y = 1 - 2 * flip_x.float(), 1 - 2 * flip_y.float()
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * sign_x, -angle.sin() * sign_y
        theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * sign_x, angle.cos() * sign_y
        if self.scale:
            size = 1 + _spread(zoom, _stronger(self.scale, strength, MOST_CHANGE))
            theta = theta / size[:, None, None]
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _colour(
        self, images: torch.Tensor, draws: torch.Tensor, strength: Strength
    ) -> torch.Tensor:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            return images
        brightness = 1 + _spread(draws[:, 0], _stronger(self.brightness, strength, MOST_CHANGE))
        contrast = 1 + _spread(draws[:, 1], _stronger(self.contrast, strength, MOST_CHANGE))
        saturation = 1 + _spread(draws[:, 2], _stronger(self.saturation, strength, MOST_CHANGE))
        turn = _spread(draws[:, 3], 2 * math.pi * _stronger(self.hue, strength, MOST_HUE))
        luma = LUMA.to(images.device)
        matrix = _saturate(saturation, luma) @ _turn_hue(turn)
        matrix = matrix * (brightness * contrast)[:, None, None]
        grey = (images.mean(dim=(2, 3)) @ luma) * brightness
        offset = ((1 - contrast) * grey)[:, None].expand(-1, 3)
        pixels = images.permute(0, 2, 3, 1).flatten(1, 2)
        coloured = torch.baddbmm(offset[:, None, :], pixels, matrix.transpose(1, 2))
        shape = (len(images), *images.shape[2:], 3)
        return coloured.clamp_(0, 1).view(shape).permute(0, 3, 1, 2)


Strength = torch.Tensor | None


def _stronger(width: float, strength: Strength, most: float) -> Width:
    """A switch's width, made stronger for each image, up to the most that makes sense."""
    return width if strength is None else (width * strength).clamp(max=max(width, most))


def _spread(uniform: torch.Tensor, width: Width) -> torch.Tensor:
    """Uniform [0, 1) to uniform [-width, width)."""
    return (2 * uniform - 1) * width


def _flipped(images: torch.Tensor, flips: np.ndarray) -> torch.Tensor:
    """Images with some of them flipped: flips (N, 2) bool, along x and along y."""
    flipped = images.clone()
    for along_x, along_y, axes in ((1, 0, (-1,)), (0, 1, (-2,)), (1, 1, (-2, -1))):
        rows = np.flatnonzero((flips[:, 0] == along_x) & (flips[:, 1] == along_y))
        if len(rows):
            where = torch.from_numpy(rows).to(images.device)
            flipped[where] = images[where].flip(axes)
    return flipped


def _rectangles(images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Which pixels (N, 1, H, W) lie in the rectangle that random erasing takes from each image."""
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
    """Matrices (N, 3, 3) that blend a colour with its grey."""
    identity = torch.eye(3, device=factor.device)
    return factor[:, None, None] * identity + (1 - factor)[:, None, None] * luma.expand(3, 3)


def _turn_hue(angle: torch.Tensor) -> torch.Tensor:
    """Matrices (N, 3, 3) that turn the hue by an angle in radians and keep the luma."""
    turn = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
    yiq = YIQ.to(angle.device)
    matrices: torch.Tensor = torch.linalg.inv(yiq) @ turn @ yiq
    return matrices
