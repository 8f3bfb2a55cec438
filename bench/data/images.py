"""Image files: found by image id, read whole, decoded to RGB."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from bench.data.open import OpenDataset
from bench.errors import DataError, listing
from bench.io import map_on_all_cores, read_file, special_file_kind

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
MAX_PIXELS = 100_000_000
"""An image of more pixels is refused before it is decoded."""
MAX_BYTES = 512 * 2**20
"""Limit for an image file; larger than MAX_PIXELS need even without compression."""
ORIENTATION, UPRIGHT, TURNED, SIDEWAYS = 0x0112, 1, range(2, 9), range(5, 9)
FORMATS = ("JPEG", "PNG")
OPAQUE = 255


class FoundImages(NamedTuple):
    """The image files of a folder.

    files     path by image id
    twice     ids with two different files, as text
    unwanted  image files without an id in the dataset
    waiting   pipes, sockets and devices in place of images, as text by image id
    """

    files: dict[str, Path]
    twice: list[str]
    unwanted: list[Path]
    waiting: dict[str, str]


def look_for_images(folder: Path, wanted: Collection[str]) -> FoundImages:
    """Find the file of every wanted image id in a folder and below; suffixes in any case."""
    found: dict[str, Path] = {}
    twice: list[str] = []
    unwanted: list[Path] = []
    waiting: dict[str, str] = {}
    walked: set[str] = set()
    for parent, below, names in os.walk(folder, followlinks=True):
        walked.add(os.path.realpath(parent))
        # a link to a visited folder would be a cycle
        below[:] = [b for b in below if os.path.realpath(Path(parent, b)) not in walked]
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a Path per file is slow for 400,000 files
            if suffix.lower() not in SUFFIXES:
                continue
            path = Path(parent, name)
            if stem not in wanted:
                unwanted.append(path)
                continue
            if not os.path.isfile(path) and (kind := special_file_kind(path)):  # noqa: PTH113 - as above
                waiting[stem] = f"{path} is {kind}"
                continue
            if stem in found and not _same_content(found[stem], path):
                twice.append(f"{found[stem]} and {path}")
            found.setdefault(stem, path)
    found, waiting = dict(sorted(found.items())), dict(sorted(waiting.items()))
    return FoundImages(found, sorted(twice), sorted(unwanted), waiting)


def find_images(source: OpenDataset) -> dict[str, Path]:
    """The file of every image id of the dataset, in its folder and below; suffixes in any case.

    Raises DataError that names ids without a file, with two files, or with a special file.
    """
    wanted = set(source.manifest.image_ids.tolist())
    found = look_for_images(source.folder, wanted)
    if found.waiting:
        raise DataError(f"not image files: {listing(list(found.waiting.values()))}; remove them")
    if found.twice:
        raise DataError(f"images with two different files: {listing(found.twice)}; remove one")
    missing = sorted(wanted - found.files.keys())
    if missing:
        raise DataError(
            f"{len(missing)} of {len(wanted)} image files are missing below {source.folder}: "
            f"{listing(missing)}; each image of the metadata needs <image_id>.jpg (or .png)"
        )
    return found.files


def read_picture(path: Path) -> bytes:
    """The content of an image file. Raises OSError for special files and above MAX_BYTES."""
    return read_file(path, MAX_BYTES)


def _same_content(first: Path, second: Path) -> bool:
    try:
        return read_picture(first) == read_picture(second)
    except OSError:
        return False


def loader(files: Mapping[str, Path]) -> Callable[[str], np.ndarray]:
    """A function that reads and decodes the pixels (H, W, 3) uint8 RGB of an image id.

    It raises DataError that names a file which cannot be read.
    """

    def load(image_id: str) -> np.ndarray:
        path = files[image_id]
        try:
            return decode(read_picture(path))
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None

    return load


def with_image_sizes(source: OpenDataset) -> OpenDataset:
    """The dataset with the size of every image file, read from the headers.

    Raises DataError that names a file which is missing or cannot be read.
    """
    files = find_images(source)
    sizes = dict(zip(files, map_on_all_cores(_size_of, files.values()), strict=True))
    table = source.manifest.table
    table = table.assign(image_size=table["image_id"].map(sizes))
    return replace(source, manifest=replace(source.manifest, table=table))


def _size_of(path: Path) -> str:
    """Upright width and height of an image file, "600x450"."""
    try:
        with path.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
            sideways = _orientation(image) in SIDEWAYS
            width, height = image.size[::-1] if sideways else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None
    return f"{width}x{height}"


def _unreadable(path: Path, error: Exception) -> DataError:
    what = getattr(error, "strerror", None) or _fault(error)
    return DataError(f"{path}: {what}; download it again, or remove its row from the metadata")


def _fault(error: Exception) -> str:
    """Pillow's message for a truncated or damaged file, without the object in it."""
    return str(error).split("<", 1)[0].strip().rstrip(":")


class Picture(NamedTuple):
    """A decoded image file: pixels (H, W, 3) uint8 RGB.

    turned     whether its EXIF orientation was applied
    flattened  whether transparent parts became black, like the area outside a dermatoscope's view
    """

    pixels: np.ndarray
    turned: bool = False
    flattened: bool = False


def decode(content: bytes) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB. Raises ValueError with the fault."""
    return decode_picture(content).pixels


def decode_picture(content: bytes) -> Picture:
    """Decode an image file to a Picture. Raises ValueError with the fault."""
    if not content:
        raise ValueError("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels exceed the limit")
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits per channel; convert it to 8 bits")
            turned = _orientation(image) in TURNED
            upright = ImageOps.exif_transpose(image) if turned else image
            flat, flattened = _flatten(upright)
            return Picture(np.asarray(flat), turned, flattened)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(_fault(error)) from None


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation; upright if it is missing or unreadable."""
    try:
        return image.getexif().get(ORIENTATION, UPRIGHT)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return UPRIGHT


def _flatten(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image in RGB, and whether any part was transparent."""
    if not image.has_transparency_data:
        return image.convert("RGB"), False
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (OPAQUE, OPAQUE):
        return layered.convert("RGB"), False
    ground = Image.new("RGBA", layered.size, "black")
    return Image.alpha_composite(ground, layered).convert("RGB"), True
