"""Where data comes from: a folder as people have it, read as a Manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.ham10000 import FILE_NAMES, find_files, read_ham10000
from bench.data.isic2020 import find_isic2020, read_isic2020
from bench.manifest import Manifest


@dataclass(frozen=True)
class Source:
    """A dataset on disk: who is in it, and the folder below which its images lie.

    Only the metadata has been read; whoever needs images looks for them by image id.
    """

    manifest: Manifest
    folder: Path


def open_source(folder: Path | None, name: str | None = None, *, images: bool = True) -> Source:
    """The dataset in `folder`, or the embedded synthetic one where it is None.

    `name` is the dataset's short name where the source itself has none. Without `images` nothing
    is drawn or written: whoever needs the metadata only should say so. Raises DataError.
    """
    if folder is None:
        from bench.data.synthetic import open_synthetic

        source: Source = open_synthetic(images=images)
    else:
        source = Source(_read(folder), folder)
    if source.manifest.name or name is None:
        return source
    return replace(source, manifest=replace(source.manifest, name=name))


def _read(folder: Path) -> Manifest:
    """HAM10000 where its metadata is there, else ISIC 2020."""
    found = find_isic2020(folder)
    if found is not None and not find_files(folder, FILE_NAMES):
        return read_isic2020(found)
    return read_ham10000(folder)
