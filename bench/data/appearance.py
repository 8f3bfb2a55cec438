"""Appearance of training images: an out-of-distribution detector.

Seven features describe an image: mean and spread of the three CIELAB coordinates, and the amount of
fine detail. Their mean and covariance describe the training part. An image is out of distribution
if its Mahalanobis distance exceeds the 99.9% quantile of the training images: the model was not
trained on such images. A second check needs no training part: the share of pixels with a hue of
skin under a dermatoscope.

Test on 2,000 images of HAM10000 at 200x150 (1,000 to fit, 1,000 to test): two of the test images
exceeded the limit. Grass, sky, paper, noise, and HAM10000 images in grey, inverted or with red and
blue exchanged all exceeded it. The smallest share of skin hues in the 2,000 images was 0.49.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np

SIDE = 64
NUMBERS = 7
"""Features of an image; see `measure_appearance`."""
QUANTILE = 0.999
LOOKED_AT = 2000
"""The largest number of training images used; of more images, every n-th is used."""
FEWEST = 20
"""The smallest number of images for the covariance of seven features."""
RIDGE = 1e-3
"""Share of each variance that is added to it, so that constant features are possible."""
LIT, COLOURED = 25.0, 4.0
"""Smallest lightness L* of a pixel that counts, and smallest chroma of a pixel with a hue."""
SKIN_HUES = (-75.0, 85.0)
"""Range of hues in the a*, b* plane of CIELAB in degrees: pink of blood to brown of melanin."""
LEAST_SKIN = 0.45
"""Smallest share of skin hues of an accepted image."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """Appearance of a training part: mean (7), precision (7, 7), and limit of the distance."""

    mean: list[float]
    precision: list[list[float]]
    limit: float

    @classmethod
    def of(cls, images: Iterable[np.ndarray]) -> Appearance | None:
        """Fit to model inputs (S, S, 3) uint8 RGB; None for fewer than FEWEST images."""
        features = np.array([measure_appearance(image) for image in images])
        if len(features) < FEWEST:
            return None
        mean, covariance = features.mean(axis=0), np.cov(features.T)
        covariance[np.diag_indices_from(covariance)] *= 1 + RIDGE
        covariance[np.diag_indices_from(covariance)] += RIDGE
        fitted = cls(mean.tolist(), np.linalg.inv(covariance).tolist(), 0.0)
        distances = [fitted.distance(each) for each in features]
        return replace(fitted, limit=float(np.quantile(distances, QUANTILE)))

    def distance(self, features: np.ndarray) -> float:
        """Mahalanobis distance of the features (7,) of an image."""
        off = features - np.array(self.mean)
        return float(np.sqrt(off @ np.array(self.precision) @ off))

    def to_dict(self) -> dict[str, Any]:
        """As plain data; `Appearance(**data)` reads it."""
        return asdict(self)


def measure_appearance(image: np.ndarray) -> np.ndarray:
    """The features (7,) float64 of an image (H, W, 3) uint8 RGB."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lab = _lab(small).reshape(-1, 3)
    detail = cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
    spreads = np.log1p([*lab.std(axis=0), detail])
    return np.concatenate([lab.mean(axis=0), spreads]).astype(np.float64)


def skin_share(image: np.ndarray) -> float:
    """Share of the lit pixels of (H, W, 3) uint8 RGB with a hue of skin; 0 if none is lit."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lightness, a, b = np.moveaxis(_lab(small), -1, 0)
    hue = np.degrees(np.arctan2(b, a))
    lit = lightness > LIT
    skin = lit & (np.hypot(a, b) > COLOURED) & (hue > SKIN_HUES[0]) & (hue < SKIN_HUES[1])
    return float(skin.sum() / lit.sum()) if lit.any() else 0.0


def _lab(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))
