"""One or several trained models asked about pictures that no protocol knows.

Beside the probabilities stand warnings: what of a picture says that the models were not made for
it. That none stands there does not say that the picture is one they know.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.data.looks import LEAST_SKIN, measured, skin_share
from bench.notice import NO_DEVICE
from bench.train.cam_sheet import GAP, SIDE, overlay
from bench.train.classifier import Classifier, load_classifier, refuse_other_classes
from bench.train.gradcam import heat_maps

LONGEST = 2.0
"""Longer side by shorter side: a picture beyond is squeezed to a square too much."""
LINE, WIDTH = 16, 2 * SIDE + 3 * GAP


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a panel says of a picture: probabilities (C,) that sum to 1, and its warnings."""

    probs: np.ndarray
    warnings: tuple[str, ...]

    @property
    def called(self) -> int:
        """The most probable class."""
        return int(self.probs.argmax())


@dataclass(frozen=True)
class Panel:
    """Classifiers of the same classes, whose probabilities are averaged."""

    members: tuple[Classifier, ...]

    @classmethod
    def load(cls, paths: Sequence[Path], device: str = "cpu", *, calibrated: bool = True) -> Panel:
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

    def opinions(self, images: Sequence[np.ndarray]) -> list[Opinion]:
        """What the panel says of images (H, W, 3) uint8 RGB of any size."""
        prepared = [np.stack([each.prepare(image) for image in images]) for each in self.members]
        pairs = list(zip(self.members, prepared, strict=True))
        probs = np.mean([each.prepared_probs(pixels) for each, pixels in pairs], axis=0)
        return [
            Opinion(row, self._warnings(image, [pixels[at] for pixels in prepared]))
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
            member.looks.distance(measured(pixels)) / member.looks.limit
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

    def picture(self, name: str, image: np.ndarray, opinion: Opinion) -> Image.Image:
        """The image, beside it where the panel looked, above it what it says, and the notice."""
        called = opinion.called
        told = [name, f"{self.classes[called]} {opinion.probs[called]:.2f}"]
        lines = [line for text in (*told, *opinion.warnings) for line in _wrapped(text)]
        notice = _wrapped(NO_DEVICE)
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
