"""The image cache: decoded and preprocessed images in one file, without labels.

Training reads images only from here. An image cache is a folder, named by the content of the image
files and the preprocessing chain. All folds, seeds and methods with the same pixels share it; each
process maps it into memory:

    pixels.npy   (M, S, S, 3) uint8 RGB, images in image-id order
    index.json   image ids, hashes, sizes; written last, so only complete caches have it

A partial build is the folder `<name>.building`: `pixels.npy` with its full length from the start,
so that a full disk is detected before the work, and `journal.jsonl` with one line per finished
block of images and the hash of its pixels. After kill -9 or a power failure, the next build keeps
the blocks with a correct hash and repeats the others; then it writes the index and renames the
folder. Only one block of images is in memory at a time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import cv2
import numpy as np
from filelock import FileLock, Timeout

from bench.data.images import decode_picture, find_images, read_picture
from bench.data.open import OpenDataset
from bench.data.preprocess import Chain, preprocess_image_cv, recorded, side_of
from bench.errors import DataError, listing
from bench.io import map_on_all_cores, sha256_of, thread_pool
from bench.job import digest
from bench.settings import workspace

FORMAT = 2
"""Version of the pixels; 2 applies the EXIF orientation and makes transparent parts black."""


def cache_folder() -> Path:
    """The folder of all cached data: $BENCH_CACHE, else the cache of the workspace."""
    return Path(os.environ.get("BENCH_CACHE") or workspace() / "cache")


def caches_folder() -> Path:
    """The folder of the image caches."""
    return cache_folder() / "stores"


@dataclass(frozen=True)
class CacheIndex:
    """Content of an image cache.

    dataset        short name of the dataset
    pixels_sha256  identity of the pixels: sha256 of every image file, and the preprocessing chain
    content_sha256 hash of pixels.npy
    chain          the recorded steps
    file_sizes     number of files by upright size, {"600x450": 10015}
    turned, flattened  images rotated by EXIF; images whose transparent parts became black
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
class ImageCache:
    """An opened image cache: pixels is a read-only memory map (M, S, S, 3) uint8 RGB."""

    folder: Path
    index: CacheIndex
    pixels: np.ndarray


def pixels_identity(files_sha256: str, chain: list[dict[str, Any]], *, altered: bool) -> str:
    """Identity of pixels: hash of the files, chain, and decoder version if an image was altered."""
    return digest([files_sha256, chain, *([{"decoding": FORMAT}] if altered else [])])


def is_sound(folder: Path) -> bool:
    """Whether an image cache is complete and its pixels have the hash in its index."""
    try:
        index = read_index(folder)
        return index.content_sha256 == sha256_of(folder / "pixels.npy")
    except (OSError, ValueError, TypeError):
        return False


def read_index(folder: Path) -> CacheIndex:
    """The index of an image cache. Raises OSError, ValueError or TypeError if it is invalid."""
    return CacheIndex(**json.loads((folder / "index.json").read_text(encoding="utf-8")))


def open_cache(folder: Path) -> ImageCache:
    """Open a complete image cache. Raises DataError if there is none."""
    try:
        index = read_index(folder)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{folder}: no image cache ({error}); build it: python bench.py run"
        ) from None
    return ImageCache(folder, index, pixels)


@contextmanager
def lock_if_free(folder: Path) -> Iterator[bool]:
    """Hold the lock of an image cache; yields False if another process has it."""
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
class CacheEntry:
    """A folder of the image caches.

    state   "whole", "unfinished" (the next run continues the build), or "unreadable": of another
            version, or damaged
    index   index of a whole cache
    size    bytes
    """

    folder: Path
    state: Literal["whole", "unfinished", "unreadable"]
    index: CacheIndex | None
    size: int


def list_caches() -> list[CacheEntry]:
    """All image caches, complete or not, sorted by name."""
    root = caches_folder()
    folders = sorted(path for path in root.glob("*") if path.is_dir())
    return [_inspect(folder) for folder in folders]


def _inspect(folder: Path) -> CacheEntry:
    size = sum(path.stat().st_size for path in folder.glob("*"))
    if "building" in folder.name:
        return CacheEntry(folder, "unfinished", None, size)
    try:
        return CacheEntry(folder, "whole", read_index(folder), size)
    except (OSError, ValueError, TypeError):
        return CacheEntry(folder, "unreadable", None, size)


def remove(cached: CacheEntry) -> bool:
    """Remove an image cache unless a process is building it; return whether it was removed.

    Jobs that read it can continue: their memory maps stay valid.
    """
    with lock_if_free(cached.folder.with_suffix("")) as free:
        if free:
            shutil.rmtree(cached.folder)
        return free


SUFFIX = ".building"
BLOCK_BYTES, BLOCK_IMAGES = 32 << 20, 512
"""Limits of a block, which is in memory: bytes (but at least one image) and images."""
SPARE_BYTES = 64 << 20
"""Free space on the disk that a build leaves."""


class PreparedImage(NamedTuple):
    """Facts about one preprocessed image, or the fault of its file."""

    size: str = ""
    turned: bool = False
    flattened: bool = False
    fault: str = ""


@dataclass
class FileCounts:
    """Counts of the files of the finished blocks."""

    sizes: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    flattened: int = 0

    def add(self, sizes: Mapping[str, int], turned: int, flattened: int) -> None:
        """Add a block."""
        self.sizes.update(sizes)
        self.turned += turned
        self.flattened += flattened


class PartialBuild:
    """An image cache under construction: its folder and journal."""

    def __init__(self, folder: Path, images: int, side: int) -> None:
        self.folder, self.images, self.side = folder, images, side
        self.pixels, self.journal = folder / "pixels.npy", folder / "journal.jsonl"
        self.image_bytes = side * side * 3
        self.block = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // self.image_bytes))
        self.counts = FileCounts()
        self._start = 0

    @contextmanager
    def opened(self) -> Iterator[tuple[BinaryIO, set[int]]]:
        """The pixel file, and the position of the first image of each finished block."""
        self.folder.mkdir(exist_ok=True)
        self._refuse_full_disk()
        with self.pixels.open("r+b" if self.pixels.exists() else "x+b") as stream:
            shape = (self.images, self.side, self.side, 3)
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
            self._start = stream.tell()
            self._reserve(stream)
            yield stream, self._read_journal(stream)
            stream.flush()
            os.fsync(stream.fileno())

    def write_block(
        self, stream: BinaryIO, first: int, block: np.ndarray, images: Sequence[PreparedImage]
    ) -> None:
        """Write a block of pixels (B, S, S, 3) at image `first`, then add it to the journal."""
        stream.seek(self._start + first * self.image_bytes)
        stream.write(block.data)
        stream.flush()
        sizes = dict(Counter(image.size for image in images))
        turned = sum(image.turned for image in images)
        flattened = sum(image.flattened for image in images)
        line = {
            "first": first,
            "sha256": hashlib.sha256(block.data).hexdigest(),
            "sizes": sizes,
            "turned": turned,
            "flattened": flattened,
        }
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line) + "\n")
        self.counts.add(sizes, turned, flattened)

    def finish(self, index: CacheIndex, target: Path) -> None:
        """Write the index and rename the folder to `target`."""
        self.journal.unlink(missing_ok=True)
        with (self.folder / "index.json").open("w", encoding="utf-8") as stream:
            json.dump(asdict(index), stream)
            stream.flush()
            os.fsync(stream.fileno())
        self.folder.rename(target)

    def _read_journal(self, stream: BinaryIO) -> set[int]:
        """The finished blocks with a correct hash; removes the others from the journal."""
        try:
            lines = self.journal.read_text(encoding="utf-8").splitlines()
        except OSError:
            return set()
        sound: dict[int, str] = {}
        for text in lines:
            try:
                line = json.loads(text)
                first, sha256 = int(line["first"]), line["sha256"]
                facts = (line["sizes"], line["turned"], line["flattened"])
            except (ValueError, KeyError, TypeError):
                continue  # incomplete line after a power failure
            if first not in sound and self._hash_of_block(stream, first) == sha256:
                sound[first] = text
                self.counts.add(*facts)
        self.journal.write_text("".join(f"{text}\n" for text in sound.values()), encoding="utf-8")
        return set(sound)

    def _hash_of_block(self, stream: BinaryIO, first: int) -> str:
        stream.seek(self._start + first * self.image_bytes)
        count = min(self.block, self.images - first)
        return hashlib.sha256(stream.read(count * self.image_bytes)).hexdigest()

    def _refuse_full_disk(self) -> None:
        present = self.pixels.stat().st_size if self.pixels.exists() else 0
        needed = self.images * self.image_bytes + SPARE_BYTES - present
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            self._refuse(f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")

    def _reserve(self, stream: BinaryIO) -> None:
        """Reserve the whole length on the disk, if the system supports it."""
        length = self._start + self.images * self.image_bytes
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(stream.fileno(), 0, length)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._refuse(f"{length / 1e9:.2f} GB could not be reserved")
            # other errors: the file system cannot reserve space; a write fails later

    def _refuse(self, why: str) -> None:
        if not self.journal.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        raise DataError(
            f"{self.folder.parent}: too little space for {self.images} images of {self.side} px: "
            f"{why}; free some space (python bench.py data cache --clear removes the image "
            "caches), or set BENCH_CACHE to a folder on a larger disk"
        )


ABANDONED_SECONDS = 7 * 24 * 3600


def build_cache(
    source: OpenDataset, chain: Chain, advance: Callable[[], Any] = lambda: None
) -> ImageCache:
    """The image cache of a dataset after a preprocessing chain; built unless it exists.

    Every call reads and hashes all image files, so changed files result in another cache, and
    checks the pixels of an existing cache against their hash. An interrupted build is continued.
    Calls `advance` once per image. Raises DataError that names unreadable files, or the missing
    disk space.
    """
    side_of(chain)
    files = find_images(source)
    root = caches_folder()
    root.mkdir(parents=True, exist_ok=True)
    hashes = _hash(files)
    files_sha256 = _fingerprint(hashes)
    name = source.manifest.name
    folder = root / digest([FORMAT, name, files_sha256, recorded(chain)])[:20]
    with FileLock(f"{folder}.lock"):
        sweep(root)
        if not is_sound(folder):
            shutil.rmtree(folder, ignore_errors=True)
            _build(name, files, hashes, files_sha256, chain, folder, advance)
    return open_cache(folder)


def sweep(root: Path) -> None:
    """Remove partial builds that no process has continued for a week."""
    for build in root.glob(f"*{SUFFIX}"):
        with lock_if_free(build.with_suffix("")) as free:
            if free and _age(build) > ABANDONED_SECONDS:
                shutil.rmtree(build, ignore_errors=True)


def _age(folder: Path) -> float:
    """Seconds since the last write to a folder."""
    return time.time() - max(path.stat().st_mtime for path in [folder, *folder.glob("*")])


def _hash(files: Mapping[str, Path]) -> dict[str, str]:
    """The sha256 of every file by image id. Raises DataError for an unreadable file."""

    def hash_of(path: Path) -> str:
        try:
            return sha256_of(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; make the file readable") from None

    return dict(zip(files, map_on_all_cores(hash_of, files.values()), strict=True))


def _fingerprint(hashes: Mapping[str, str]) -> str:
    """Hash of the ids and contents of all files."""
    lines = (f"{image_id},{sha256}\n" for image_id, sha256 in hashes.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _build(
    name: str,
    files: Mapping[str, Path],
    hashes: Mapping[str, str],
    files_sha256: str,
    chain: Chain,
    target: Path,
    advance: Callable[[], Any],
) -> None:
    """Build the image cache `target`; continue its partial build if there is one."""
    side = side_of(chain)
    build = PartialBuild(target.with_name(target.name + SUFFIX), len(files), side)
    items = list(files.items())
    faults: list[str] = []

    def prepare(item: tuple[int, np.ndarray]) -> PreparedImage:
        at, target_pixels = item
        image_id, path = items[at]
        try:
            return _prepare(path, hashes[image_id], chain, target_pixels)
        except (OSError, ValueError) as error:
            return PreparedImage(fault=f"{path} ({getattr(error, 'strerror', None) or error})")
        finally:
            advance()

    with build.opened() as (stream, done), _one_opencv_thread(), thread_pool() as pool:
        for first in range(0, len(items), build.block):
            count = min(build.block, len(items) - first)
            if first in done:
                for _ in range(count):
                    advance()
                continue
            block = np.empty((count, side, side, 3), np.uint8)
            images = list(pool.map(prepare, zip(range(first, first + count), block, strict=True)))
            faults += [image.fault for image in images if image.fault]
            if not faults:
                build.write_block(stream, first, block, images)
    if faults:
        shutil.rmtree(build.folder, ignore_errors=True)
        raise DataError(
            f"{len(faults)} image files cannot be read: {listing(faults)}; "
            "download them again, or remove their rows from the metadata and freeze a new protocol"
        )
    counts, steps = build.counts, recorded(chain)
    index = CacheIndex(
        format=FORMAT,
        dataset=name,
        pixels_sha256=pixels_identity(
            files_sha256, steps, altered=bool(counts.turned or counts.flattened)
        ),
        content_sha256=sha256_of(build.pixels),
        files_sha256=files_sha256,
        chain=steps,
        file_sizes=dict(sorted(counts.sizes.items())),
        turned=counts.turned,
        flattened=counts.flattened,
        image_ids=list(files),
    )
    build.finish(index, target)


def _prepare(path: Path, sha256: str, chain: Chain, target: np.ndarray) -> PreparedImage:
    """Decode a file, apply the chain, and write the pixels to `target` (S, S, 3)."""
    content = read_picture(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("changed during the build; run again")
    picture = decode_picture(content)
    target[:] = preprocess_image_cv(picture.pixels, chain)
    height, width = picture.pixels.shape[:2]
    return PreparedImage(f"{width}x{height}", picture.turned, picture.flattened)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Disable the threads of OpenCV; the pool already uses all cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
