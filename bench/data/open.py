"""Open a dataset: find the reader that fits, apply groups given beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bench.data.issues import Issue, Report, raise_blocking
from bench.data.readers import csv_table, ham10000, isic
from bench.data.readers.base import (
    FIELDS,
    ImageList,
    Reader,
    control_fault,
    find_tables,
    read_lines,
    read_text,
    walk,
)
from bench.data.readers.csv_table import image_id_of
from bench.dataset import Dataset
from bench.errors import DataError, listing
from bench.io import special_file_kind

UNITS = {"patient": "patient_id", "lesion": "lesion_id", "group": "group_id"}


@dataclass(frozen=True)
class Grouping:
    """Which group each of some images belongs to.

    column  what the groups are: `patient_id`, `lesion_id` or `group_id` (unsaid)
    """

    where: str
    column: str
    group_of: Mapping[str, str]


def read_grouping(path: Path) -> Grouping:
    """A CSV of two columns: the image, and its `patient_id`, `lesion_id` or `group_id`.

    Raises DataError that names the file and the line or the columns.
    """
    header, lines = read_lines(read_text(path, raise_blocking), str(path), raise_blocking)
    images = [name for name in FIELDS["image_id"] if name in header]
    groups = [name for unit, column in UNITS.items() for name in (column, unit) if name in header]
    if not images or len(groups) != 1:
        raise DataError(
            f"{path}: needs a column image_id and one of patient_id, lesion_id and group_id; "
            f"the header has {listing(header)}"
        )
    group_of: dict[str, str] = {}
    for line in lines:
        hidden = control_fault(line, (images[0], groups[0]))
        if hidden:
            raise_blocking(hidden)
        image_id, group = image_id_of(line.cells[images[0]]), line.cells[groups[0]]
        if not image_id:
            raise DataError(f"{line.where}: the image id is empty; every row needs one")
        if group_of.setdefault(image_id, group) != group:
            raise DataError(f"{line.where}: {image_id} stands in two groups; keep one row an image")
    given = {image_id: group for image_id, group in group_of.items() if group}
    return Grouping(str(path), UNITS.get(groups[0], groups[0]), given)


def with_groups(manifest: Dataset, grouping: Grouping) -> Dataset:
    """The manifest with these groups: supplied where it has none, else joined with its own.

    What the source holds together stays together. Joined groups bear the smallest native id among
    them. Raises DataError for images that the dataset does not have.
    """
    table = manifest.table.copy()
    strange = sorted(grouping.group_of.keys() - set(table["image_id"]))
    if strange:
        raise DataError(
            f"{grouping.where}: names {len(strange)} images that {manifest.name or 'the data'} "
            f"does not have: {listing(strange)}; use the groups that belong to this dataset"
        )
    given = table["image_id"].map(grouping.group_of)
    free = table[grouping.column].isna()
    if grouping.column == "group_id":
        free &= table["patient_id"].isna() & table["lesion_id"].isna()
    table[grouping.column] = table[grouping.column].where(~free | given.isna(), given)
    supplied = replace(manifest, table=table)
    natives = pd.Series(supplied.native_groups)
    final = join_labels(natives, given)
    joined = final.groupby(final).transform(lambda ids: natives[ids.index].nunique()) > 1
    return replace(
        supplied, table=supplied.table.assign(group_id=table["group_id"].where(~joined, final))
    )


def join_labels(natives: pd.Series, given: pd.Series) -> pd.Series:
    """The smallest native id of what native groups and given ones (NaN: none) hold together."""
    known = given.notna()
    native_codes, names = pd.factorize(natives, sort=True)
    given_codes, _ = pd.factorize(given[known])
    size = len(names) + len(given)
    links = coo_array(
        ([True] * int(known.sum()), (native_codes[known], len(names) + given_codes)),
        shape=(size, size),
    )
    parts = pd.Series(connected_components(links, directed=False)[1][: len(names)])
    smallest = pd.Series(names).groupby(parts).transform("min")
    return pd.Series(smallest.to_numpy()[native_codes], index=natives.index, dtype=object)


READERS: tuple[Reader, ...] = (ham10000.READER, *isic.READERS, csv_table.READER)
LAYOUTS = tuple(reader.name for reader in READERS)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
PLACEHOLDERS = {"--data": "DIR", "--groups": "FILE"}


@dataclass(frozen=True)
class OpenDataset:
    """A dataset on disk: who is in it, and the folder below which its images lie.

    Only the metadata has been read; whoever needs images looks for them by image id.
    left_out  what the reader passed over: rows without a label, labels without a row of metadata
    """

    manifest: Dataset
    folder: Path
    left_out: tuple[Issue, ...] = ()


@dataclass(frozen=True)
class DatasetSpec:
    """Which data the user means.

    folder   the dataset's folder, or its file of arrays; None: the embedded synthetic set
    name     its short name, where the source has none
    groups   a file that says which patient or group an image belongs to
    columns  which column holds what, by field of Record
    layout   the reader, one of LAYOUTS, where the folder fits several
    malignant  malignant classes; empty: those that the source knows
    """

    folder: Path | None = None
    name: str | None = None
    groups: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    layout: str | None = None
    malignant: tuple[str, ...] = ()

    def open(self, *, images: bool = True) -> OpenDataset:
        """The dataset. Without `images` nothing is drawn or written. Raises DataError."""
        source = self._open(images=images)
        dataset = source.manifest
        if self.groups is not None:
            dataset = with_groups(dataset, read_grouping(self.groups))
        if self.malignant:
            dataset = replace(dataset, malignant=self.malignant)
        return replace(source, manifest=dataset)

    def _open(self, *, images: bool) -> OpenDataset:
        if self.folder is None:
            from bench.data.synthetic import open_synthetic

            synthetic: OpenDataset = open_synthetic(images=images)
            return synthetic
        path = array_file(self.folder)
        if path is None:
            heard: list[Issue] = []

            def hear(fault: Issue) -> None:
                raise_blocking(fault)
                heard.append(fault)

            return OpenDataset(self.read(self.folder, hear).manifest(), self.folder, tuple(heard))
        return self._open_arrays(path, images=images)

    def read(self, folder: Path, report: Report) -> ImageList:
        """What the metadata in the folder says, under the name that it is to bear."""
        return self.named(read_folder(folder, self.columns, report, self.layout))

    def _open_arrays(self, path: Path, *, images: bool) -> OpenDataset:
        from bench.data.cache import cache_folder
        from bench.data.readers.arrays import as_folder, read_arrays

        arrays = read_arrays(path, raise_blocking)
        manifest = self.named(arrays.roster).manifest()
        folder = as_folder(path, arrays, cache_folder()) if images else path.parent
        return OpenDataset(manifest, folder)

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
            keys = {field: key for key, field in csv_table.FIELD_OF.items()}
            pairs = (f"{keys[field]}={column}" for field, column in self.columns.items())
            found += ["--columns", ",".join(pairs)]
        if self.layout:
            found += ["--layout", self.layout]
        if self.malignant:
            found += ["--malignant", ",".join(self.malignant)]
        return found + (["--dataset-name", self.name] if self.name else [])

    def named(self, roster: ImageList) -> ImageList:
        """The roster with the user's name for it, or its folder's, where it has none."""
        if roster.name or self.folder is None:
            return roster
        name = self.name or isic.slug(self.folder.resolve().stem)
        if name != isic.slug(name):
            raise DataError(f"--dataset-name {name}: use lower-case letters, digits and hyphens")
        return replace(roster, name=name)


def open_dataset(
    folder: Path | None, name: str | None = None, *, images: bool = True
) -> OpenDataset:
    """The dataset in `folder`, or the embedded synthetic one where it is None; see DataChoice."""
    return DatasetSpec(folder, name).open(images=images)


def read_folder(
    folder: Path, columns: Mapping[str, str], report: Report, layout: str | None = None
) -> ImageList:
    """What the metadata in a folder says; the folder must fit one reader, or the one of `layout`.

    Columns that name image and label ask for a CSV of the user's own. Raises DataError where
    nothing fits, or several do.
    """
    sheets = find_tables(folder)
    readers = _readers_for(columns, layout)
    fitting = [(reader, found) for reader in readers if (found := reader.fits(sheets, columns))]
    if not fitting:
        known = "; ".join(dict.fromkeys(reader.looked_for for reader in readers))
        waiting = [f"{s.path} is {kind}" for s in sheets if (kind := special_file_kind(s.path))]
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
        return (csv_table.READER,) if own else READERS
    if own and layout != csv_table.READER.name:
        raise DataError(
            f"--layout {layout}: its columns are known; --columns image=...,label=... is for "
            f"a CSV of your own (--layout {csv_table.READER.name})"
        )
    return tuple(reader for reader in READERS if reader.name == layout)


def array_file(path: Path) -> Path | None:
    """The file of arrays that a path is, or that its folder holds in place of images, if any.

    Raises DataError where there are several.
    """
    from bench.data.readers.arrays import HMNIST, is_array_file

    if path.is_file() and is_array_file(path):
        return path
    if not path.is_dir():
        return None
    found = []
    for parent, names in walk(path):
        for file in (Path(parent, name) for name in names):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                return None
            if is_array_file(file) and not special_file_kind(file):
                found.append(file)
    found.sort()
    if len(found) > 1:
        first = [file for file in found if file.name.lower() == next(iter(HMNIST))]
        if len(first) == 1 and not any(file.suffix.lower() == ".npz" for file in found):
            return first[0]
        raise DataError(f"{path}: several files of arrays; give one with --data: {found[0]}")
    return found[0] if found else None
