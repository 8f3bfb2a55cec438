"""Appearance of training images; detects images unlike them.

Each image is seven numbers: the means and the spreads of CIELAB's three coordinates, and how fine
its detail is. The training part is their mean and covariance; an image is unlike it where its
Mahalanobis distance is beyond what all but one in a thousand training images have. That says that
a model was not taught on such images, not what they show. Beside it, without any training part:
whether most of an image has a hue that skin under a dermatoscope has.

On 2,000 images of HAM10000 at 200x150 (1,000 for the numbers, 1,000 others) two of the others were
beyond; grass, sky, paper, noise, and HAM10000's own images without colour, inverted or with red and
blue changed over all were. The smallest share of skin hues in any of the 2,000 was 0.49.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

SIDE = 64
NUMBERS = 7
"""That tell how an image looks; see `measured`."""
QUANTILE = 0.999
LOOKED_AT = 2000
"""Images of a training part that are looked at; of more, so many in even steps."""
FEWEST = 20
"""Images that the covariance of seven numbers needs at least."""
RIDGE = 1e-3
"""Share of each variance that is added to it, so that images of one colour can be told, too."""
LIT, COLOURED = 25.0, 4.0
"""Least lightness L* of a pixel that counts, and least chroma of one that has a hue."""
SKIN_HUES = (-75.0, 85.0)
"""Degrees in CIELAB's a*, b* plane: from the pink of blood to the brown of melanin."""
LEAST_SKIN = 0.45


@dataclass(frozen=True, slots=True)
class Appearance:
    """Looks of a training part: mean (7), precision (7, 7), and the distance few images exceed."""

    mean: list[float]
    precision: list[list[float]]
    limit: float

    @classmethod
    def of(cls, images: Iterable[np.ndarray]) -> Appearance | None:
        """Of images (S, S, 3) uint8 RGB as a model gets them; None of too few to say anything."""
        seen = np.array([measure_appearance(image) for image in images])
        if len(seen) < FEWEST:
            return None
        mean, covariance = seen.mean(axis=0), np.cov(seen.T)
        covariance[np.diag_indices_from(covariance)] *= 1 + RIDGE
        covariance[np.diag_indices_from(covariance)] += RIDGE
        looks = cls(mean.tolist(), np.linalg.inv(covariance).tolist(), 0.0)
        far = [looks.distance(each) for each in seen]
        return cls(looks.mean, looks.precision, float(np.quantile(far, QUANTILE)))

    def distance(self, numbers: np.ndarray) -> float:
        """Mahalanobis distance of an image's seven numbers."""
        off = numbers - np.array(self.mean)
        return float(np.sqrt(off @ np.array(self.precision) @ off))

    def told(self) -> dict[str, Any]:
        """As plain data; `Looks(**data)` reads it."""
        return asdict(self)


def measure_appearance(image: np.ndarray) -> np.ndarray:
    """The seven numbers (7,) float64 of an image (H, W, 3) uint8 RGB."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lab = _lab(small).reshape(-1, 3)
    detail = cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
    spreads = np.log1p([*lab.std(axis=0), detail])
    return np.concatenate([lab.mean(axis=0), spreads]).astype(np.float64)


def skin_share(image: np.ndarray) -> float:
    """Share of the lit pixels of an image (H, W, 3) uint8 RGB that have a hue of skin; 0 of a dark
    image, of which nothing can be said."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lightness, a, b = np.moveaxis(_lab(small), -1, 0)
    hue = np.degrees(np.arctan2(b, a))
    lit = lightness > LIT
    skin = lit & (np.hypot(a, b) > COLOURED) & (hue > SKIN_HUES[0]) & (hue < SKIN_HUES[1])
    return float(skin.sum() / lit.sum()) if lit.any() else 0.0


def _lab(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))
