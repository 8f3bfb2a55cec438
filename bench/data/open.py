"""Open a dataset: select the reader that fits, and apply a file of groups."""

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
    """Groups of images from a group file.

    column  kind of groups: `patient_id`, `lesion_id` or `group_id` (any other grouping)
    """

    where: str
    column: str
    group_of: Mapping[str, str]


def read_grouping(path: Path) -> Grouping:
    """Read a group file: CSV with the image and its `patient_id`, `lesion_id` or `group_id`.

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
            raise DataError(f"{line.where}: {image_id} has two groups; keep one row per image")
    given = {image_id: group for image_id, group in group_of.items() if group}
    return Grouping(str(path), UNITS.get(groups[0], groups[0]), given)


def with_groups(dataset: Dataset, grouping: Grouping) -> Dataset:
    """The dataset with these groups: they fill missing ids and join existing groups.

    Images of one native group stay together. Joined groups get the smallest of their native ids.
    Raises DataError for images that the dataset does not have.
    """
    table = dataset.table.copy()
    unknown = sorted(grouping.group_of.keys() - set(table["image_id"]))
    if unknown:
        raise DataError(
            f"{grouping.where}: names {len(unknown)} images that {dataset.name or 'the data'} "
            f"does not have: {listing(unknown)}; use the groups that belong to this dataset"
        )
    given = table["image_id"].map(grouping.group_of)
    free = table[grouping.column].isna()
    if grouping.column == "group_id":
        free &= table["patient_id"].isna() & table["lesion_id"].isna()
    table[grouping.column] = table[grouping.column].where(~free | given.isna(), given)
    supplied = replace(dataset, table=table)
    natives = pd.Series(supplied.native_groups)
    final = join_labels(natives, given)
    joined = final.groupby(final).transform(lambda ids: natives[ids.index].nunique()) > 1
    return replace(
        supplied, table=supplied.table.assign(group_id=table["group_id"].where(~joined, final))
    )


def join_labels(natives: pd.Series, given: pd.Series) -> pd.Series:
    """The smallest native id of each connected set of native and given groups (NaN: no group)."""
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
    """A dataset on disk: its metadata, and the folder that contains its images.

    Only the metadata has been read; images are found by image id when they are needed.
    left_out  mild issues of the reader: rows without a label, labels without a metadata row
    """

    manifest: Dataset
    folder: Path
    left_out: tuple[Issue, ...] = ()


@dataclass(frozen=True)
class DatasetSpec:
    """The user's choice of a dataset.

    folder   folder of the dataset, or a file of arrays; None: the embedded synthetic dataset
    name     short name, if the dataset has none
    groups   file with the patient, lesion or group of the images
    columns  column names by field of Record
    layout   reader, one of LAYOUTS; needed if several readers fit the folder
    malignant  malignant classes; empty: those of the dataset
    """

    folder: Path | None = None
    name: str | None = None
    groups: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    layout: str | None = None
    malignant: tuple[str, ...] = ()

    def open(self, *, images: bool = True) -> OpenDataset:
        """Open the dataset; without `images`, no image is drawn or written. Raises DataError."""
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
            issues: list[Issue] = []

            def report(issue: Issue) -> None:
                raise_blocking(issue)
                issues.append(issue)

            image_list = self.read(self.folder, report)
            return OpenDataset(image_list.dataset(), self.folder, tuple(issues))
        return self._open_arrays(path, images=images)

    def read(self, folder: Path, report: Report) -> ImageList:
        """The image list of the metadata in the folder, with its name."""
        return self.named(read_folder(folder, self.columns, report, self.layout))

    def _open_arrays(self, path: Path, *, images: bool) -> OpenDataset:
        from bench.data.cache import cache_folder
        from bench.data.readers.arrays import as_folder, read_arrays

        arrays = read_arrays(path, raise_blocking)
        dataset = self.named(arrays.images).dataset()
        folder = as_folder(path, arrays, cache_folder()) if images else path.parent
        return OpenDataset(dataset, folder)

    def words(self) -> list[str]:
        """The command-line options of this choice; absolute paths become placeholders."""
        paths = (("--data", self.folder), ("--groups", self.groups))
        options = [
            option_or_value
            for option, path in paths
            if path is not None
            for option_or_value in (
                option,
                PLACEHOLDERS[option] if path.is_absolute() else str(path),
            )
        ]
        if self.columns:
            keys = {field: key for key, field in csv_table.FIELD_OF.items()}
            pairs = (f"{keys[field]}={column}" for field, column in self.columns.items())
            options += ["--columns", ",".join(pairs)]
        if self.layout:
            options += ["--layout", self.layout]
        if self.malignant:
            options += ["--malignant", ",".join(self.malignant)]
        return options + (["--dataset-name", self.name] if self.name else [])

    def named(self, images: ImageList) -> ImageList:
        """The image list with a name: its name, else the user's, else that of the folder."""
        if images.name or self.folder is None:
            return images
        name = self.name or isic.slug(self.folder.resolve().stem)
        if name != isic.slug(name):
            raise DataError(f"--dataset-name {name}: use lower-case letters, digits and hyphens")
        return replace(images, name=name)


def open_dataset(
    folder: Path | None, name: str | None = None, *, images: bool = True
) -> OpenDataset:
    """The dataset in `folder`, or the embedded synthetic dataset for None; see DatasetSpec."""
    return DatasetSpec(folder, name).open(images=images)


def read_folder(
    folder: Path, columns: Mapping[str, str], report: Report, layout: str | None = None
) -> ImageList:
    """The image list of the metadata in a folder, read by the reader that fits, or by `layout`.

    `columns` with image and label select the reader of CSV tables. Raises DataError if no reader
    fits, or several do.
    """
    tables = find_tables(folder)
    readers = _readers_for(columns, layout)
    fitting = [(reader, fit) for reader in readers if (fit := reader.fits(tables, columns))]
    if not fitting:
        known = "; ".join(dict.fromkeys(reader.looked_for for reader in readers))
        special = [f"{t.path} is {kind}" for t in tables if (kind := special_file_kind(t.path))]
        not_opened = f" (not opened: {listing(special)})" if special else ""
        raise DataError(
            f"{folder}: no metadata found; searched for {known} here and up to three levels below"
            f"{not_opened}; put the metadata into the folder of the images"
        )
    if len(fitting) > 1:
        several = "; ".join(f"{reader.name} ({fit[0].path})" for reader, fit in fitting)
        choices = " or ".join(f"--layout {reader.name}" for reader, _ in fitting)
        raise DataError(
            f"{folder}: several datasets fit: {several}; select one with {choices}, or give the "
            "folder of one dataset"
        )
    reader, fit = fitting[0]
    return reader.read(fit, columns, report)


def _readers_for(columns: Mapping[str, str], layout: str | None) -> tuple[Reader, ...]:
    """The readers to try for these options. Raises DataError if they contradict each other."""
    named = {"image_id", "label"} <= columns.keys()
    if layout is None:
        return (csv_table.READER,) if named else READERS
    if named and layout != csv_table.READER.name:
        raise DataError(
            f"--layout {layout}: its columns are fixed; --columns image=...,label=... is for "
            f"other CSV tables (--layout {csv_table.READER.name})"
        )
    return tuple(reader for reader in READERS if reader.name == layout)


def array_file(path: Path) -> Path | None:
    """The file of arrays at `path`, or in a folder without images; None without one.

    Raises DataError if there are several.
    """
    from bench.data.readers.arrays import HMNIST, is_array_file

    if path.is_file() and is_array_file(path):
        return path
    if not path.is_dir():
        return None
    files = []
    for parent, names in walk(path):
        for file in (Path(parent, name) for name in names):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                return None
            if is_array_file(file) and not special_file_kind(file):
                files.append(file)
    files.sort()
    if len(files) > 1:
        first = [file for file in files if file.name.lower() == next(iter(HMNIST))]
        if len(first) == 1 and not any(file.suffix.lower() == ".npz" for file in files):
            return first[0]
        raise DataError(f"{path}: several files of arrays; select one: --data {files[0]}")
    return files[0] if files else None
