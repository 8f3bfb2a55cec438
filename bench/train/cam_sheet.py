"""Sheets of Grad-CAM pictures: an image a row, beside it the maps of the classes in question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.train.classifier import Classifier
from bench.train.gradcam import heat_maps

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

    from bench.files import write_atomically

    content = BytesIO()
    picture.save(content, format="PNG", optimize=True)
    write_atomically(path, content.getvalue())
