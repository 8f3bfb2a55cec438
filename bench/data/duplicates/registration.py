"""Whether two pictures show the same skin: local features, a similarity transform, correlation.

Two photographs of one lesion differ by shift, turn, scale, light and pressure, which no hash of
the whole picture survives. SIFT (Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94) finds the same
spots in both, RANSAC the similarity transform that most of them agree on, and the correlation of
the local contrast where the pictures then overlap says whether the skin between the spots agrees.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

WIDTH, QUICK_WIDTH = 200, 100
FEW, MANY = 100, 400
FEW_SIMILARITY, MANY_SIMILARITY = 0.85, 0.80
FEW_REACH, MANY_REACH = 3.0, 2.5  # pixels between a spot and where the transform puts its match
FEWEST_MATCHES = 5
WITHIN = 0.99  # how much of a pixel must lie within both pictures to count
SMALLEST_OVERLAP = 0.1
BORDER = 3


class Spots(NamedTuple):
    """Local features: points (F, 2) float32 in pixels of a 200 pixels wide picture, and RootSIFT
    descriptors (F, 128) float32 of unit length (Arandjelovic & Zisserman 2012)."""

    points: np.ndarray
    descriptors: np.ndarray


class Look(NamedTuple):
    """A look at a picture: its spots, and its local contrast (H, W) floating point."""

    spots: Spots
    contrast: np.ndarray


class Agreement(NamedTuple):
    """How far two pictures agree: spots that fit one transform; the correlation of their contrast
    after it, -1 to 1, 0 where they do not overlap."""

    inliers: int
    correlation: float


NONE = Agreement(0, 0.0)


def find_spots(image: np.ndarray, most: int = FEW, zoom: int = 1) -> Spots:
    """The `most` strongest local features of a picture (H, W, 3) uint8, sought at 200 x `zoom`
    pixels of width."""
    grey = _grey(image, WIDTH * zoom)
    level = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(4, 3)).apply(grey)
    sift = cv2.SIFT_create(nfeatures=most, contrastThreshold=0.01, edgeThreshold=20)  # type: ignore[attr-defined]
    found, raw = sift.detectAndCompute(level, None)
    if raw is None:
        return Spots(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    points = np.array([spot.pt for spot in found], dtype=np.float32)[:most] / zoom
    share = raw[:most] / (raw[:most].sum(axis=1, keepdims=True) + 1e-9)
    return Spots(points, np.sqrt(share).astype(np.float32))


def look_quickly(image: np.ndarray) -> Look:
    """What `compare_quickly` compares, of a picture (H, W, 3) uint8: some 60 kB."""
    return Look(find_spots(image, FEW), _contrast(image, QUICK_WIDTH).astype(np.float16))


def look_closely(image: np.ndarray) -> Look:
    """What `register` compares, of a picture (H, W, 3) uint8."""
    return Look(find_spots(image, MANY, zoom=2), _contrast(image, WIDTH))


def compare_quickly(one: Look, other: Look) -> Agreement:
    """`register` without refinement, by the few spots of quick looks: some 0.2 ms."""
    inliers, transform = _fit(one.spots, other.spots, FEW_SIMILARITY, reach=FEW_REACH, trials=300)
    if transform is None:
        return NONE
    fixed = other.contrast.astype(np.float32)
    laid, overlap = _lay(one.contrast.astype(np.float32), transform, fixed.shape)
    return Agreement(inliers, _correlation(laid, fixed, overlap))


def register(one: Look, other: Look) -> Agreement:
    """Lay one picture over the other as their spots say, refine by ECC, and correlate.

    ECC: Evangelidis & Psarakis 2008, doi:10.1109/TPAMI.2008.113.
    """
    inliers, transform = _fit(
        one.spots, other.spots, MANY_SIMILARITY, reach=MANY_REACH, trials=3000
    )
    if transform is None:
        return NONE
    laid, overlap = _lay(one.contrast, transform, other.contrast.shape)
    best = _correlation(laid, other.contrast, overlap)
    return Agreement(inliers, max(best, _refine(laid, other.contrast, overlap)))


def seen_as(image: np.ndarray, view: int) -> np.ndarray:
    """One of the 8 views of a picture, in the order of `hashes.perceptual_hashes`."""
    if view == 0:
        return image
    return np.asarray(Image.fromarray(image).transpose(Image.Transpose(view - 1)))


def overlay(one: np.ndarray, other: np.ndarray, view: int) -> float:
    """Correlation of the local contrast of two pictures, -1 to 1, where a view of one is laid over
    the whole of the other and refined by ECC: whether they are the same picture.

    one, other (H, W, 3) uint8 of any sizes. It needs no spots, so smooth pictures agree, too. Some
    4 ms. 0 where there is no contrast.
    """
    fixed = _contrast(other, QUICK_WIDTH)
    height, width = other.shape[:2]
    turned = cv2.resize(seen_as(one, view), (width, height), interpolation=cv2.INTER_AREA)
    laid = _contrast(turned, QUICK_WIDTH)
    inside = np.zeros_like(laid)
    inside[BORDER:-BORDER, BORDER:-BORDER] = 1
    return max(_correlation(laid, fixed, inside), _refine(laid, fixed, inside))


def _grey(image: np.ndarray, width: int) -> np.ndarray:
    height = max(2 * BORDER + 2, round(image.shape[0] * width / image.shape[1]))
    smaller = width < image.shape[1]
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grey, (width, height), interpolation=how))


def _fit(
    one: Spots, other: Spots, similarity: float, *, reach: float, trials: int
) -> tuple[int, np.ndarray | None]:
    """Mutual nearest neighbours, then RANSAC: inliers and the transform (2, 3) from one to other.

    reach is the largest distance of an inlier in pixels.
    """
    if min(len(one.points), len(other.points)) < FEWEST_MATCHES:
        return 0, None
    likeness = one.descriptors @ other.descriptors.T
    nearest = likeness.argmax(axis=1)
    here = np.arange(len(nearest))
    mutual = likeness.argmax(axis=0)[nearest] == here
    kept = np.flatnonzero(mutual & (likeness[here, nearest] > similarity))
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
    """A picture as the transform puts it on another of `shape`, and how much of each pixel there
    it covers, both (H, W) float32."""
    scaled = transform.copy()
    scaled[:, 2] *= shape[1] / WIDTH
    inside = np.zeros_like(contrast)
    inside[BORDER:-BORDER, BORDER:-BORDER] = 1
    laid, overlap = (cv2.warpAffine(p, scaled, shape[::-1]) for p in (contrast, inside))
    return laid, overlap


def _refine(laid: np.ndarray, fixed: np.ndarray, overlap: np.ndarray) -> float:
    """The correlation after a small affine correction; 0 where ECC finds none."""
    if (overlap > WITHIN).mean() < SMALLEST_OVERLAP:
        return 0.0
    mask = (overlap > WITHIN).astype(np.uint8)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, warp = cv2.findTransformECC(fixed, laid, start, cv2.MOTION_AFFINE, criteria, mask, 5)
    except cv2.error:  # it says so when the pictures have nothing in common
        return 0.0
    size, flags = fixed.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(laid, warp, size, flags=flags)
    return _correlation(moved, fixed, cv2.warpAffine(overlap, warp, size, flags=flags))


def _correlation(one: np.ndarray, other: np.ndarray, overlap: np.ndarray) -> float:
    """Of two contrasts where they overlap; 0 where that is too little to tell."""
    inside = overlap > WITHIN
    if inside.mean() < SMALLEST_OVERLAP:
        return 0.0
    a, b = (cv2.GaussianBlur(picture, (0, 0), 1)[inside] for picture in (one, other))
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
