"""A file system that can be filled, or be read only: a tmpfs where root may mount one."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A folder on a disk of 48 MiB; `full` is what happens to whoever writes while it is so."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder, self.mounted = folder, mounted

    @contextmanager
    def full(self) -> Iterator[None]:
        """No byte more can be written; where nothing could be mounted, by a limit of file sizes."""
        if not self.mounted:
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            return
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as stream:
            for size in (2**16, 2**10, 1):
                try:
                    while stream.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue
        try:
            yield
        finally:
            ballast.unlink()

    def fills_at(self, write: Callable, name: str) -> Callable:
        """A `write_atomically` that finds the disk full when it comes to the file of that name."""

        def write_on_full_disk(path: Path, content: bytes) -> None:
            if path.name == name:
                with self.full():
                    write(path, content)
            write(path, content)

        return write_on_full_disk


def mounted(folder: Path, options: str) -> bool:
    """Mount a tmpfs on a new folder; whether that was possible."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0:
        return False
    try:
        return subprocess.run(words, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    has_mount = mounted(folder, "size=48m")
    yield SmallDisk(folder, mounted=has_mount)
    if has_mount:
        unmount(folder)
