"""Predictions of a model for images, and metrics on val."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from sklearn.metrics import confusion_matrix, recall_score
from torch import nn

from bench.method import Images
from bench.train import fabric as distributed
from bench.train.models import normalisation
from bench.train.sampling import ResidentImages

EVALUATION_BATCH = 256

View = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Scale:
    """From cached images to the model's input: normalised, on its device.

    mean, std  (3, 1, 1), of RGB in [0, 1]
    layout     memory layout, that of the model's weights
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
        """The normalisation of a model."""
        mean, std = (torch.tensor(values, device=device) for values in normalisation(model))
        return cls(mean[:, None, None], std[:, None, None], layout)

    def unit(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """(n, H, W, 3) uint8 to (n, 3, H, W) float in [0, 1]."""
        tensor = torch.as_tensor(images).to(self.mean.device, non_blocking=True)
        return tensor.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=self.layout)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Images in [0, 1], normalised by mean and standard deviation."""
        return (images - self.mean) / self.std

    def original(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images back in [0, 1]."""
        return images * self.std + self.mean


def _transposed(images: torch.Tensor) -> torch.Tensor:
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
    "dihedral": (*FLIPS, *(lambda images, flip=flip: _transposed(flip(images)) for flip in FLIPS)),
}
"""Views of an image that test-time augmentation averages, by the recipe's `tta`."""


def predict_probs(
    fabric: Fabric,
    model: nn.Module,
    images: Images | ResidentImages,
    scale: Scale,
    tta: str = "none",
    at_once: int = EVALUATION_BATCH,
) -> np.ndarray:
    """Class probabilities (N, C) float32 of images, in evaluation mode, averaged over views.

    Several processes share the work; each gets all rows. Raises MethodError with the number of
    images that fit if memory runs out.
    """
    model.eval()

    def predict(positions: np.ndarray) -> np.ndarray:
        batch = scale.normalise(scale.unit(images.take(positions)))
        views = [model(view(batch)).float().softmax(dim=1) for view in VIEWS[tta]]
        return np.asarray(torch.stack(views).mean(dim=0).cpu().numpy())

    own = np.arange(len(images))[distributed.own_share(fabric)]
    with torch.inference_mode(), fabric.autocast():
        batches = [
            distributed.in_memory(predict, own[start : start + at_once])
            for start in range(0, len(own), at_once)
        ]
    return distributed.gather_rows(fabric, own, np.concatenate(batches), len(images))


def val_metrics(labels: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Macro-F1, balanced accuracy and log loss of labels (N,) and probabilities (N, C)."""
    classes, predicted = np.arange(probs.shape[1]), probs.argmax(axis=1)
    recall = recall_score(labels, predicted, labels=classes, average="macro", zero_division=0)
    of_truth = probs[np.arange(len(labels)), labels].clip(1e-12)
    return {
        "val_macro_f1": float(macro_f1(confusion_matrix(labels, predicted, labels=classes))),
        "val_balanced_accuracy": float(recall),
        "val_loss": float(-np.log(of_truth).mean()),
    }


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Macro-F1 (...) of confusion counts (..., C, C), truth in rows.

    A class without images and predictions has F1 = 0, as in scikit-learn with zero_division=0.
    scikit-learn takes one matrix at a time; a bootstrap has thousands.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    either = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray((2 * hits / np.maximum(either, 1)).mean(axis=-1))
