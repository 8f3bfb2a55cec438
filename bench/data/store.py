"""The store: every image of a dataset, decoded and preprocessed once, in one file without labels.

Training reads only from here. A store is a folder of the cache, named by the content of the image
files and the preprocessing chain, so all folds, seeds and methods that want the same pixels share
it, and each process maps it into memory and reads what it needs:

    pixels.npy   (M, S, S, 3) uint8 RGB, images in image-id order
    index.json   image ids, hashes, sizes; written last, so a folder without it is no store

`bench.data.building` makes them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from bench.errors import DataError
from bench.files import sha256_of
from bench.job import digest

FORMAT = 2
"""Of what this code writes; 2 turns images upright by EXIF and lays transparent ones over black."""


def cache_folder() -> Path:
    """Where stores and the synthetic set are kept: $BENCH_CACHE, else the user's cache folder."""
    return Path(os.environ.get("BENCH_CACHE") or user_cache_path("lesion-bench"))


def stores_folder() -> Path:
    """Where the stores lie."""
    return cache_folder() / "stores"


@dataclass(frozen=True)
class StoreIndex:
    """What a store holds.

    dataset        its name
    pixels_sha256  identity of the pixels: sha256 of every image file, and the preprocessing chain
    content_sha256 hash of pixels.npy itself
    chain          the recorded steps
    file_sizes     {"600x450": images of that size}, as they are shown: after EXIF rotation
    turned, flattened  images turned upright by EXIF; images whose transparent parts became black
    """

    format: int
    dataset: str
    pixels_sha256: str
    content_sha256: str
    files_sha256: str
    chain: list[dict[str, Any]]
    file_sizes: dict[str, int]
    turned: int
    flattened: int
    image_ids: list[str]


@dataclass(frozen=True)
class Store:
    """An opened store: pixels is a read-only memory map (M, S, S, 3) uint8 RGB."""

    folder: Path
    index: StoreIndex
    pixels: np.ndarray


def pixels_identity(files_sha256: str, chain: list[dict[str, Any]], *, altered: bool) -> str:
    """What tells pixels from others: the files they come from, the recorded chain, and, where it
    altered any of them, how files are decoded."""
    return digest([files_sha256, chain, *([{"decoding": FORMAT}] if altered else [])])


def is_sound(folder: Path) -> bool:
    """Whether a store is complete and its pixels are the ones its index speaks of."""
    try:
        index = read_index(folder)
        return index.content_sha256 == sha256_of(folder / "pixels.npy")
    except (OSError, ValueError, TypeError):
        return False


def read_index(folder: Path) -> StoreIndex:
    """What a store says it holds. Raises OSError, ValueError or TypeError where it is none."""
    return StoreIndex(**json.loads((folder / "index.json").read_text(encoding="utf-8")))


def open_store(folder: Path) -> Store:
    """Open a store that was built before. Raises DataError where there is none."""
    try:
        index = read_index(folder)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{folder}: no image store ({error}); python bench.py run makes it"
        ) from None
    return Store(folder, index, pixels)


@contextmanager
def lock_if_free(folder: Path) -> Iterator[bool]:
    """Hold the lock of a store's folder; False where another process has it."""
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@dataclass(frozen=True)
class Cached:
    """A folder among the stores.

    state   "whole", "unfinished" (its build goes on where it stopped), or "unreadable": of another
            version, or damaged
    index   of a whole store
    """

    folder: Path
    state: Literal["whole", "unfinished", "unreadable"]
    index: StoreIndex | None
    size: int


def cached_stores() -> list[Cached]:
    """All stores in the cache, whole or not, by name."""
    root = stores_folder()
    folders = sorted(path for path in root.glob("*") if path.is_dir())
    return [_look(folder) for folder in folders]


def _look(folder: Path) -> Cached:
    size = sum(path.stat().st_size for path in folder.glob("*"))
    if "building" in folder.name:
        return Cached(folder, "unfinished", None, size)
    try:
        return Cached(folder, "whole", read_index(folder), size)
    except (OSError, ValueError, TypeError):
        return Cached(folder, "unreadable", None, size)


def remove(cached: Cached) -> bool:
    """Remove a store unless a build holds it; whether it is gone. Jobs that read it go on: what
    they have mapped stays until they end."""
    with lock_if_free(cached.folder.with_suffix("")) as free:
        if free:
            shutil.rmtree(cached.folder)
        return free
