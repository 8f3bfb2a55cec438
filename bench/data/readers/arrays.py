"""Readers of datasets with all pixels in one file: MedMNIST `.npz`, Kaggle's `hmnist` tables.

Their images are written to the cache once, one PNG per image, and then read as a folder:

    <cache>/arrays/<hash of the file>/images/<image_id>.png

Neither format has patient ids. For a `.npz`, use a group file (`--groups`); otherwise each image is
a separate group. `hmnist_28_28_RGB.csv` has no image ids either: its rows are matched with the
metadata in the same folder by position, and refused unless the labels agree in every row.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.data.issues import Report, raise_blocking
from bench.data.readers import ham10000
from bench.data.readers.base import CONTROL, ImageList, find_tables, read_rows, read_text
from bench.dataset import Record
from bench.errors import DataError, listing
from bench.io import ensure_folder, sha256_of

PARTS = ("train", "val", "test")
HMNIST = {"hmnist_28_28_rgb.csv": (28, 3), "hmnist_8_8_rgb.csv": (8, 3),
          "hmnist_28_28_l.csv": (28, 1), "hmnist_8_8_l.csv": (8, 1)}  # fmt: skip
"""Width and channels of Kaggle's tables, by file name."""
HMNIST_LABELS = ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")
"""Classes by their number in the label column of `hmnist`; not in alphabetical order."""
DERMAMNIST = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""Classes by their number in MedMNIST's dermamnist; in alphabetical order."""
COLOURS = 3
MOST_BYTES = 16 * 2**30
"""Limit for the unpacked size; a small file can declare any size."""


@dataclass(frozen=True)
class Arrays:
    """Images of one file: pixels (N, H, W, 3) uint8 RGB in the order of the image list."""

    images: ImageList
    pixels: np.ndarray


def is_array_file(path: Path) -> bool:
    """Whether this module reads a file, by its name."""
    return path.suffix.lower() == ".npz" or path.name.lower() in HMNIST


def read_arrays(path: Path, report: Report) -> Arrays:
    """The images of an array file. Raises DataError that names the file and the fault."""
    return _read_npz(path) if path.suffix.lower() == ".npz" else _read_hmnist(path, report)


def as_folder(path: Path, arrays: Arrays, cache: Path) -> Path:
    """The cache folder with the images as PNG files; written unless it is complete."""
    folder = cache / "arrays" / sha256_of(path)[:20]

    def fill(scratch: Path) -> None:
        (scratch / "images").mkdir()
        for record, image in zip(arrays.images.records, arrays.pixels, strict=True):
            png = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
            (scratch / "images" / f"{record.image_id}.png").write_bytes(png.tobytes())

    try:
        ensure_folder(folder, fill)
    except OSError as error:
        raise DataError(
            f"{folder}: the images of {path.name} cannot be written ({error.strerror}); "
            "set BENCH_CACHE to a writable folder"
        ) from None
    return folder


def _read_npz(path: Path) -> Arrays:
    content = _unpacked(path)
    parts = list(_parts(content, path))
    shapes = sorted({images.shape[1:] for _, images, _ in parts})
    if len(shapes) > 1:
        raise DataError(
            f"{path}: its parts have images of different shapes: {listing(shapes)}; use one size"
        )
    names = [f"{part}_{at:06d}" for part, images, _ in parts for at in range(len(images))]
    labels = np.concatenate([labels for _, _, labels in parts])
    classes = _class_names(path, labels)
    records = tuple(
        Record(image_id, classes[label]) for image_id, label in zip(names, labels, strict=True)
    )
    images = ImageList(
        name="",
        title=path.stem,
        classes=(),
        records=records,
        where=str(path),
        licence="not stated",
        citation="not stated",
    )
    return Arrays(images.classes_found(), np.concatenate([images for _, images, _ in parts]))


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name. Raises DataError above MOST_BYTES."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size <= MOST_BYTES:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Exception as error:  # noqa: BLE001 - a damaged file can raise anything
        raise DataError(f"{path}: cannot be read as .npz ({error}); download it again") from None
    raise DataError(
        f"{path}: has {size / 2**30:.0f} GiB unpacked; the limit is {MOST_BYTES >> 30} GiB"
    )


def _parts(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, images and labels of every part: MedMNIST's three, or one."""
    pairs = [(part, f"{part}_images", f"{part}_labels") for part in PARTS]
    present = [pair for pair in [*pairs, ("image", "images", "labels")] if pair[1] in content]
    if not present:
        raise DataError(
            f"{path}: no images; it needs the arrays train_images and train_labels (val_, test_), "
            f"or images and labels; it has {listing(sorted(content))}"
        )
    for part, images, labels in present:
        pixels = _coloured(content[images], path)
        codes = np.atleast_1d(np.squeeze(content.get(labels, np.empty(0))))
        if codes.ndim != 1 or len(codes) != len(pixels):
            raise DataError(f"{path}: {len(pixels)} {images}, but {codes.shape} {labels}")
        if codes.dtype.kind not in "iuU":
            raise DataError(f"{path}: {labels} have the type {codes.dtype}; use whole numbers")
        yield part, pixels, codes


def _class_names(path: Path, labels: np.ndarray) -> dict[Any, str]:
    """The class name of every label: from dermamnist, else the label as text."""
    distinct = sorted(set(labels.tolist()))
    if path.stem.lower().startswith("dermamnist") and set(distinct) <= set(range(len(DERMAMNIST))):
        return dict(enumerate(DERMAMNIST))
    hidden = [ascii(label) for label in distinct if CONTROL.search(str(label))]
    if hidden:
        raise DataError(f"{path}: labels with control characters: {listing(hidden)}; rename them")
    return {label: str(label) for label in distinct}


def _coloured(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Images as (N, H, W, 3) uint8; grey images get three equal channels."""
    if pixels.ndim == COLOURS:
        pixels = pixels[..., None]
    valid = pixels.ndim == COLOURS + 1 and pixels.shape[3] in {1, 3} and 0 not in pixels.shape[1:]
    if pixels.dtype != np.uint8 or not valid:
        raise DataError(
            f"{path}: images are {pixels.dtype} of shape {pixels.shape}; use uint8 of shape "
            "(N, H, W, 3) or (N, H, W)"
        )
    return np.repeat(pixels, COLOURS // pixels.shape[3], axis=3)


def _read_hmnist(path: Path, report: Report) -> Arrays:
    tables = ham10000.fits(find_tables(path.parent), {})
    if not tables:
        raise DataError(f"{path}: has no image ids; put HAM10000_metadata.csv in the same folder")
    images = ham10000.read(tables, {}, report)
    paths = [r.image_id for r in images.records if Path(r.image_id).name != r.image_id]
    if paths:
        raise DataError(
            f"{tables[0].path}: image ids with a folder: {listing(paths)}; remove the folder"
        )
    width, channels = HMNIST[path.name.lower()]
    table = _numbers(path, width * width * channels + 1)
    labels = table[:, -1]
    code_of = {label: code for code, label in enumerate(HMNIST_LABELS)}
    expected = np.array([code_of.get(record.label, -1) for record in images.records])
    if len(expected) != len(labels) or (expected != labels).any():
        differ = np.flatnonzero(expected[: len(labels)] != labels[: len(expected)])
        first = f"first difference in row {differ[0] + 1}" if len(differ) else "other length"
        raise DataError(
            f"{path}: its {len(labels)} labels differ from those of {tables[0].path} "
            f"({len(expected)} rows, {first}); use the metadata in Kaggle's order"
        )
    pixels = table[:, :-1].reshape(len(table), width, width, channels)
    return Arrays(replace(images, native_size=(width, width)), _coloured(pixels, path))


def _numbers(path: Path, columns: int) -> np.ndarray:
    """The rows (N, columns) uint8 of a table of whole numbers from 0 to 255."""
    table = read_rows(read_text(path, raise_blocking), str(path), raise_blocking)
    next(table, None)
    rows = []
    for line, cells in table:
        try:
            rows.append(np.array(cells, dtype=np.uint8))
            valid = len(cells) == columns
        except (ValueError, OverflowError):
            valid = False
        if not valid:
            raise DataError(f"{path}: line {line}: needs {columns} whole numbers from 0 to 255")
    if not rows:
        raise DataError(f"{path}: no rows below the header; download it again")
    return np.stack(rows)
