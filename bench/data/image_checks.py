"""Checks of image files: format, size, complete decoding, and content."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from bench.data.images import MAX_PIXELS, decode_picture, read_picture
from bench.data.issues import Issue
from bench.io import map_on_all_cores

SUFFIXES_OF = {"JPEG": {".jpg", ".jpeg"}, "MPO": {".jpg", ".jpeg"}, "PNG": {".png"}}
PNG_MAGIC, PNG_DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24
BYTE_BITS = 8
BLANK_SPREAD = 3.0
"""Standard deviation of grey values (0 to 255) below which an image counts as blank."""
GREY_DIFFERENCE = 2
SMALL = 64


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """The result of the checks of one image file.

    size      (width, height) in pixels, None if unknown
    readable  whether the bench can train on the image
    """

    image_id: str
    sha256: str
    size: tuple[int, int] | None
    readable: bool
    issues: tuple[Issue, ...]


def check_images(
    files: Mapping[str, Path], advance: Callable[[], object] = lambda: None
) -> list[ImageCheck]:
    """Check all files on all cores; faults are collected, not raised."""

    def check(item: tuple[str, Path]) -> ImageCheck:
        try:
            return check_image(*item)
        finally:
            advance()

    return list(map_on_all_cores(check, files.items()))


def check_image(image_id: str, path: Path) -> ImageCheck:
    """Check one file."""
    try:
        content = read_picture(path)
    except OSError as error:
        issue = Issue("unreadable", image_id, f"{path.name}: {error.strerror}")
        return ImageCheck(image_id, "", None, False, (issue,))
    faults, size = _header_faults(content, path.suffix.lower())
    if not any(kind in {"bomb", "deep"} for kind, _ in faults):
        faults += _pixel_faults(content)
    readable = not any(kind in {"bomb", "deep", "unreadable"} for kind, _ in faults)
    issues = tuple(Issue(kind, image_id, f"{path.name}: {what}") for kind, what in faults)
    return ImageCheck(image_id, hashlib.sha256(content).hexdigest(), size, readable, issues)


def _header_faults(
    content: bytes, suffix: str
) -> tuple[list[tuple[str, str]], tuple[int, int] | None]:
    """Kinds and texts of the faults in the header, and the size in the header."""
    found: list[tuple[str, str]] = []
    try:
        with Image.open(io.BytesIO(content)) as image:
            size, kind, mode = image.size, image.format or "", image.mode
            frames = getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return [("bomb", str(error).split(",", 1)[0])], None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error):
        return found, None
    if suffix not in SUFFIXES_OF.get(kind, ()):
        found.append(("content", f"{kind} content"))
    if size[0] * size[1] > MAX_PIXELS:
        found.append(("bomb", f"{size[0]}x{size[1]} pixels"))
    if mode.startswith(("I", "F")) or _png_depth(content) > BYTE_BITS:
        found.append(("deep", f"mode {mode}, {_png_depth(content) or 'more than 8'} bits"))
    if mode == "CMYK":
        found.append(("cmyk", "CMYK"))
    if kind != "MPO" and frames > 1:
        found.append(("animated", f"{frames} frames"))
    if min(size) < SMALL:
        found.append(("small", f"{size[0]}x{size[1]}"))
    return found, size


def _png_depth(content: bytes) -> int:
    """Bits per channel of a PNG, 0 for other formats; Pillow truncates 16 bits without warning."""
    is_png = content.startswith(PNG_MAGIC) and len(content) > PNG_DEPTH_AT
    return content[PNG_DEPTH_AT] if is_png else 0


def _pixel_faults(content: bytes) -> list[tuple[str, str]]:
    """Kinds and texts of the faults in the pixels."""
    try:
        pixels, turned, flattened = decode_picture(content)
    except ValueError as error:
        return [("unreadable", str(error) or "not an image")]
    found = [("turned", "EXIF orientation")] if turned else []
    if flattened:
        found.append(("alpha", "transparent parts"))
    spread = float(pixels.mean(axis=2, dtype=np.float32).std())
    if spread < BLANK_SPREAD:
        found.append(("blank", f"standard deviation of grey values {spread:.1f} of 255"))
    elif _is_grey(pixels):
        found.append(("grey", "three equal channels"))
    return found


def _is_grey(pixels: np.ndarray) -> bool:
    """Whether the channels of (H, W, 3) uint8 are nearly equal in all pixels."""
    wide = pixels.astype(np.int16)
    return bool((np.ptp(wide, axis=2) <= GREY_DIFFERENCE).all())
