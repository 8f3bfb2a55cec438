"""Registration of two images: local features, a similarity transform, correlation.

Photographs of one lesion differ in position, rotation, scale, light and pressure, so hashes of the
whole image do not match. SIFT (Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94) finds keypoints
in both images, RANSAC the similarity transform with the most inliers. The correlation of the local
contrast in the overlap then measures whether the skin between the keypoints matches.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

WIDTH, QUICK_WIDTH = 200, 100
FEW, MANY = 100, 400
FEW_SIMILARITY, MANY_SIMILARITY = 0.85, 0.80
FEW_REACH, MANY_REACH = 3.0, 2.5  # largest distance of an inlier in pixels
FEWEST_MATCHES = 5
WITHIN = 0.99  # smallest covered share of a pixel that counts as overlap
SMALLEST_OVERLAP = 0.1
BORDER = 3


class Keypoints(NamedTuple):
    """Local features: points (F, 2) float32 in pixels of an image 200 pixels wide, and RootSIFT
    descriptors (F, 128) float32 of unit length (Arandjelovic & Zisserman 2012)."""

    points: np.ndarray
    descriptors: np.ndarray


class Features(NamedTuple):
    """Features of an image: keypoints, and local contrast (H, W) floating point."""

    keypoints: Keypoints
    contrast: np.ndarray


class Agreement(NamedTuple):
    """Inliers of one transform between two images; correlation of the local contrast after it.

    The correlation is -1 to 1, and 0 without overlap.
    """

    inliers: int
    correlation: float


NONE = Agreement(0, 0.0)


def find_keypoints(image: np.ndarray, most: int = FEW, zoom: int = 1) -> Keypoints:
    """The `most` strongest local features of an image (H, W, 3) uint8, width 200 x `zoom`."""
    grey = _grey(image, WIDTH * zoom)
    level = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(4, 3)).apply(grey)
    sift = cv2.SIFT_create(nfeatures=most, contrastThreshold=0.01, edgeThreshold=20)  # type: ignore[attr-defined]
    found, raw = sift.detectAndCompute(level, None)
    if raw is None:
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    points = np.array([keypoint.pt for keypoint in found], dtype=np.float32)[:most] / zoom
    share = raw[:most] / (raw[:most].sum(axis=1, keepdims=True) + 1e-9)
    return Keypoints(points, np.sqrt(share).astype(np.float32))


def coarse_features(image: np.ndarray) -> Features:
    """The features of an image (H, W, 3) uint8 for `prefilter`; about 60 kB."""
    return Features(find_keypoints(image, FEW), _contrast(image, QUICK_WIDTH).astype(np.float16))


def fine_features(image: np.ndarray) -> Features:
    """The features of an image (H, W, 3) uint8 for `register`."""
    return Features(find_keypoints(image, MANY, zoom=2), _contrast(image, WIDTH))


def prefilter(one: Features, other: Features) -> Agreement:
    """`register` with few keypoints and without refinement; takes about 0.2 ms."""
    inliers, transform = _fit(
        one.keypoints, other.keypoints, FEW_SIMILARITY, reach=FEW_REACH, trials=300
    )
    if transform is None:
        return NONE
    fixed = other.contrast.astype(np.float32)
    warped, overlap = _lay(one.contrast.astype(np.float32), transform, fixed.shape)
    return Agreement(inliers, _correlation(warped, fixed, overlap))


def register(one: Features, other: Features) -> Agreement:
    """Register one image to the other by keypoints, refine by ECC, and correlate.

    ECC: Evangelidis & Psarakis 2008, doi:10.1109/TPAMI.2008.113.
    """
    inliers, transform = _fit(
        one.keypoints, other.keypoints, MANY_SIMILARITY, reach=MANY_REACH, trials=3000
    )
    if transform is None:
        return NONE
    warped, overlap = _lay(one.contrast, transform, other.contrast.shape)
    best = _correlation(warped, other.contrast, overlap)
    return Agreement(inliers, max(best, _refine(warped, other.contrast, overlap)))


def view_of(image: np.ndarray, view: int) -> np.ndarray:
    """One of the 8 views of an image, in the order of `perceptual_hashes`."""
    if view == 0:
        return image
    return np.asarray(Image.fromarray(image).transpose(Image.Transpose(view - 1)))


def overlay(one: np.ndarray, other: np.ndarray, view: int) -> float:
    """Correlation of the local contrast of two whole images, -1 to 1, after refinement by ECC.

    one, other (H, W, 3) uint8 of any sizes; `view` of one is compared. Needs no keypoints, so it
    also works for smooth images. Takes about 4 ms. Returns 0 for images without contrast.
    """
    fixed = _contrast(other, QUICK_WIDTH)
    height, width = other.shape[:2]
    turned = cv2.resize(view_of(one, view), (width, height), interpolation=cv2.INTER_AREA)
    warped = _contrast(turned, QUICK_WIDTH)
    inside = np.zeros_like(warped)
    inside[BORDER:-BORDER, BORDER:-BORDER] = 1
    return max(_correlation(warped, fixed, inside), _refine(warped, fixed, inside))


def _grey(image: np.ndarray, width: int) -> np.ndarray:
    height = max(2 * BORDER + 2, round(image.shape[0] * width / image.shape[1]))
    smaller = width < image.shape[1]
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grey, (width, height), interpolation=how))


def _fit(
    one: Keypoints, other: Keypoints, similarity: float, *, reach: float, trials: int
) -> tuple[int, np.ndarray | None]:
    """Mutual nearest neighbours, then RANSAC: inliers and the transform (2, 3) from one to other.

    reach is the largest distance of an inlier in pixels.
    """
    if min(len(one.points), len(other.points)) < FEWEST_MATCHES:
        return 0, None
    similarities = one.descriptors @ other.descriptors.T
    nearest = similarities.argmax(axis=1)
    here = np.arange(len(nearest))
    mutual = similarities.argmax(axis=0)[nearest] == here
    kept = np.flatnonzero(mutual & (similarities[here, nearest] > similarity))
    if len(kept) < FEWEST_MATCHES:
        return 0, None
    transform, inside = cv2.estimateAffinePartial2D(
        one.points[kept],
        other.points[nearest[kept]],
        ransacReprojThreshold=reach,
        maxIters=trials,
        confidence=0.999,
    )
    return (0, None) if transform is None else (int(inside.sum()), np.asarray(transform))


def _contrast(image: np.ndarray, width: int) -> np.ndarray:
    """Local contrast (H, width) float32: detail over its strength in the neighbourhood."""
    grey = _grey(image, width).astype(np.float32)
    zoom = width / WIDTH
    detail = grey - cv2.GaussianBlur(grey, (0, 0), 4 * zoom)
    strength = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), 12 * zoom)) + 2
    return np.asarray(detail / strength, dtype=np.float32)


def _lay(
    contrast: np.ndarray, transform: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """An image warped by the transform to `shape`, and the covered share of each pixel; float32."""
    scaled = transform.copy()
    scaled[:, 2] *= shape[1] / WIDTH
    inside = np.zeros_like(contrast)
    inside[BORDER:-BORDER, BORDER:-BORDER] = 1
    warped, overlap = (cv2.warpAffine(p, scaled, shape[::-1]) for p in (contrast, inside))
    return warped, overlap


def _refine(warped: np.ndarray, fixed: np.ndarray, overlap: np.ndarray) -> float:
    """The correlation after a small affine correction; 0 if ECC does not converge."""
    if (overlap > WITHIN).mean() < SMALLEST_OVERLAP:
        return 0.0
    mask = (overlap > WITHIN).astype(np.uint8)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, warp = cv2.findTransformECC(fixed, warped, start, cv2.MOTION_AFFINE, criteria, mask, 5)
    except cv2.error:  # ECC does not converge for unrelated images
        return 0.0
    size, flags = fixed.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(warped, warp, size, flags=flags)
    return _correlation(moved, fixed, cv2.warpAffine(overlap, warp, size, flags=flags))


def _correlation(one: np.ndarray, other: np.ndarray, overlap: np.ndarray) -> float:
    """Correlation of two contrasts in the overlap; 0 if the overlap is too small."""
    inside = overlap > WITHIN
    if inside.mean() < SMALLEST_OVERLAP:
        return 0.0
    a, b = (cv2.GaussianBlur(contrast, (0, 0), 1)[inside] for contrast in (one, other))
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
