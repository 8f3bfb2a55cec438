"""Trained models for use: one checkpoint or an ensemble, on image files.

The file's header tells model, classes, preprocessing, normalisation, views and temperature, so
neither the data it was trained on nor its method's file is needed.

The map is of the deepest features that still are at least 4 x 4, since at small image sizes a
network's last ones are a single pixel. A map shows what moved a score, not why, and is no evidence
that the model looks at the right thing for the right reason.

Beside the probabilities stand warnings: what of a picture says that the models were not made for
it. That none stands there does not say that the picture is one they know.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from bench.calibrate import temper
from bench.data.appearance import LEAST_SKIN, Appearance, measure_appearance, skin_share
from bench.data.images import decode, read_picture
from bench.data.preprocess import Chain, parse_chain, preprocess_image_cv
from bench.errors import DataError, MethodError, ResultsError
from bench.method import Images, Recipe
from bench.predictions import Predictions
from bench.settings import DISCLAIMER
from bench.train import checkpoint
from bench.train.checkpoint import read_header
from bench.train.evaluate import Scale, predict_probs
from bench.train.fabric import fabric_on, resolve_device
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
    looks: Appearance | None = None
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
        looks=None if header.looks is None else Appearance(**header.looks.model_dump()),
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


SIDE, GAP, CAPTION = 224, 8, 34
COLUMNS = 3


@dataclass(frozen=True)
class Example:
    """A test image: its pixels (H, W, 3) uint8 RGB, its class, the called one and its probability.

    `image` is None where there is no such image; then `told` says so.
    """

    told: str
    image: np.ndarray | None = None
    truth: int = 0
    called: int = 0


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) uint8 RGB under its map (S, S) in [0, 1], viridis from blue to yellow."""
    coloured = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray((0.5 * image + 0.5 * coloured).astype(np.uint8))


def explained(classifier: Classifier, image: np.ndarray, code: int) -> np.ndarray:
    """An image (H, W, 3) uint8 RGB as the model gets it (S, S, 3), under the map of a class."""
    prepared = classifier.prepare(image)
    return overlay(prepared, heat_maps(classifier, prepared, [code])[0])


def sheet(classifier: Classifier, title: str, examples: Sequence[Example]) -> Image.Image:
    """The picture: a title, then a row an example: image, map of the called class, of the true."""
    height = CAPTION + len(examples) * (CAPTION + SIDE + GAP)
    canvas = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    draw.text((GAP, GAP), title, fill="black", font=font)
    for row, example in enumerate(examples):
        top = CAPTION + row * (CAPTION + SIDE + GAP)
        draw.text((GAP, top + GAP), example.told, fill="black", font=font)
        if example.image is None:
            continue
        prepared = classifier.prepare(example.image)
        asked = list(dict.fromkeys((example.called, example.truth)))
        maps = heat_maps(classifier, prepared, asked)
        panels = [prepared, *(overlay(prepared, heat) for heat in maps)]
        for column, panel in enumerate(panels):
            shown = Image.fromarray(panel).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            canvas.paste(shown, (GAP + column * (SIDE + GAP), top + CAPTION))
    return canvas


def write_sheet(picture: Image.Image, path: Path) -> None:
    """Write a sheet as PNG, without a trace of time or machine."""
    from io import BytesIO

    from bench.io import write_atomically

    content = BytesIO()
    picture.save(content, format="PNG", optimize=True)
    write_atomically(path, content.getvalue())


LONGEST = 2.0
"""Longer side by shorter side: a picture beyond is squeezed to a square too much."""
LINE, WIDTH = 16, 2 * SIDE + 3 * GAP


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a panel says of a picture: probabilities (C,) that sum to 1, and its warnings."""

    probs: np.ndarray
    warnings: tuple[str, ...]

    @property
    def called(self) -> int:
        """The most probable class."""
        return int(self.probs.argmax())


@dataclass(frozen=True)
class EnsemblePredictor:
    """Classifiers of the same classes, whose probabilities are averaged."""

    members: tuple[Classifier, ...]

    @classmethod
    def load(
        cls, paths: Sequence[Path], device: str = "cpu", *, calibrated: bool = True
    ) -> EnsemblePredictor:
        """Those of best checkpoints. Raises ResultsError where one is none, or classes differ."""
        members = [load_classifier(path, device) for path in paths]
        refuse_other_classes(members)
        return cls(tuple(each.calibrated() if calibrated else each for each in members))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.members[0].classes

    def about(self) -> list[str]:
        """What should be known of the members, a sentence each."""
        said = [_origin(member) for member in self.members]
        if any(member.recipe.metadata == "late" for member in self.members):
            said.append(
                "trained with metadata=late: age, sex and site are not asked here, so the image "
                "speaks alone, and not as in the model's row"
            )
        if any(member.looks is None for member in self.members):
            said.append(
                "the checkpoint does not tell what its training images look like, so there is no "
                "warning of images unlike them; train it again to have one"
            )
        return list(dict.fromkeys(said))

    def opinions(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """What the panel says of images (H, W, 3) uint8 RGB of any size."""
        prepared = [np.stack([each.prepare(image) for image in images]) for each in self.members]
        pairs = list(zip(self.members, prepared, strict=True))
        probs = np.mean([each.prepared_probs(pixels) for each, pixels in pairs], axis=0)
        return [
            Prediction(row, self._warnings(image, [pixels[at] for pixels in prepared]))
            for at, (row, image) in enumerate(zip(probs, images, strict=True))
        ]

    def _warnings(self, image: np.ndarray, prepared: Sequence[np.ndarray]) -> tuple[str, ...]:
        height, width = image.shape[:2]
        side = max(pixels.shape[0] for pixels in prepared)
        said = []
        if min(height, width) < side:
            said.append(f"size: {width}x{height} pixels are fewer than the {side}x{side} it is for")
        if max(height, width) > LONGEST * min(height, width):
            said.append(f"size: {width}x{height} is squeezed to a square, and shapes with it")
        skin = skin_share(image)
        if skin < LEAST_SKIN:
            said.append(f"not like skin: {skin:.0%} of what is lit has a hue of skin")
        far = [
            member.looks.distance(measure_appearance(pixels)) / member.looks.limit
            for member, pixels in zip(self.members, prepared, strict=True)
            if member.looks is not None
        ]
        if far and np.median(far) > 1:
            said.append(
                "unlike the training images: colours, contrast or detail are "
                f"{np.median(far):.1f} times as far from theirs as 999 in 1,000 of them are"
            )
        return tuple(said)

    def heat(self, image: np.ndarray, label: int) -> np.ndarray:
        """Where the members looked for a class: the image (SIDE, SIDE, 3) uint8 under the mean of
        their Grad-CAM maps. Raises MethodError for a model without features of a place."""
        maps = []
        for member in self.members:
            found = heat_maps(member, member.prepare(image), [label])[0]
            maps.append(cv2.resize(found, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))
        return overlay(_square(image), np.mean(maps, axis=0))

    def picture(self, name: str, image: np.ndarray, opinion: Prediction) -> Image.Image:
        """The image, beside it where the panel looked, above it what it says, and the notice."""
        called = opinion.called
        told = [name, f"{self.classes[called]} {opinion.probs[called]:.2f}"]
        lines = [line for text in (*told, *opinion.warnings) for line in _wrapped(text)]
        notice = _wrapped(DISCLAIMER)
        top = GAP + LINE * len(lines)
        canvas = Image.new("RGB", (WIDTH, top + SIDE + 3 * GAP + LINE * len(notice)), "white")
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
        for row, line in enumerate(lines):
            draw.text((GAP, GAP + row * LINE), line, fill="black", font=font)
        for column, panel in enumerate((_square(image), self.heat(image, called))):
            canvas.paste(Image.fromarray(panel), (GAP + column * (SIDE + GAP), top + GAP))
        for row, line in enumerate(notice):
            where = (GAP, top + SIDE + 2 * GAP + row * LINE)
            draw.text(where, line, fill="black", font=font)
        return canvas


def describe(member: Classifier) -> dict[str, Any]:
    """A member as plain data."""
    return {
        "model": member.recipe.model,
        "trained_on": dict(member.trained_on),
        "temperature": member.temperature,
    }


def _origin(member: Classifier) -> str:
    """What a member is, and how far its probabilities are calibrated, in a sentence."""
    where = (
        "trained on {images} images of {dataset}, column {column}, seed {seed}".format(
            **member.trained_on
        )
        if member.trained_on
        else ""
    )
    tempered = f"temperature {member.temperature:.3g}, fitted on its val part"
    raw = "not calibrated"
    calibration = tempered if member.temperature == member.image_temperature else raw
    return "; ".join(filter(None, (member.recipe.model, where, calibration)))


def _square(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH // 7) or [""]
