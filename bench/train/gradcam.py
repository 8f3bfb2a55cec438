"""Where a model looked: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), by pytorch-grad-cam.

The map is of the deepest features that still are at least 4 x 4, since at small image sizes a
network's last ones are a single pixel. A map shows what moved a score, not why, and is no evidence
that the model looks at the right thing for the right reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.errors import MethodError
from bench.train.classifier import Classifier

LEAST_SIDE = 4
IMAGE_DIMENSIONS = 4


@dataclass(frozen=True)
class Features:
    """The layer whose output is explained, and how that output becomes (N, channels, H, W)."""

    name: str
    layer: nn.Module
    layout: str
    skipped: int = 0

    def as_images(self, output: torch.Tensor) -> torch.Tensor:
        """The layer's output as (N, channels, H, W)."""
        if self.layout == "NHWC":
            return output.permute(0, 3, 1, 2)
        if self.layout == "NLC":
            patches = output[:, self.skipped :]
            side = round(patches.shape[1] ** 0.5)
            return patches.transpose(1, 2).reshape(len(patches), -1, side, side)
        return output


def features_of(model: nn.Module, image: torch.Tensor) -> Features:
    """The layer to explain for images like this one (1, 3, S, S).

    For a transformer of tokens the norm before its last attention, since behind that the patches
    have no say any more. Raises MethodError for a model without any features of a place.
    """
    if hasattr(model, "blocks") and hasattr(model, "num_prefix_tokens"):
        transformer: Any = model
        skipped = int(transformer.num_prefix_tokens)
        return Features("blocks[-1].norm1", transformer.blocks[-1].norm1, "NLC", skipped)
    layout = str(getattr(model, "output_fmt", "NCHW"))
    called: list[tuple[str, nn.Module, bool]] = []

    def noting(name: str) -> Any:
        def note(module: nn.Module, _: Any, output: Any) -> None:
            fits = isinstance(output, torch.Tensor) and output.ndim == IMAGE_DIMENSIONS
            sides = (output.shape[1:3] if layout == "NHWC" else output.shape[2:]) if fits else ()
            called.append((name, module, bool(sides) and min(sides) >= LEAST_SIDE))

        return note

    hooks = [m.register_forward_hook(noting(name)) for name, m in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    times = [module for _, module, _ in called]
    placed = [(n, m) for n, m, fits in called if fits and sum(m is other for other in times) == 1]
    if not placed:
        raise MethodError(f"{type(model).__name__} has no features of a place; no Grad-CAM for it")
    name, layer = placed[-1]
    return Features(name, layer, layout)


def heat_maps(classifier: Classifier, image: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Grad-CAM (K, S, S) float32 in [0, 1] of K classes for a prepared image (S, S, 3) uint8.

    In float32, without views or temperature. All zero where nothing speaks for a class.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    scale, model = classifier.scale, classifier.model.float().eval()
    batch = scale.normalise(scale.unit(image[None]))
    features = features_of(model, batch)
    with (
        torch.enable_grad(),
        GradCAM(model, [features.layer], reshape_transform=features.as_images) as cam,
    ):
        maps = [cam(batch, [ClassifierOutputTarget(each)])[0] for each in classes]
    return np.stack(maps).astype(np.float32)
