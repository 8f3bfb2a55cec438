"""Drawn skin, and how it looks when it is photographed again."""

from __future__ import annotations

import cv2
import numpy as np


def skin(seed: int) -> np.ndarray:
    """A picture (150, 200, 3) uint8: skin texture, a lesion with an edge, some hairs."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (150, 200)), (0, 0), 2)
    picture = np.full((150, 200, 3), (210, 160, 150)) + texture[..., None]
    spots = rng.uniform((30, 60), (110, 140), (25, 2))
    for y, x in spots:
        colour = rng.uniform((60, 30, 20), (140, 90, 70)).tolist()
        cv2.circle(picture, (int(x), int(y)), int(rng.integers(4, 16)), colour, -1)
    for _ in range(3):
        ends = rng.integers(0, (200, 150), (2, 2)).tolist()
        cv2.line(picture, *ends, (40, 30, 30), 1)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 1), 0, 255).astype(np.uint8)


def again(picture: np.ndarray, degrees: float, zoom: float, light: float) -> np.ndarray:
    """The same skin, photographed again: turned, nearer or farther, in another light."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2 + 9, height / 2 - 6), degrees, zoom)
    moved = cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.clip(moved * np.array([1.0, light, light]), 0, 255).astype(np.uint8)
