"""Where data comes from: what lies in a folder, read as a Manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.data import ham10000, isic, named
from bench.data.faults import Fault, Report, refuse
from bench.data.grouping import read_grouping, with_groups
from bench.data.reader import Reader, find_sheets, walk
from bench.data.roster import Roster
from bench.errors import DataError
from bench.manifest import Manifest

READERS: tuple[Reader, ...] = (ham10000.READER, *isic.READERS)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
PLACEHOLDERS = {"--data": "DIR", "--groups": "FILE"}


@dataclass(frozen=True)
class Source:
    """A dataset on disk: who is in it, and the folder below which its images lie.

    Only the metadata has been read; whoever needs images looks for them by image id.
    left_out  what the reader passed over: rows without a label, labels without a row of metadata
    """

    manifest: Manifest
    folder: Path
    left_out: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class DataChoice:
    """Which data the user means.

    folder   the dataset's folder, or its file of arrays; None: the embedded synthetic set
    name     its short name, where the source has none
    groups   a file that says which patient or group an image belongs to
    columns  which column holds what, by field of Record
    """

    folder: Path | None = None
    name: str | None = None
    groups: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def open(self, *, images: bool = True) -> Source:
        """The dataset. Without `images` nothing is drawn or written. Raises DataError."""
        source = self._open(images=images)
        if self.groups is None:
            return source
        return replace(source, manifest=with_groups(source.manifest, read_grouping(self.groups)))

    def _open(self, *, images: bool) -> Source:
        if self.folder is None:
            from bench.data.synthetic import open_synthetic

            synthetic: Source = open_synthetic(images=images)
            return synthetic
        path = array_file(self.folder)
        if path is None:
            heard: list[Fault] = []

            def hear(fault: Fault) -> None:
                refuse(fault)
                heard.append(fault)

            roster = find_roster(self.folder, self.columns, hear)
            return Source(self.named(roster).manifest(), self.folder, tuple(heard))
        return self._open_arrays(path, images=images)

    def _open_arrays(self, path: Path, *, images: bool) -> Source:
        from bench.data.arrays import as_folder, read_arrays
        from bench.data.store import cache_folder

        arrays = read_arrays(path, refuse)
        manifest = self.named(arrays.roster).manifest()
        folder = as_folder(path, arrays, cache_folder()) if images else path.parent
        return Source(manifest, folder)

    def words(self) -> list[str]:
        """The options that mean the same data, without paths of this machine."""
        paths = (("--data", self.folder), ("--groups", self.groups))
        found = [
            word
            for option, path in paths
            if path is not None
            for word in (option, PLACEHOLDERS[option] if path.is_absolute() else str(path))
        ]
        if self.columns:
            keys = {field: key for key, field in named.FIELD_OF.items()}
            pairs = (f"{keys[field]}={column}" for field, column in self.columns.items())
            found += ["--columns", ",".join(pairs)]
        return found + (["--name", self.name] if self.name else [])

    def named(self, roster: Roster) -> Roster:
        """The roster with the user's name for it, or its folder's, where it has none."""
        if roster.name or self.folder is None:
            return roster
        name = self.name or isic.slug(self.folder.resolve().stem)
        if name != isic.slug(name):
            raise DataError(f"--name {name}: use lower-case letters, digits and hyphens")
        return replace(roster, name=name)


def open_source(folder: Path | None, name: str | None = None, *, images: bool = True) -> Source:
    """The dataset in `folder`, or the embedded synthetic one where it is None; see DataChoice."""
    return DataChoice(folder, name).open(images=images)


def find_roster(folder: Path, columns: Mapping[str, str], report: Report) -> Roster:
    """What the metadata in a folder says; the folder must fit one reader.

    Columns that name image and label ask for a CSV of the user's own. Raises DataError where
    nothing fits, or several do.
    """
    sheets = find_sheets(folder)
    readers = (named.READER,) if {"image_id", "label"} <= columns.keys() else READERS
    fitting = [(reader, found) for reader in readers if (found := reader.fits(sheets, columns))]
    if not fitting and readers is READERS and (found := named.READER.fits(sheets, columns)):
        fitting = [(named.READER, found)]
    if not fitting:
        known = "; ".join(dict.fromkeys(r.looked_for for r in (*readers, named.READER)))
        raise DataError(
            f"{folder}: no metadata found; looked for {known} here and up to three folders below; "
            "put the dataset's metadata beside its images"
        )
    if len(fitting) > 1:
        several = "; ".join(f"{reader.name} ({found[0].path})" for reader, found in fitting)
        raise DataError(
            f"{folder}: several datasets fit: {several}; give the folder of one, or name the "
            "columns of a CSV of your own with --columns image=...,label=...,group=..."
        )
    reader, found = fitting[0]
    return reader.read(found, columns, report)


def array_file(path: Path) -> Path | None:
    """The file of arrays that a path is, or that its folder holds in place of images, if any.

    Raises DataError where there are several.
    """
    from bench.data.arrays import HMNIST, is_array_file

    if path.is_file() and is_array_file(path):
        return path
    if not path.is_dir():
        return None
    files = [Path(parent, name) for parent, names in walk(path) for name in names]
    if any(file.suffix.lower() in IMAGE_SUFFIXES for file in files):
        return None
    found = sorted(file for file in files if is_array_file(file))
    if len(found) > 1:
        first = [file for file in found if file.name.lower() == next(iter(HMNIST))]
        if len(first) == 1 and not any(file.suffix.lower() == ".npz" for file in found):
            return first[0]
        raise DataError(f"{path}: several files of arrays; give one with --data: {found[0]}")
    return found[0] if found else None
