"""Augmentation of a batch on its device, drawn for each image.

torchvision's v2 transforms draw once for a whole batch, so the draws are made here: one row of
uniform numbers an image, from a stream that depends on the epoch and the image's turn in it. All
geometry is one resampling and all colour one affine map of RGB, each with its own parameters an
image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bench.method import Recipe

DRAWS = 8
"""Uniform numbers an image: two flips, rotation, brightness, contrast, saturation, hue, spare."""

LUMA = torch.tensor([0.299, 0.587, 0.114])
# RGB -> YIQ (NTSC, SMPTE 170M): hue is the angle in the I-Q plane
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class Augment:
    """The switches of augmentation; `augment(images, draws)` applies them.

    images (N, 3, H, W) float in [0, 1], draws (N, DRAWS) uniform in [0, 1). Gives (N, 3, H, W) in
    [0, 1].
    """

    hflip: float
    vflip: float
    rotation: float
    brightness: float
    contrast: float
    saturation: float
    hue: float

    @classmethod
    def of(cls, recipe: Recipe) -> Augment:
        """The augmentation that a recipe asks for."""
        return cls(**{name: getattr(recipe, name) for name in cls.__dataclass_fields__})

    def __call__(self, images: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        numbers = torch.from_numpy(draws).to(images.device, torch.float32)
        images = self._geometry(images, numbers[:, :3])
        return self._colour(images, numbers[:, 3:7])

    def _geometry(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        flip_x, flip_y = draws[:, 0] < self.hflip, draws[:, 1] < self.vflip
        if not self.rotation:
            images = torch.where(flip_x[:, None, None, None], images.flip(-1), images)
            return torch.where(flip_y[:, None, None, None], images.flip(-2), images)
        angle = _spread(draws[:, 2], math.radians(self.rotation))
        sign_x, sign_y = 1 - 2 * flip_x.float(), 1 - 2 * flip_y.float()
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * sign_x, -angle.sin() * sign_y
        theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * sign_x, angle.cos() * sign_y
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _colour(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            return images
        brightness = 1 + _spread(draws[:, 0], self.brightness)
        contrast = 1 + _spread(draws[:, 1], self.contrast)
        saturation = 1 + _spread(draws[:, 2], self.saturation)
        turn = _spread(draws[:, 3], 2 * math.pi * self.hue)
        luma = LUMA.to(images.device)
        matrix = _saturate(saturation, luma) @ _turn_hue(turn)
        matrix = matrix * (brightness * contrast)[:, None, None]
        grey = (images.mean(dim=(2, 3)) @ luma) * brightness
        offset = ((1 - contrast) * grey)[:, None].expand(-1, 3)
        pixels = images.permute(0, 2, 3, 1).flatten(1, 2)
        coloured = torch.baddbmm(offset[:, None, :], pixels, matrix.transpose(1, 2))
        shape = (len(images), *images.shape[2:], 3)
        return coloured.clamp_(0, 1).view(shape).permute(0, 3, 1, 2)


def _spread(uniform: torch.Tensor, width: float) -> torch.Tensor:
    """Uniform [0, 1) to uniform [-width, width)."""
    return (2 * uniform - 1) * width


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
