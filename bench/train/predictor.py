"""Trained models for use: predictions of images by one checkpoint or an ensemble, with Grad-CAM.

The checkpoint metadata contain model, classes, preprocessing, normalisation, test-time augmentation
and temperature; neither the training data nor the method's file is needed.

Each prediction has warnings about images for which the models were not trained. An image without
warnings may still be such an image.

Grad-CAM uses the deepest features of at least 4 x 4; at small image sizes the last layers have a
single pixel. It shows where the score of a class comes from. It does not show why, and is no
evidence that the model uses the right features.
"""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import nn

from bench.calibrate import temper
from bench.data.appearance import LEAST_SKIN, Appearance, measure_appearance, skin_share
from bench.data.images import decode, read_picture
from bench.data.preprocess import Chain, parse_chain, preprocess_image_cv
from bench.errors import DataError, MethodError, ResultsError
from bench.io import write_atomically
from bench.method import Images, Recipe
from bench.settings import DISCLAIMER
from bench.train import checkpoint
from bench.train.evaluate import Scale, predict_probs
from bench.train.fabric import fabric_on, resolve_device
from bench.train.models import build_model, memory_layout

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray
"""A file path, a PIL image, or uint8 RGB pixels (H, W, 3)."""
CHUNK = 256
"""Images that are prepared and predicted together."""
MAX_ASPECT = 2.0
"""Longer side by shorter side above which an image is distorted too much by the square input."""
MIN_FEATURES = 4
IMAGE_DIMENSIONS, CHANNELS = 4, 3
SIDE, GAP, CAPTION, LINE = 224, 8, 34, 16
COLUMNS, WIDTH = 3, 2 * SIDE + 3 * GAP


def load_predictor(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    device: str = "cpu",
    *,
    calibrated: bool = True,
) -> EnsemblePredictor:
    """Load one checkpoint, or several as an ensemble of the same classes.

    paths       `best.safetensors` or `best_ema.safetensors` files
    device      "cpu", "cuda", or "auto" for the GPU if there is one
    calibrated  apply the temperature fitted on val; otherwise the one of the recipe, usually 1

    Raises ResultsError for a file that is not a checkpoint, or for different classes, and
    MethodError for a device that is not available.

    >>> predictor = load_predictor(["fold0/best.safetensors", "fold1/best.safetensors"])
    >>> prediction = predictor.predict(["lesion.jpg"])[0]
    >>> prediction.label, prediction.probs, prediction.warnings
    """
    files = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not files:
        raise ResultsError("no checkpoint given; give one or more best.safetensors files")
    members = [load_classifier(Path(file), device) for file in files]
    orders = {member.classes for member in members}
    if len(orders) != 1:
        raise ResultsError(f"checkpoints with different classes are no ensemble: {sorted(orders)}")
    return EnsemblePredictor(
        tuple(member.calibrated() if calibrated else member for member in members)
    )


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction of one image.

    classes   class names in the order of the probabilities
    probs     (C,) float, sum to 1
    warnings  sentences; empty if nothing is unusual
    """

    classes: tuple[str, ...]
    probs: np.ndarray
    warnings: tuple[str, ...]

    @property
    def predicted(self) -> int:
        """Index of the most probable class."""
        return int(self.probs.argmax())

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.classes[self.predicted]


@dataclass(frozen=True, repr=False)
class EnsemblePredictor:
    """One or more classifiers of the same classes; their probabilities are averaged."""

    members: tuple[Classifier, ...]

    def __repr__(self) -> str:
        return f"EnsemblePredictor({len(self.members)} models, {len(self.classes)} classes)"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.members[0].classes

    def predict(self, images: ImageLike | Sequence[ImageLike]) -> list[Prediction]:
        """Predict images of any size, in their order.

        images  file paths (JPEG or PNG), PIL images, or uint8 RGB arrays (H, W, 3); one, or a
                sequence, which may mix them

        The mean of the members' probabilities. Images of the dataset that the members were trained
        on were in the training of some folds; for these use the out-of-fold predictions of the row.
        Raises DataError that names all images that cannot be read.
        """
        single = isinstance(images, str | os.PathLike | Image.Image) or (
            isinstance(images, np.ndarray) and images.ndim == CHANNELS
        )
        several: Any = [images] if single else images
        sequence = [(f"image {number}", image) for number, image in enumerate(several)]
        faults: list[str] = []
        predictions: list[Prediction] = []
        for start in range(0, len(sequence), CHUNK):
            predictions += self._predict_chunk(sequence[start : start + CHUNK], faults)
        if faults:
            raise DataError(f"images that cannot be read: {', '.join(faults)}")
        return predictions

    def _predict_chunk(
        self, images: Sequence[tuple[str, Any]], faults: list[str]
    ) -> list[Prediction]:
        """Predictions of named images; adds images that cannot be read to `faults`."""
        inputs, warnings = [], []
        for name, image in images:  # one at a time; originals are much larger than inputs
            try:
                pixels = image_pixels(image)
            except (OSError, ValueError) as error:
                source = image if isinstance(image, str | os.PathLike) else name
                faults.append(f"{source} ({getattr(error, 'strerror', None) or error})")
                continue
            inputs.append([member.prepare(pixels) for member in self.members])
            warnings.append(self._warnings(pixels, inputs[-1]))
        if not inputs:
            return []
        by_member = zip(self.members, zip(*inputs, strict=True), strict=True)
        probs = np.mean([each.prepared_probs(np.stack(pixels)) for each, pixels in by_member], 0)
        return [
            Prediction(self.classes, row, texts) for row, texts in zip(probs, warnings, strict=True)
        ]

    def _warnings(self, image: np.ndarray, prepared: Sequence[np.ndarray]) -> tuple[str, ...]:
        """Warnings for an image and the members' inputs of it."""
        height, width = image.shape[:2]
        side = max(pixels.shape[0] for pixels in prepared)
        warnings = []
        if min(height, width) < side:
            warnings.append(f"size: {width}x{height} pixels, less than the model's {side}x{side}")
        if max(height, width) > MAX_ASPECT * min(height, width):
            warnings.append(f"size: {width}x{height} is distorted by the square input")
        skin = skin_share(image)
        if skin < LEAST_SKIN:
            warnings.append(f"not like skin: {skin:.0%} of the lit pixels have a hue of skin")
        distances = [
            member.appearance.distance(measure_appearance(pixels)) / member.appearance.limit
            for member, pixels in zip(self.members, prepared, strict=True)
            if member.appearance is not None
        ]
        if distances and np.median(distances) > 1:
            warnings.append(
                "unlike the training images: the distance in colour, contrast and detail is "
                f"{np.median(distances):.1f} times their 99.9th percentile"
            )
        return tuple(warnings)

    def about(self) -> list[str]:
        """Sentences about the members: origin, calibration and limits."""
        sentences = [member.origin() for member in self.members]
        if any(member.recipe.metadata == "late" for member in self.members):
            sentences.append(
                "trained with metadata=late: predictions here use the image alone, without age, "
                "sex and site, and differ from those of the model's row"
            )
        if any(member.appearance is None for member in self.members):
            sentences.append(
                "the checkpoint does not contain the appearance of its training images, so images "
                "unlike them cause no warning; train it again to get one"
            )
        return list(dict.fromkeys(sentences))

    def heat_map(self, image: np.ndarray, label: int) -> np.ndarray:
        """The image (SIDE, SIDE, 3) uint8 under the mean Grad-CAM map of a class.

        Raises MethodError for a model without spatial features.
        """
        maps = []
        for member in self.members:
            heat = heat_maps(member, member.prepare(image), [label])[0]
            maps.append(cv2.resize(heat, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))
        return overlay(_square(image), np.mean(maps, axis=0))

    def picture(self, name: str, image: np.ndarray, prediction: Prediction) -> Image.Image:
        """The image beside its Grad-CAM, with prediction, warnings and disclaimer."""
        best = prediction.predicted
        texts = (name, f"{prediction.label} {prediction.probs[best]:.2f}", *prediction.warnings)
        lines = [line for text in texts for line in _wrapped(text)]
        disclaimer = _wrapped(DISCLAIMER)
        top = GAP + LINE * len(lines)
        canvas = Image.new("RGB", (WIDTH, top + SIDE + 3 * GAP + LINE * len(disclaimer)), "white")
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
        for row, line in enumerate(lines):
            draw.text((GAP, GAP + row * LINE), line, fill="black", font=font)
        for column, pixels in enumerate((_square(image), self.heat_map(image, best))):
            canvas.paste(Image.fromarray(pixels), (GAP + column * (SIDE + GAP), top + GAP))
        for row, line in enumerate(disclaimer):
            position = (GAP, top + SIDE + 2 * GAP + row * LINE)
            draw.text(position, line, fill="black", font=font)
        return canvas


def image_pixels(image: ImageLike) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of a file, a PIL image or an array.

    Orientation and transparency of a PIL image are treated as those of a file. Raises OSError or
    ValueError for an image that cannot be used.
    """
    if isinstance(image, str | os.PathLike):
        return decode(read_picture(Path(image)))
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise ValueError("more than 8 bits per channel; convert it to 8 bits")
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            black = Image.new("RGBA", upright.size, "black")
            upright = Image.alpha_composite(black, upright.convert("RGBA"))
        return np.asarray(upright.convert("RGB"))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != CHANNELS or pixels.shape[2] != CHANNELS:
        raise ValueError(f"{pixels.dtype} array {pixels.shape}; give uint8 RGB (H, W, 3)")
    if not pixels.size:
        raise ValueError("an array without pixels")
    return pixels


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, with the metadata of its checkpoint.

    chain              preprocessing steps from an image to the model's input
    temperature        applied to the probabilities; 1 leaves them unchanged
    image_temperature  fitted on val for the image model alone; None if unknown
    appearance         of the training part; None if unknown, or of too few images
    trained_on         dataset, seed, column of the protocol, number of images; empty if unknown
    """

    model: nn.Module
    classes: tuple[str, ...]
    recipe: Recipe
    chain: Chain
    scale: Scale
    temperature: float
    image_temperature: float | None = None
    appearance: Appearance | None = None
    trained_on: Mapping[str, Any] = field(default_factory=dict)

    def calibrated(self) -> Classifier:
        """A copy with the temperature fitted on val, if known."""
        return replace(self, temperature=self.image_temperature or self.temperature)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The model's input (S, S, 3) uint8 for an image (H, W, 3) uint8 RGB."""
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

    def describe(self) -> dict[str, Any]:
        """Model, training data and temperature as plain data."""
        return {
            "model": self.recipe.model,
            "trained_on": dict(self.trained_on),
            "temperature": self.temperature,
        }

    def origin(self) -> str:
        """Model, training data and calibration in a sentence."""
        text = "trained on {images} images of {dataset}, column {column}, seed {seed}"
        origin = text.format(**self.trained_on) if self.trained_on else ""
        fitted = f"temperature {self.temperature:.3g}, fitted on its val part"
        calibration = fitted if self.temperature == self.image_temperature else "not calibrated"
        return "; ".join(filter(None, (self.recipe.model, origin, calibration)))


def load_classifier(path: Path, device: str = "cpu") -> Classifier:
    """The classifier of a checkpoint. Raises ResultsError for any other file."""
    metadata = checkpoint.read_metadata(path)
    model = build_model(metadata.recipe, len(metadata.classes), None)
    checkpoint.load_best(path, model)
    target, layout = torch.device(resolve_device(device)), memory_layout(metadata.recipe)
    mean, std = (
        torch.tensor(values, device=target)[:, None, None]
        for values in (metadata.mean, metadata.std)
    )
    stored = metadata.looks
    return Classifier(
        model=model.to(target).to(memory_format=layout).eval(),  # type: ignore[call-overload]
        classes=metadata.classes,
        recipe=metadata.recipe,
        chain=parse_chain(metadata.chain),
        scale=Scale(mean, std, layout),
        temperature=metadata.temperature,
        image_temperature=metadata.image_temperature,
        appearance=None if stored is None else Appearance(**stored.model_dump()),
        trained_on=metadata.trained_on,
    )


@dataclass(frozen=True)
class Features:
    """The layer that Grad-CAM uses, and the layout of its output.

    layout   NCHW, NHWC, or NLC for the tokens of a transformer
    skipped  tokens before those of the patches
    """

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
    """The layer that Grad-CAM uses for images like this one (1, 3, S, S).

    For a vision transformer it is the norm before the last attention; the patch tokens after it do
    not affect the class token. Raises MethodError for a model without spatial features.
    """
    if hasattr(model, "blocks") and hasattr(model, "num_prefix_tokens"):
        transformer: Any = model
        skipped = int(transformer.num_prefix_tokens)
        return Features("blocks[-1].norm1", transformer.blocks[-1].norm1, "NLC", skipped)
    layout = str(getattr(model, "output_fmt", "NCHW"))
    calls: list[tuple[str, nn.Module, bool]] = []

    def recorder(name: str) -> Any:
        def record(module: nn.Module, _: Any, output: Any) -> None:
            fits = isinstance(output, torch.Tensor) and output.ndim == IMAGE_DIMENSIONS
            sides = (output.shape[1:3] if layout == "NHWC" else output.shape[2:]) if fits else ()
            calls.append((name, module, bool(sides) and min(sides) >= MIN_FEATURES))

        return record

    hooks = [m.register_forward_hook(recorder(name)) for name, m in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    modules = [module for _, module, _ in calls]
    spatial = [
        (name, module)
        for name, module, fits in calls
        if fits and sum(module is other for other in modules) == 1
    ]
    if not spatial:
        raise MethodError(f"{type(model).__name__} has no spatial features; Grad-CAM needs them")
    name, layer = spatial[-1]
    return Features(name, layer, layout)


def heat_maps(classifier: Classifier, image: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Grad-CAM (K, S, S) float32 in [0, 1] of K classes for a prepared image (S, S, 3) uint8.

    In float32, without test-time augmentation or temperature (Selvaraju et al. 2017). All zero if
    no feature raises the score of a class.
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
        maps = [cam(batch, [ClassifierOutputTarget(label)])[0] for label in classes]
    return np.stack(maps).astype(np.float32)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) uint8 RGB under its map (S, S) in [0, 1], viridis from blue to yellow."""
    coloured = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.asarray((0.5 * image + 0.5 * coloured).astype(np.uint8))


def explained(classifier: Classifier, image: np.ndarray, label: int) -> np.ndarray:
    """The model's input (S, S, 3) of an image (H, W, 3) uint8 RGB under the map of a class."""
    prepared = classifier.prepare(image)
    return overlay(prepared, heat_maps(classifier, prepared, [label])[0])


@dataclass(frozen=True)
class Example:
    """A test image for a sheet: caption, pixels (H, W, 3) uint8 RGB, true and predicted class.

    `image` is None if no test image qualifies; then the caption states it.
    """

    caption: str
    image: np.ndarray | None = None
    truth: int = 0
    predicted: int = 0


def sheet(classifier: Classifier, title: str, examples: Sequence[Example]) -> Image.Image:
    """One row per example: the image, the map of the predicted class, and that of the true one."""
    height = CAPTION + len(examples) * (CAPTION + SIDE + GAP)
    canvas = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    draw.text((GAP, GAP), title, fill="black", font=font)
    for row, example in enumerate(examples):
        top = CAPTION + row * (CAPTION + SIDE + GAP)
        draw.text((GAP, top + GAP), example.caption, fill="black", font=font)
        if example.image is None:
            continue
        prepared = classifier.prepare(example.image)
        labels = list(dict.fromkeys((example.predicted, example.truth)))
        maps = heat_maps(classifier, prepared, labels)
        pictures = [prepared, *(overlay(prepared, heat) for heat in maps)]
        for column, pixels in enumerate(pictures):
            shown = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            canvas.paste(shown, (GAP + column * (SIDE + GAP), top + CAPTION))
    return canvas


def write_sheet(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG, without time or machine in its metadata."""
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
    write_atomically(path, content.getvalue())


def _square(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH // 7) or [""]
