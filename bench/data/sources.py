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
from bench.errors import DataError, listing
from bench.files import waiting_kind
from bench.manifest import Manifest

READERS: tuple[Reader, ...] = (ham10000.READER, *isic.READERS, named.READER)
LAYOUTS = tuple(reader.name for reader in READERS)
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
    layout   the reader, one of LAYOUTS, where the folder fits several
    """

    folder: Path | None = None
    name: str | None = None
    groups: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    layout: str | None = None

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

            return Source(self.read(self.folder, hear).manifest(), self.folder, tuple(heard))
        return self._open_arrays(path, images=images)

    def read(self, folder: Path, report: Report) -> Roster:
        """What the metadata in the folder says, under the name that it is to bear."""
        return self.named(find_roster(folder, self.columns, report, self.layout))

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
        if self.layout:
            found += ["--layout", self.layout]
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


def find_roster(
    folder: Path, columns: Mapping[str, str], report: Report, layout: str | None = None
) -> Roster:
    """What the metadata in a folder says; the folder must fit one reader, or the one of `layout`.

    Columns that name image and label ask for a CSV of the user's own. Raises DataError where
    nothing fits, or several do.
    """
    sheets = find_sheets(folder)
    readers = _readers_for(columns, layout)
    fitting = [(reader, found) for reader in readers if (found := reader.fits(sheets, columns))]
    if not fitting:
        known = "; ".join(dict.fromkeys(reader.looked_for for reader in readers))
        waiting = [f"{s.path} is {kind}" for s in sheets if (kind := waiting_kind(s.path))]
        but = f" (not opened: {listing(waiting)})" if waiting else ""
        raise DataError(
            f"{folder}: no metadata found; looked for {known} here and up to three folders below"
            f"{but}; put the dataset's metadata beside its images"
        )
    if len(fitting) > 1:
        several = "; ".join(f"{reader.name} ({found[0].path})" for reader, found in fitting)
        choices = " or ".join(f"--layout {reader.name}" for reader, _ in fitting)
        raise DataError(
            f"{folder}: several datasets fit: {several}; say which you mean with {choices}, or "
            "give the folder of one"
        )
    reader, found = fitting[0]
    return reader.read(found, columns, report)


def _readers_for(columns: Mapping[str, str], layout: str | None) -> tuple[Reader, ...]:
    """The readers that may read what the user means."""
    own = {"image_id", "label"} <= columns.keys()
    if layout is None:
        return (named.READER,) if own else READERS
    if own and layout != named.READER.name:
        raise DataError(
            f"--layout {layout}: its columns are known; --columns image=...,label=... is for "
            f"a CSV of your own (--layout {named.READER.name})"
        )
    return tuple(reader for reader in READERS if reader.name == layout)


def array_file(path: Path) -> Path | None:
    """The file of arrays that a path is, or that its folder holds in place of images, if any.

    Raises DataError where there are several.
    """
    from bench.data.arrays import HMNIST, is_array_file

    if path.is_file() and is_array_file(path):
        return path
    if not path.is_dir():
        return None
    found = []
    for parent, names in walk(path):
        for file in (Path(parent, name) for name in names):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                return None
            if is_array_file(file) and not waiting_kind(file):
                found.append(file)
    found.sort()
    if len(found) > 1:
        first = [file for file in found if file.name.lower() == next(iter(HMNIST))]
        if len(first) == 1 and not any(file.suffix.lower() == ".npz" for file in found):
            return first[0]
        raise DataError(f"{path}: several files of arrays; give one with --data: {found[0]}")
    return found[0] if found else None
