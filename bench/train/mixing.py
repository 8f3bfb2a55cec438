"""CutMix (Yun et al. 2019) and MixUp (Zhang et al. 2018), by torchvision, with probabilities."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional
from torchvision.transforms import v2

from bench.method import Recipe

Mix = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class NoMix:
    """Images as they are, labels (N,) as one-hot shares (N, C)."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return images, functional.one_hot(labels, self.num_classes).float()


class BatchMix:
    """CutMix with one probability, MixUp with another, else neither: drawn once a batch."""

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
    """The mixing of an epoch; none where the recipe has none, nor in its last epochs."""
    mixes = recipe.cutmix_prob > 0 or recipe.mixup_prob > 0
    if mixes and epoch < recipe.epochs - recipe.mix_off_epochs:
        return BatchMix(recipe, num_classes)
    return NoMix(num_classes)
