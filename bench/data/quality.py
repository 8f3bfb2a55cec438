"""What pictures are like before anyone looks at them: size, sharpness, brightness, cast, hair.

Every picture is first made as high as the common `HEIGHT` (area averaging; smaller ones stay), so
that one taken with more pixels does not pass for sharper. The numbers sort pictures and compare
groups of them; none is a measurement of skin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from bench.data.images import loader
from bench.data.preprocess import RemoveHair

HEIGHT = 450
MEASURES = ("sharpness", "brightness", "colour_cast", "hair")


@dataclass(frozen=True, slots=True)
class Quality:
    """One picture's numbers.

    width, height  pixels of the file, upright
    sharpness      variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000)
    brightness     mean L* of CIELAB, 0 to 100
    colour_cast    distance of the mean colour from grey in CIELAB's a*, b* plane
    hair           share of pixels that the hair mask of the preprocessing covers, 0 to 1
    """

    width: int
    height: int
    sharpness: float
    brightness: float
    colour_cast: float
    hair: float


def measure(pixels: np.ndarray) -> Quality:
    """The numbers of a picture (H, W, 3) uint8 RGB."""
    height, width = pixels.shape[:2]
    scale = min(1.0, HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    lightness, a, b = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).mean((0, 1))
    return Quality(
        width=width,
        height=height,
        sharpness=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        brightness=float(lightness),
        colour_cast=float(np.hypot(a, b)),
        hair=float((RemoveHair().mask(small) > 0).mean()),
    )


def measure_images(files: Mapping[str, Path], advance: Callable[[], Any]) -> pd.DataFrame:
    """A row an image, indexed by image id, with the fields of Quality; on all cores.

    Raises DataError that names a file which cannot be read.
    """
    load = loader(files)

    def one(image_id: str) -> tuple[Any, ...]:
        numbers = astuple(measure(load(image_id)))
        advance()
        return numbers

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(one, files))
    columns = [field.name for field in fields(Quality)]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(list(files), name="image_id"))


def thumbnail(pixels: np.ndarray, height: int = 96) -> bytes:
    """A small JPEG of a picture (H, W, 3) uint8 RGB."""
    width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def examples(manifest_table: pd.DataFrame, each: int, rng: np.random.Generator) -> dict[str, Any]:
    """`each` image ids of every class, drawn at random, no two of one group (column `group`)."""
    shuffled = manifest_table.iloc[rng.permutation(len(manifest_table))]
    apart = shuffled.drop_duplicates(["label", "group"])
    return {
        str(label): rows["image_id"].head(each).tolist() for label, rows in apart.groupby("label")
    }
