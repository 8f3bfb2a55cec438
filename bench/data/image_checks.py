"""Checks of image files: each is decoded to its end and measured."""

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
"""Standard deviation of grey values, of 255, below which nothing can be seen on a picture."""
GREY_DIFFERENCE = 2
SMALL = 64


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in one image file.

    size  (width, height) in pixels, None where it is unknown
    readable  whether the bench can train on it
    """

    image_id: str
    sha256: str
    size: tuple[int, int] | None
    readable: bool
    faults: tuple[Issue, ...]


def look_at_files(
    files: Mapping[str, Path], advance: Callable[[], object] = lambda: None
) -> list[Looked]:
    """Look at every file on all cores; nothing that is wrong stops it."""

    def look(item: tuple[str, Path]) -> Looked:
        try:
            return look_at(*item)
        finally:
            advance()

    return list(map_on_all_cores(look, files.items()))


def look_at(image_id: str, path: Path) -> Looked:
    """Look at one file."""
    try:
        content = read_picture(path)
    except OSError as error:
        fault = Issue("unreadable", image_id, f"{path.name}: {error.strerror}")
        return Looked(image_id, "", None, False, (fault,))
    found, size = _header(content, path.suffix.lower())
    if not any(kind in {"bomb", "deep"} for kind, _ in found):
        found += _pixels(content)
    readable = not any(kind in {"bomb", "deep", "unreadable"} for kind, _ in found)
    faults = tuple(Issue(kind, image_id, f"{path.name}: {what}") for kind, what in found)
    return Looked(image_id, hashlib.sha256(content).hexdigest(), size, readable, faults)


def _header(content: bytes, suffix: str) -> tuple[list[tuple[str, str]], tuple[int, int] | None]:
    """Kinds of fault that the header tells, and the size it claims."""
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
    """Bits a channel of a PNG; 0 where it is none. Pillow drops the lower half of 16 unasked."""
    is_png = content.startswith(PNG_MAGIC) and len(content) > PNG_DEPTH_AT
    return content[PNG_DEPTH_AT] if is_png else 0


def _pixels(content: bytes) -> list[tuple[str, str]]:
    """Kinds of fault that only the pixels tell."""
    try:
        pixels, turned, flattened = decode_picture(content)
    except ValueError as error:
        return [("unreadable", str(error) or "no image")]
    found = [("turned", "EXIF orientation")] if turned else []
    if flattened:
        found.append(("alpha", "transparent parts"))
    spread = float(pixels.mean(axis=2, dtype=np.float32).std())
    if spread < BLANK_SPREAD:
        found.append(("blank", f"grey values spread by {spread:.1f} of 255"))
    elif _is_grey(pixels):
        found.append(("grey", "three equal channels"))
    return found


def _is_grey(pixels: np.ndarray) -> bool:
    """Whether the channels of (H, W, 3) uint8 are as good as equal everywhere."""
    wide = pixels.astype(np.int16)
    return bool((np.ptp(wide, axis=2) <= GREY_DIFFERENCE).all())
