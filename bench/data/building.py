"""How a store is built: once, on all cores, with flat memory, and from where it stopped.

What is done is kept block by block in a draft (`bench.data.draft`), so a build that was killed goes
on; no more than a block of images is in memory at a time.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from filelock import FileLock

from bench.data.draft import SUFFIX, Draft, Made
from bench.data.images import decode_picture, find_images, read_picture
from bench.data.preprocess import Chain, preprocess_image_cv, recorded, side_of
from bench.data.sources import Source
from bench.data.store import (
    FORMAT,
    Store,
    StoreIndex,
    is_sound,
    lock_if_free,
    open_store,
    pixels_identity,
    stores_folder,
)
from bench.data.threads import map_on_all_cores, thread_pool
from bench.errors import DataError, listing
from bench.files import sha256_of
from bench.job import digest

ABANDONED_SECONDS = 7 * 24 * 3600


def build_store(source: Source, chain: Chain, advance: Callable[[], Any] = lambda: None) -> Store:
    """The store of a dataset after a chain; taken from the cache where its files are unchanged.

    Every image file is read and hashed each time, so changed files make another store, and what is
    taken from the cache is checked against its hash. A build that was killed goes on where it
    stopped. Calls `advance` once an image. Raises DataError that names unreadable files, or says
    how much room is missing on the disk.
    """
    side_of(chain)
    files = find_images(source)
    root = stores_folder()
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
    return open_store(known)


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
    draft = Draft(target.with_name(target.name + SUFFIX), len(files), side)
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
    index = StoreIndex(
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
