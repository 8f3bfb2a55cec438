"""A trained model ready for use, from its best checkpoint alone; several as an ensemble.

The file's header tells model, classes, preprocessing, normalisation, views and temperature, so
neither the data it was trained on nor its method's file is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.data.images import decode, read_picture
from bench.data.looks import Looks
from bench.data.preprocess import Chain, parse_chain, preprocess_image_cv
from bench.errors import DataError, ResultsError
from bench.method import Images, Recipe
from bench.predictions import Predictions
from bench.temperature import temper
from bench.train import checkpoint
from bench.train.distributed import fabric_on, resolve_device
from bench.train.evaluate import Scale, predict_probs
from bench.train.header import read_header
from bench.train.models import build_model, memory_layout


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, and what the header of its checkpoint tells.

    chain  steps that make its input of an image, as the store's
    temperature        that its probabilities are tempered by; 1 leaves them
    image_temperature  that was fitted on val, of the image alone; None where nobody kept it
    looks              of its training part; None where nobody kept them, or of too few images
    trained_on         dataset, seed, column of the protocol, images; empty where nobody kept it
    """

    model: nn.Module
    classes: tuple[str, ...]
    recipe: Recipe
    chain: Chain
    scale: Scale
    temperature: float
    image_temperature: float | None = None
    looks: Looks | None = None
    trained_on: Mapping[str, Any] = field(default_factory=dict)

    def calibrated(self) -> Classifier:
        """The same, tempered by what was fitted on val, where that is known."""
        return replace(self, temperature=self.image_temperature or self.temperature)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The model's input (S, S, 3) uint8 of an image (H, W, 3) uint8 RGB."""
        return preprocess_image_cv(image, self.chain)

    def probs(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Class probabilities (N, C) float32 of images (H, W, 3) uint8 RGB of any size."""
        return self.prepared_probs(np.stack([self.prepare(image) for image in images]))

    def prepared_probs(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities (N, C) float32 of prepared images (N, S, S, 3) uint8."""
        fabric = fabric_on(self.scale.mean.device.type)
        prepared = Images(pixels, np.arange(len(pixels)))
        recipe = self.recipe
        probs = predict_probs(
            fabric, self.model, prepared, self.scale, recipe.tta, recipe.evaluation_batch
        )
        return temper(probs, self.temperature)


def load_classifier(path: Path, device: str = "cpu") -> Classifier:
    """The classifier of a best checkpoint. Raises ResultsError where the file is not one."""
    header = read_header(path)
    model = build_model(header.recipe, len(header.classes), None)
    checkpoint.load_best(path, model)
    place, layout = torch.device(resolve_device(device)), memory_layout(header.recipe)
    mean, std = (
        torch.tensor(each, device=place)[:, None, None] for each in (header.mean, header.std)
    )
    return Classifier(
        model=model.to(place).to(memory_format=layout).eval(),  # type: ignore[call-overload]
        classes=header.classes,
        recipe=header.recipe,
        chain=parse_chain(header.chain),
        scale=Scale(mean, std, layout),
        temperature=header.temperature,
        image_temperature=header.image_temperature,
        looks=None if header.looks is None else Looks(**header.looks.model_dump()),
        trained_on=header.trained_on,
    )


def ensemble(classifiers: Sequence[Classifier], images: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of the classifiers' probabilities (N, C): the folds of a row on images outside them.

    Raises ResultsError where their classes differ. Images of the protocol's own dataset were in
    the training of some of the folds: for those the row's own predictions are the honest ones.
    """
    refuse_other_classes(classifiers)
    return np.asarray(np.mean([each.probs(images) for each in classifiers], axis=0))


def refuse_other_classes(classifiers: Sequence[Classifier]) -> None:
    """Raise ResultsError unless the classes of all are the same, in one order."""
    orders = {classifier.classes for classifier in classifiers}
    if len(orders) != 1:
        raise ResultsError(f"checkpoints of different classes make no ensemble: {sorted(orders)}")


def predict_files(
    checkpoints: Sequence[Path], images: Sequence[Path], device: str = "cpu"
) -> Predictions:
    """Ensemble predictions of image files by their checkpoints; an image's id is its name's stem.

    Raises DataError that names images which cannot be read.
    """
    classifiers = [load_classifier(path, device) for path in checkpoints]
    decoded, faults = [], []
    for path in images:
        try:
            decoded.append(decode(read_picture(path)))
        except (OSError, ValueError) as error:
            faults.append(f"{path} ({getattr(error, 'strerror', None) or error})")
    if faults:
        raise DataError(f"images that cannot be read: {', '.join(faults)}")
    ids = np.array([path.stem for path in images], dtype=object)
    return Predictions(ids, ensemble(classifiers, decoded), classifiers[0].classes)
