"""The embedded synthetic dataset: drawn by a program once, then an ordinary folder of the cache.

    <cache>/synthetic/<version>/metadata.csv   HAM10000's columns and `patient_id`
    <cache>/synthetic/<version>/images/        a PNG an image, 128x96
    <cache>/synthetic/<version>/sha256         hash of all of them, proven at every opening

The version is a hash of the program and of the libraries that draw, so that another program never
meets this one's pictures.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from bench.data import synthetic_cohort, synthetic_pixels
from bench.data.made import ensure_folder
from bench.data.sources import Source
from bench.data.store import cache_folder
from bench.errors import DataError
from bench.manifest import Manifest

COLUMN_NAMES = {"label": "dx", "source": "dataset"}


def synthetic_manifest() -> Manifest:
    """Who is in the synthetic cohort; no pixel is drawn and no file touched."""
    return Manifest(
        name="synthetic",
        title="synthetic dermatoscopy",
        classes=synthetic_cohort.CLASSES,
        table=synthetic_cohort.cohort_table(),
        synthetic=True,
        native_size=(synthetic_pixels.WIDTH, synthetic_pixels.HEIGHT),
        licence="MIT, as this project",
        citation="Synthetic images drawn by this project's own program; no patient, no lesion, "
        "no photograph stands behind them. They say nothing about skin.",
        malignant=synthetic_cohort.MALIGNANT,
    )


def open_synthetic(cache: Path | None = None, *, images: bool = True) -> Source:
    """The synthetic dataset; its images are drawn if the cache does not hold them whole.

    `cache` is the cache's root, $BENCH_CACHE or the user's cache folder by default. Without
    `images` only the metadata is there: at once, and nothing is written. Drawing takes some
    seconds. Raises DataError where the cache cannot be written.
    """
    manifest = synthetic_manifest()
    folder = (cache or cache_folder()) / "synthetic" / version()
    if images:
        try:
            ensure_folder(folder, lambda scratch: _draw(scratch, manifest.table))
        except OSError as error:
            raise DataError(
                f"{folder}: the synthetic images cannot be kept there ({error.strerror}); "
                "set BENCH_CACHE to a folder that can be written"
            ) from None
    return Source(manifest, folder)


def version() -> str:
    """Short hash of everything the pictures depend on: the program, numpy and opencv."""
    program = sorted(Path(__file__).parent.glob("synthetic*.py"))
    parts = [path.read_bytes() for path in program]
    parts += [np.__version__.encode(), cv2.__version__.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _draw(folder: Path, table: pd.DataFrame) -> None:
    images = folder / "images"
    images.mkdir()
    for image_id, pixels in synthetic_pixels.draw_images(table):
        png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        (images / f"{image_id}.png").write_bytes(png.tobytes())
    metadata = table.drop(columns="group_id", errors="ignore").rename(columns=COLUMN_NAMES)
    metadata.to_csv(folder / "metadata.csv", index=False, lineterminator="\n")
