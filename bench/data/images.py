"""Image files: found by image id, read whole, decoded to RGB."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.sources import Source
from bench.errors import DataError, listing

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
MAX_PIXELS = 100_000_000
"""An image of more pixels is refused before it is decoded."""


def find_images(source: Source) -> dict[str, Path]:
    """The file of every image id, anywhere below the source's folder, suffix in any case.

    Raises DataError that names the ids without a file, or with two.
    """
    wanted = set(source.manifest.image_ids.tolist())
    found: dict[str, Path] = {}
    twice: list[str] = []
    walked: set[str] = set()
    for folder, below, names in os.walk(source.folder, followlinks=True):
        walked.add(os.path.realpath(folder))
        # a link to a folder seen before may lead round in circles
        below[:] = [b for b in below if os.path.realpath(Path(folder, b)) not in walked]
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a Path a file is slow at 400,000
            if suffix.lower() not in SUFFIXES or stem not in wanted:
                continue
            path = Path(folder, name)
            if stem in found and not _same_content(found[stem], path):
                twice.append(f"{found[stem]} and {path}")
            found.setdefault(stem, path)
    if twice:
        raise DataError(f"images with two different files: {listing(sorted(twice))}; remove one")
    missing = sorted(wanted - found.keys())
    if missing:
        raise DataError(
            f"{len(missing)} of {len(wanted)} image files are missing below {source.folder}: "
            f"{listing(missing)}; each image of the metadata needs <image_id>.jpg (or .png)"
        )
    return dict(sorted(found.items()))


def _same_content(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()


def decode(content: bytes) -> np.ndarray:
    """Decode a whole image file to (H, W, 3) uint8 RGB. Raises ValueError that says the fault."""
    if not content:
        raise ValueError("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are too many")
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a channel; convert it to 8 bits")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        # pillow raises these for what is truncated, broken or no image at all
        raise ValueError(str(error).split("<", 1)[0].strip().rstrip(":")) from None


def read_images(
    files: Mapping[str, Path], use: Callable[[int, np.ndarray], None], advance: Callable[[], Any]
) -> dict[str, str]:
    """Decode every file on all cores, hand each image to `use(position, image)`.

    Gives the sha256 of every file by image id. Raises DataError that names all files that cannot
    be read, up to twenty.
    """

    def read(item: tuple[int, Path]) -> tuple[str, str]:
        position, path = item
        try:
            content = path.read_bytes()
            use(position, decode(content))
        except (OSError, ValueError) as error:
            return "", f"{path} ({getattr(error, 'strerror', None) or error})"
        finally:
            advance()
        return hashlib.sha256(content).hexdigest(), ""

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        outcomes = list(pool.map(read, enumerate(files.values()), chunksize=64))
    _refuse_unreadable(fault for _, fault in outcomes if fault)
    return dict(zip(files, (sha256 for sha256, _ in outcomes), strict=True))


def _refuse_unreadable(faults: Iterable[str]) -> None:
    faults = list(faults)
    if faults:
        raise DataError(
            f"{len(faults)} image files cannot be read: {listing(faults)}; "
            "fetch them again, or remove their rows from the metadata and freeze a new protocol"
        )
