"""What a model says of images, and how good that is on val."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from sklearn.metrics import f1_score, recall_score
from torch import nn

from bench.method import Images
from bench.train import fabric as distributed
from bench.train import fabric as memory
from bench.train.models import normalisation
from bench.train.sampling import ResidentImages

EVALUATION_BATCH = 256

View = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Scale:
    """Images of the store to the tensor that a model wants: normalised, on its device.

    layout  how images lie in memory: as the model's weights do
    """

    mean: torch.Tensor
    std: torch.Tensor
    layout: torch.memory_format = torch.channels_last

    @classmethod
    def of(
        cls,
        model: nn.Module,
        device: torch.device,
        layout: torch.memory_format = torch.channels_last,
    ) -> Scale:
        """The normalisation that a model wants."""
        mean, std = (torch.tensor(values, device=device) for values in normalisation(model))
        return cls(mean[:, None, None], std[:, None, None], layout)

    def unit(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """(n, H, W, 3) uint8 to (n, 3, H, W) float in [0, 1]."""
        tensor = torch.as_tensor(images).to(self.mean.device, non_blocking=True)
        return tensor.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=self.layout)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Images in [0, 1] scaled by mean and standard deviation."""
        return (images - self.mean) / self.std

    def original(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images in [0, 1] again."""
        return images * self.std + self.mean


def _turned(images: torch.Tensor) -> torch.Tensor:
    return images.transpose(-1, -2)


FLIPS: tuple[View, ...] = (
    lambda images: images,
    lambda images: images.flip(-1),
    lambda images: images.flip(-2),
    lambda images: images.flip(-1, -2),
)
VIEWS: Mapping[str, tuple[View, ...]] = {
    "none": FLIPS[:1],
    "flips": FLIPS,
    "dihedral": (*FLIPS, *(lambda images, flip=flip: _turned(flip(images)) for flip in FLIPS)),
}
"""The views of an image that test-time augmentation averages over, by the recipe's word."""


def predict_probs(
    fabric: Fabric,
    model: nn.Module,
    images: Images | ResidentImages,
    scale: Scale,
    tta: str = "none",
    at_once: int = EVALUATION_BATCH,
) -> np.ndarray:
    """Class probabilities (N, C) float32 of images, in evaluation mode, meaned over views.

    Several processes share the work, and each gets the whole. Raises MethodError that says how many
    images fit where memory runs out.
    """
    model.eval()

    def predict(positions: np.ndarray) -> np.ndarray:
        batch = scale.normalise(scale.unit(images.take(positions)))
        views = [model(view(batch)).float().softmax(dim=1) for view in VIEWS[tta]]
        return np.asarray(torch.stack(views).mean(dim=0).cpu().numpy())

    own = np.arange(len(images))[distributed.own_share(fabric)]
    with torch.inference_mode(), fabric.autocast():
        batches = [
            memory.predicting(predict, own[start : start + at_once])
            for start in range(0, len(own), at_once)
        ]
    return distributed.gather_rows(fabric, own, np.concatenate(batches), len(images))


def val_metrics(labels: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Macro-F1, balanced accuracy and log loss of labels (N,) and probabilities (N, C)."""
    classes = np.arange(probs.shape[1])
    predicted = probs.argmax(axis=1)
    chosen = probs[np.arange(len(labels)), labels].clip(1e-12)
    common = {"labels": classes, "average": "macro", "zero_division": 0}
    return {
        "val_macro_f1": float(f1_score(labels, predicted, **common)),
        "val_balanced_accuracy": float(recall_score(labels, predicted, **common)),
        "val_loss": float(-np.log(chosen).mean()),
    }
