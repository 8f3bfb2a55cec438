"""Datasets whose pixels lie in one file: `.npz` as MedMNIST ships it, Kaggle's `hmnist` tables.

Their images are written into the cache once, a PNG each, and are an ordinary folder from then on:

    <cache>/arrays/<hash of the file>/images/<image_id>.png

Neither says which images are of one patient. A `.npz` needs a group file (`--groups`), or each
image counts as a group of its own. `hmnist_28_28_RGB.csv` has no ids either: its rows are taken for
those of the metadata beside it, and refused unless the labels are the same, row by row.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.data.issues import Report
from bench.data.readers import ham10000
from bench.data.readers.base import CONTROL, ImageList, find_tables
from bench.dataset import Record
from bench.errors import DataError, listing
from bench.io import ensure_folder, sha256_of

PARTS = ("train", "val", "test")
HMNIST = {"hmnist_28_28_rgb.csv": (28, 3), "hmnist_8_8_rgb.csv": (8, 3),
          "hmnist_28_28_l.csv": (28, 1), "hmnist_8_8_l.csv": (8, 1)}  # fmt: skip
"""Width and channels of Kaggle's tables, by file name."""
HMNIST_LABELS = ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")
"""What the numbers in `hmnist`'s label column mean: not the order of the classes' names."""
DERMAMNIST = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""What the numbers in MedMNIST's dermamnist mean: HAM10000's classes by name."""
COLOURS = 3
MOST_BYTES = 16 * 2**30
"""Unpacked: a small file can state any size."""


@dataclass(frozen=True)
class Arrays:
    """Images read from one file: pixels (N, H, W, 3) uint8 RGB in the order of the roster."""

    roster: ImageList
    pixels: np.ndarray


def is_array_file(path: Path) -> bool:
    """Whether a file holds pixels as this module reads them, by its name."""
    return path.suffix.lower() == ".npz" or path.name.lower() in HMNIST


def read_arrays(path: Path, report: Report) -> Arrays:
    """The images of an array file. Raises DataError that names the file and the fault."""
    return _read_npz(path) if path.suffix.lower() == ".npz" else _read_hmnist(path, report)


def as_folder(path: Path, arrays: Arrays, cache: Path) -> Path:
    """The folder of the cache that holds the images as PNG; written where it is not whole."""
    folder = cache / "arrays" / sha256_of(path)[:20]

    def fill(scratch: Path) -> None:
        (scratch / "images").mkdir()
        for record, image in zip(arrays.roster.records, arrays.pixels, strict=True):
            png = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
            (scratch / "images" / f"{record.image_id}.png").write_bytes(png.tobytes())

    try:
        ensure_folder(folder, fill)
    except OSError as error:
        raise DataError(
            f"{folder}: the images of {path.name} cannot be kept there ({error.strerror}); "
            "set BENCH_CACHE to a folder that can be written"
        ) from None
    return folder


def _read_npz(path: Path) -> Arrays:
    content = _unpacked(path)
    parts = list(_parts(content, path))
    shapes = sorted({images.shape[1:] for _, images, _ in parts})
    if len(shapes) > 1:
        raise DataError(f"{path}: its parts have images of shapes {listing(shapes)}; give one size")
    names = [f"{part}_{at:06d}" for part, images, _ in parts for at in range(len(images))]
    labels = np.concatenate([labels for _, _, labels in parts])
    classes = _class_names(path, labels)
    records = tuple(
        Record(image_id, classes[label]) for image_id, label in zip(names, labels, strict=True)
    )
    roster = ImageList(
        name="",
        title=path.stem,
        classes=(),
        records=records,
        where=str(path),
        licence="not stated",
        citation="not stated",
    )
    return Arrays(roster.classes_found(), np.concatenate([images for _, images, _ in parts]))


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz by name."""
    try:
        with zipfile.ZipFile(path) as held:
            size = sum(member.file_size for member in held.infolist())
        if size <= MOST_BYTES:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes its readers raise
        raise DataError(f"{path}: cannot be read as .npz ({error}); fetch it again") from None
    raise DataError(f"{path}: holds {size / 2**30:.0f} GiB unpacked; too large to be read")


def _parts(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, images and labels of every part: MedMNIST's three, or one."""
    pairs = [(part, f"{part}_images", f"{part}_labels") for part in PARTS]
    found = [pair for pair in [*pairs, ("image", "images", "labels")] if pair[1] in content]
    if not found:
        raise DataError(
            f"{path}: no images; it needs the arrays train_images and train_labels (val_, test_), "
            f"or images and labels; it has {listing(sorted(content))}"
        )
    for part, images, labels in found:
        pixels = _coloured(content[images], path)
        codes = np.atleast_1d(np.squeeze(content.get(labels, np.empty(0))))
        if codes.ndim != 1 or len(codes) != len(pixels):
            raise DataError(f"{path}: {len(pixels)} {images}, but {codes.shape} {labels}")
        if codes.dtype.kind not in "iuU":
            raise DataError(f"{path}: {labels} are {codes.dtype}; they need to be whole numbers")
        yield part, pixels, codes


def _class_names(path: Path, labels: np.ndarray) -> dict[Any, str]:
    """The name of every label: dermamnist's, else the label as text."""
    found = sorted(set(labels.tolist()))
    if path.stem.lower().startswith("dermamnist") and set(found) <= set(range(len(DERMAMNIST))):
        return dict(enumerate(DERMAMNIST))
    hidden = [ascii(label) for label in found if CONTROL.search(str(label))]
    if hidden:
        raise DataError(f"{path}: labels with control characters: {listing(hidden)}; rename them")
    return {label: str(label) for label in found}


def _coloured(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Images as (N, H, W, 3) uint8; grey ones three times."""
    if pixels.ndim == COLOURS:
        pixels = pixels[..., None]
    shaped = pixels.ndim == COLOURS + 1 and pixels.shape[3] in {1, 3} and 0 not in pixels.shape[1:]
    if pixels.dtype != np.uint8 or not shaped:
        raise DataError(
            f"{path}: images are {pixels.dtype} of shape {pixels.shape}; they need to be uint8 of "
            "shape (N, H, W, 3) or (N, H, W)"
        )
    return np.repeat(pixels, COLOURS // pixels.shape[3], axis=3)


def _read_hmnist(path: Path, report: Report) -> Arrays:
    sheets = ham10000.fits(find_tables(path.parent), {})
    if not sheets:
        raise DataError(f"{path}: has no ids; it needs HAM10000_metadata.csv beside it")
    roster = ham10000.read(sheets, {}, report)
    paths = [r.image_id for r in roster.records if Path(r.image_id).name != r.image_id]
    if paths:
        raise DataError(f"{sheets[0].path}: image ids that are paths: {listing(paths)}; name files")
    width, channels = HMNIST[path.name.lower()]
    table = _numbers(path, width * width * channels + 1)
    labels = table[:, -1]
    code_of = {label: code for code, label in enumerate(HMNIST_LABELS)}
    told = np.array([code_of.get(record.label, -1) for record in roster.records])
    if len(told) != len(labels) or (told != labels).any():
        unlike = np.flatnonzero(told[: len(labels)] != labels[: len(told)])
        first = f"first at row {unlike[0] + 1}" if len(unlike) else "up to where one ends"
        raise DataError(
            f"{path}: its {len(labels)} labels are not those of {sheets[0].path} ({len(told)} "
            f"rows, {first}), so its rows have no ids; use the metadata in Kaggle's order"
        )
    pixels = table[:, :-1].reshape(len(table), width, width, channels)
    return Arrays(replace(roster, native_size=(width, width)), _coloured(pixels, path))


def _numbers(path: Path, columns: int) -> np.ndarray:
    """The rows of a table of whole numbers from 0 to 255 (N, columns)."""
    rows = []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        try:
            next(reader, None)
            for row in reader:
                rows.append(np.array(row, dtype=np.uint8))
                if len(row) != columns:
                    raise ValueError  # noqa: TRY301 - as what numpy raises for a cell
        except (ValueError, OverflowError, csv.Error):
            raise DataError(
                f"{path}: line {reader.line_num}: needs {columns} whole numbers from 0 to 255"
            ) from None
    if not rows:
        raise DataError(f"{path}: no rows below the header; fetch it again")
    return np.stack(rows)
