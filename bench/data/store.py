"""The store: every image of a dataset, decoded and resized once, in one file without labels.

Training reads only from here. A store is a folder of the cache:

    pixels.npy   (M, S, S, 3) uint8 RGB, images in image-id order
    index.json   image ids, hashes, sizes; written last, so a folder without it is no store
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from filelock import FileLock
from platformdirs import user_cache_path

from bench.data.images import find_images, read_images
from bench.data.sources import Source
from bench.errors import DataError
from bench.files import sha256_of
from bench.job import digest

FORMAT = 1


def cache_folder() -> Path:
    """Where stores and the synthetic set are kept: $BENCH_CACHE, else the user's cache folder."""
    return Path(os.environ.get("BENCH_CACHE") or user_cache_path("lesion-bench"))


@dataclass(frozen=True)
class StoreIndex:
    """What a store holds.

    pixels_sha256  identity of the pixels: sha256 of every image file, and the preprocessing chain
    content_sha256 hash of pixels.npy itself
    file_sizes     {"600x450": images of that size}
    """

    format: int
    pixels_sha256: str
    content_sha256: str
    files_sha256: str
    chain: list[dict[str, Any]]
    file_sizes: dict[str, int]
    image_ids: list[str]


@dataclass(frozen=True)
class Store:
    """An opened store: pixels is a read-only memory map (M, S, S, 3) uint8 RGB."""

    folder: Path
    index: StoreIndex
    pixels: np.ndarray


def preprocessing(image_size: int) -> list[dict[str, Any]]:
    """The chain that makes a store's pixels from an image: step names with parameters."""
    return [{"step": "resize", "size": image_size, "interpolation": "area"}]


def apply_chain(image: np.ndarray, chain: list[dict[str, Any]]) -> np.ndarray:
    """Run an image (H, W, 3) uint8 RGB through the chain."""
    for step in chain:
        if step["step"] != "resize":
            raise DataError(f"unknown preprocessing step {step['step']!r}")
        image = cv2.resize(image, (step["size"], step["size"]), interpolation=cv2.INTER_AREA)
    return image


def build_store(
    source: Source, image_size: int, advance: Callable[[], Any] = lambda: None
) -> Store:
    """The store of a dataset at a size; taken from the cache where its files are unchanged.

    Every image file is read and hashed each time, so changed files make another store. Calls
    `advance` once an image. Raises DataError that names unreadable files.
    """
    files = find_images(source)
    chain = preprocessing(image_size)
    root = cache_folder() / "stores"
    root.mkdir(parents=True, exist_ok=True)
    known = root / digest([FORMAT, source.manifest.name, _fingerprint(files), chain])[:20]
    with FileLock(f"{known}.lock"):
        if _is_sound(known):
            return open_store(known)
        shutil.rmtree(known, ignore_errors=True)
        return _build(files, chain, known, advance)


def _fingerprint(files: Mapping[str, Path]) -> str:
    """Hash of every file's id and content."""
    lines = hashlib.sha256()
    for image_id, path in files.items():
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; make the image readable") from None
        lines.update(f"{image_id},{hashlib.sha256(content).hexdigest()}\n".encode())
    return lines.hexdigest()


def _build(
    files: Mapping[str, Path],
    chain: list[dict[str, Any]],
    target: Path,
    advance: Callable[[], Any],
) -> Store:
    size = chain[-1]["size"]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as scratch:
        pixels = np.lib.format.open_memmap(
            Path(scratch, "pixels.npy"),
            mode="w+",
            dtype=np.uint8,
            shape=(len(files), size, size, 3),
        )
        sizes = [""] * len(files)

        def keep(position: int, image: np.ndarray) -> None:
            sizes[position] = f"{image.shape[1]}x{image.shape[0]}"
            pixels[position] = apply_chain(image, chain)

        hashes = read_images(files, keep, advance)
        pixels.flush()
        files_sha256 = hashlib.sha256(
            "".join(f"{image_id},{sha256}\n" for image_id, sha256 in hashes.items()).encode()
        ).hexdigest()
        index = StoreIndex(
            format=FORMAT,
            pixels_sha256=digest([files_sha256, chain]),
            content_sha256=sha256_of(Path(scratch, "pixels.npy")),
            files_sha256=files_sha256,
            chain=chain,
            file_sizes=dict(sorted(Counter(sizes).items())),
            image_ids=list(files),
        )
        Path(scratch, "index.json").write_text(json.dumps(asdict(index)), encoding="utf-8")
        Path(scratch).rename(target)
        Path(scratch).mkdir()  # what TemporaryDirectory expects to clean up
    return open_store(target)


def _is_sound(folder: Path) -> bool:
    """Whether a store is complete and its pixels are the ones its index speaks of."""
    try:
        index = _read_index(folder)
        return index.content_sha256 == sha256_of(folder / "pixels.npy")
    except (OSError, ValueError, TypeError):
        return False


def _read_index(folder: Path) -> StoreIndex:
    return StoreIndex(**json.loads((folder / "index.json").read_text(encoding="utf-8")))


def open_store(folder: Path) -> Store:
    """Open a store that was built before. Raises DataError where there is none."""
    try:
        index = _read_index(folder)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{folder}: no image store ({error}); python bench.py run makes it"
        ) from None
    return Store(folder, index, pixels)
