"""A store while it is built, and after it was killed: what is done of it.

It lies beside the stores as `<name>.building`: `pixels.npy` at its full length from the start, so
that a full disk is met before the work, and `journal.jsonl`, a line a finished block of images with
the hash of its pixels. After kill -9 or a power cut, blocks whose pixels bear their hash are kept,
and the rest is made again. The index is written last, then the draft becomes the store.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from bench.data.store import StoreIndex
from bench.errors import DataError

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


class Draft:
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

    def finish(self, index: StoreIndex, target: Path) -> None:
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
