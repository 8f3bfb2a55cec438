"""What tests share: a cache of their own, small datasets, the real data where it is."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.data.open import OpenDataset
from bench.dataset import Dataset, Record

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("mel", "nv", "vasc")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the test session's own, for this process and those it starts."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["BENCH_CACHE"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.pop("BENCH_DATA", None)
    return folder


def small_records(lesions: int = 30, views: int = 2) -> list[Record]:
    """Lesions with several views each, classes in turn."""
    return [
        Record(
            image_id=f"IMG_{lesion:03d}_{view}",
            label=CLASSES[lesion % len(CLASSES)],
            lesion_id=f"L{lesion:03d}",
            age=40.0 + lesion if lesion % 7 else None,
            sex=("male", "female", None)[lesion % 3],
            localization="back",
            dx_type="histo",
            source="here",
        )
        for lesion in range(lesions)
        for view in range(views)
    ]


@pytest.fixture
def small_manifest() -> Dataset:
    return Dataset.from_records("small", CLASSES, small_records())


def draw_image(record: Record) -> np.ndarray:
    """An image (24, 32, 3) uint8 RGB whose colour tells the class, with noise of its own."""
    rng = np.random.default_rng(list(record.image_id.encode()))
    image = rng.integers(0, 60, (24, 32, 3))
    image[..., CLASSES.index(record.label)] += 150
    return image.astype(np.uint8)


@pytest.fixture
def small_source(tmp_path: Path, small_manifest: Dataset) -> OpenDataset:
    """The small dataset with its images on disk."""
    folder = tmp_path / "images"
    folder.mkdir()
    for record in small_records():
        cv2.imwrite(str(folder / f"{record.image_id}.png"), draw_image(record)[..., ::-1])
    return OpenDataset(small_manifest, folder)
