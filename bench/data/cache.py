"""The image cache: decoded and preprocessed images in one file without labels.

Training reads only from here. A store is a folder of the cache, named by the content of the image
files and the preprocessing chain, so all folds, seeds and methods that want the same pixels share
it, and each process maps it into memory and reads what it needs:

    pixels.npy   (M, S, S, 3) uint8 RGB, images in image-id order
    index.json   image ids, hashes, sizes; written last, so a folder without it is no store

`bench.data.cache` makes them.

It lies beside the stores as `<name>.building`: `pixels.npy` at its full length from the start, so
that a full disk is met before the work, and `journal.jsonl`, a line a finished block of images with
the hash of its pixels. After kill -9 or a power cut, blocks whose pixels bear their hash are kept,
and the rest is made again. The index is written last, then the draft becomes the store.

What is done is kept block by block in a draft (`bench.data.cache`), so a build that was killed goes
on; no more than a block of images is in memory at a time.
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
"""Of what this code writes; 2 turns images upright by EXIF and lays transparent ones over black."""


def cache_folder() -> Path:
    """Where stores and the synthetic set are kept: $BENCH_CACHE, else the user's cache folder."""
    return Path(os.environ.get("BENCH_CACHE") or workspace() / "cache")


def caches_folder() -> Path:
    """Where the stores lie."""
    return cache_folder() / "stores"


@dataclass(frozen=True)
class CacheIndex:
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
class ImageCache:
    """An opened store: pixels is a read-only memory map (M, S, S, 3) uint8 RGB."""

    folder: Path
    index: CacheIndex
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


def read_index(folder: Path) -> CacheIndex:
    """What a store says it holds. Raises OSError, ValueError or TypeError where it is none."""
    return CacheIndex(**json.loads((folder / "index.json").read_text(encoding="utf-8")))


def open_cache(folder: Path) -> ImageCache:
    """Open a store that was built before. Raises DataError where there is none."""
    try:
        index = read_index(folder)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{folder}: no image store ({error}); python bench.py run makes it"
        ) from None
    return ImageCache(folder, index, pixels)


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
    index: CacheIndex | None
    size: int


def list_caches() -> list[Cached]:
    """All stores in the cache, whole or not, by name."""
    root = caches_folder()
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


SUFFIX = ".building"
BLOCK_BYTES, BLOCK_IMAGES = 32 << 20, 512
"""A block is kept in memory: at most so many bytes (one image at least) and images."""
SPARE_BYTES = 64 << 20


class Made(NamedTuple):
    """One image on its way into the store; a fault instead where its file cannot be used."""

    size: str = ""
    turned: bool = False
    flattened: bool = False
    fault: str = ""


@dataclass
class Tally:
    """What is known of the files by now."""

    sizes: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    flattened: int = 0

    def add(self, sizes: Mapping[str, int], turned: int, flattened: int) -> None:
        """Count a block."""
        self.sizes.update(sizes)
        self.turned += turned
        self.flattened += flattened


class PartialBuild:
    """A store that is being built: folder, and what its journal says is done."""

    def __init__(self, folder: Path, images: int, side: int) -> None:
        self.folder, self.images, self.side = folder, images, side
        self.pixels, self.journal = folder / "pixels.npy", folder / "journal.jsonl"
        self.image_bytes = side * side * 3
        self.block = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // self.image_bytes))
        self.tally = Tally()
        self._start = 0

    @contextmanager
    def opened(self) -> Iterator[tuple[BinaryIO, set[int]]]:
        """The pixels' file, and the first images of the blocks that are done."""
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

    def keep(self, stream: BinaryIO, first: int, block: np.ndarray, made: Sequence[Made]) -> None:
        """Write a block of images (B, S, S, 3) from position `first` on, then say so."""
        stream.seek(self._start + first * self.image_bytes)
        stream.write(block.data)
        stream.flush()
        sizes = dict(Counter(one.size for one in made))
        turned, flattened = sum(o.turned for o in made), sum(o.flattened for o in made)
        line = {
            "first": first,
            "sha256": hashlib.sha256(block.data).hexdigest(),
            "sizes": sizes,
            "turned": turned,
            "flattened": flattened,
        }
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line) + "\n")
        self.tally.add(sizes, turned, flattened)

    def finish(self, index: CacheIndex, target: Path) -> None:
        """Write the index and become the store."""
        self.journal.unlink(missing_ok=True)
        with (self.folder / "index.json").open("w", encoding="utf-8") as stream:
            json.dump(asdict(index), stream)
            stream.flush()
            os.fsync(stream.fileno())
        self.folder.rename(target)

    def _read_journal(self, stream: BinaryIO) -> set[int]:
        """The blocks that are done and bear their hash; the journal without the others."""
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
                continue  # torn when the machine stopped
            if first not in sound and self._hash_of_block(stream, first) == sha256:
                sound[first] = text
                self.tally.add(*facts)
        self.journal.write_text("".join(f"{text}\n" for text in sound.values()), encoding="utf-8")
        return set(sound)

    def _hash_of_block(self, stream: BinaryIO, first: int) -> str:
        stream.seek(self._start + first * self.image_bytes)
        count = min(self.block, self.images - first)
        return hashlib.sha256(stream.read(count * self.image_bytes)).hexdigest()

    def _refuse_full_disk(self) -> None:
        held = self.pixels.stat().st_size if self.pixels.exists() else 0
        needed = self.images * self.image_bytes + SPARE_BYTES - held
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            self._refuse(f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")

    def _reserve(self, stream: BinaryIO) -> None:
        """Have the disk set the whole length aside, where the system can."""
        length = self._start + self.images * self.image_bytes
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(stream.fileno(), 0, length)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._refuse(f"{length / 1e9:.2f} GB could not be set aside")
            # else this file system cannot promise: then the write itself tells

    def _refuse(self, why: str) -> None:
        if not self.journal.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        raise DataError(
            f"{self.folder.parent}: too little room for {self.images} images of {self.side} px: "
            f"{why}; free some (python bench.py data cache --clear removes what is stored here), "
            "or set BENCH_CACHE to a folder on a larger disk"
        )


ABANDONED_SECONDS = 7 * 24 * 3600


def build_cache(
    source: OpenDataset, chain: Chain, advance: Callable[[], Any] = lambda: None
) -> ImageCache:
    """The store of a dataset after a chain; taken from the cache where its files are unchanged.

    Every image file is read and hashed each time, so changed files make another store, and what is
    taken from the cache is checked against its hash. A build that was killed goes on where it
    stopped. Calls `advance` once an image. Raises DataError that names unreadable files, or says
    how much room is missing on the disk.
    """
    side_of(chain)
    files = find_images(source)
    root = caches_folder()
    root.mkdir(parents=True, exist_ok=True)
    hashes = _hash(files)
    files_sha256 = _fingerprint(hashes)
    name = source.manifest.name
    known = root / digest([FORMAT, name, files_sha256, recorded(chain)])[:20]
    with FileLock(f"{known}.lock"):
        sweep(root)
        if not is_sound(known):
            shutil.rmtree(known, ignore_errors=True)
            _build(name, files, hashes, files_sha256, chain, known, advance)
    return open_cache(known)


def sweep(root: Path) -> None:
    """Remove what killed builds left and nobody has gone on with for a week."""
    for draft in root.glob(f"*{SUFFIX}"):
        with lock_if_free(draft.with_suffix("")) as free:
            if free and _age(draft) > ABANDONED_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)
    for scratch in root.glob("building-*"):  # of earlier versions, which could not go on with them
        if _age(scratch) > ABANDONED_SECONDS:
            shutil.rmtree(scratch, ignore_errors=True)


def _age(folder: Path) -> float:
    """Seconds since anything was written into a folder."""
    return time.time() - max(path.stat().st_mtime for path in [folder, *folder.glob("*")])


def _hash(files: Mapping[str, Path]) -> dict[str, str]:
    """The sha256 of every file by image id. Raises DataError for one that cannot be read."""

    def one(path: Path) -> str:
        try:
            return sha256_of(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; make the image readable") from None

    return dict(zip(files, map_on_all_cores(one, files.values()), strict=True))


def _fingerprint(hashes: Mapping[str, str]) -> str:
    """Hash of every file's id and content."""
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
    """Make the store `target`, going on with its draft if there is one."""
    side = side_of(chain)
    draft = PartialBuild(target.with_name(target.name + SUFFIX), len(files), side)
    items = list(files.items())
    faults: list[str] = []

    def make(place: tuple[int, np.ndarray]) -> Made:
        at, room = place
        image_id, path = items[at]
        try:
            return _make(path, hashes[image_id], chain, room)
        except (OSError, ValueError) as error:
            return Made(fault=f"{path} ({getattr(error, 'strerror', None) or error})")
        finally:
            advance()

    with draft.opened() as (stream, done), _one_opencv_thread(), thread_pool() as pool:
        for first in range(0, len(items), draft.block):
            count = min(draft.block, len(items) - first)
            if first in done:
                for _ in range(count):
                    advance()
                continue
            block = np.empty((count, side, side, 3), np.uint8)
            made = list(pool.map(make, zip(range(first, first + count), block, strict=True)))
            faults += [one.fault for one in made if one.fault]
            if not faults:
                draft.keep(stream, first, block, made)
    if faults:
        shutil.rmtree(draft.folder, ignore_errors=True)
        raise DataError(
            f"{len(faults)} image files cannot be read: {listing(faults)}; "
            "fetch them again, or remove their rows from the metadata and freeze a new protocol"
        )
    tally, steps = draft.tally, recorded(chain)
    index = CacheIndex(
        format=FORMAT,
        dataset=name,
        pixels_sha256=pixels_identity(
            files_sha256, steps, altered=bool(tally.turned or tally.flattened)
        ),
        content_sha256=sha256_of(draft.pixels),
        files_sha256=files_sha256,
        chain=steps,
        file_sizes=dict(sorted(tally.sizes.items())),
        turned=tally.turned,
        flattened=tally.flattened,
        image_ids=list(files),
    )
    draft.finish(index, target)


def _make(path: Path, sha256: str, chain: Chain, room: np.ndarray) -> Made:
    """Decode a file and put it through the chain into its room (S, S, 3)."""
    content = read_picture(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("changed while it was read; run again")
    picture = decode_picture(content)
    room[:] = preprocess_image_cv(picture.pixels, chain)
    height, width = picture.pixels.shape[:2]
    return Made(f"{width}x{height}", picture.turned, picture.flattened)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from threads of its own beside ours."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
