"""Exploration of a dataset: image quality, metadata and a classifier of metadata alone.

Every picture is first made as high as the common `HEIGHT` (area averaging; smaller ones stay), so
that one taken with more pixels does not pass for sharper. The numbers sort pictures and compare
groups of them; none is a measurement of skin.

What it reaches is what a model could reach by recognising the site, the age or the camera instead
of the disease. Gradient-boosted trees of scikit-learn with fixed settings, classes weighted to
count the same; nothing is tuned. Missing values are values of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bench.data.images import loader
from bench.data.preprocess import RemoveHair
from bench.dataset import Dataset
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import Protocol, Roles

HEIGHT = 450
MEASURES = ("sharpness", "brightness", "colour_cast", "hair")


@dataclass(frozen=True, slots=True)
class Quality:
    """One picture's numbers.

    width, height  pixels of the file, upright
    sharpness      variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000)
    brightness     mean L* of CIELAB, 0 to 100
    colour_cast    distance of the mean colour from grey in CIELAB's a*, b* plane
    hair           share of pixels that the hair mask of the preprocessing covers, 0 to 1
    """

    width: int
    height: int
    sharpness: float
    brightness: float
    colour_cast: float
    hair: float


def measure(pixels: np.ndarray) -> Quality:
    """The numbers of a picture (H, W, 3) uint8 RGB."""
    height, width = pixels.shape[:2]
    scale = min(1.0, HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    lightness, a, b = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).mean((0, 1))
    return Quality(
        width=width,
        height=height,
        sharpness=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        brightness=float(lightness),
        colour_cast=float(np.hypot(a, b)),
        hair=float((RemoveHair().mask(small) > 0).mean()),
    )


def measure_images(files: Mapping[str, Path], advance: Callable[[], Any]) -> pd.DataFrame:
    """A row an image, indexed by image id, with the fields of Quality; on all cores.

    Raises DataError that names a file which cannot be read.
    """
    load = loader(files)

    def one(image_id: str) -> tuple[Any, ...]:
        numbers = astuple(measure(load(image_id)))
        advance()
        return numbers

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(one, files))
    columns = [field.name for field in fields(Quality)]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(list(files), name="image_id"))


def thumbnail(pixels: np.ndarray, height: int = 96) -> bytes:
    """A small JPEG of a picture (H, W, 3) uint8 RGB."""
    width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def examples(manifest_table: pd.DataFrame, each: int, rng: np.random.Generator) -> dict[str, Any]:
    """`each` image ids of every class, drawn at random, no two of one group (column `group`)."""
    shuffled = manifest_table.iloc[rng.permutation(len(manifest_table))]
    apart = shuffled.drop_duplicates(["label", "group"])
    return {
        str(label): rows["image_id"].head(each).tolist() for label, rows in apart.groupby("label")
    }


SETS = {
    "patient": ("age", "sex", "localization"),
    "patient and source": ("age", "sex", "localization", "source"),
    "source alone": ("source",),
    "diagnosis type alone": ("dx_type",),
}
"""What each classifier knows. No method of the bench is given `source` or `dx_type`."""
PICTURE = "picture quality alone"
SETTINGS = {"max_iter": 60, "max_leaf_nodes": 15, "class_weight": "balanced", "random_state": 0}


def metadata_rows(
    manifest: Dataset, roles: Roles, protocol: Protocol, quality: pd.DataFrame | None = None
) -> list[RowPredictions]:
    """A row of out-of-fold predictions for every set of columns that says anything at all."""
    features = _features(manifest.table)
    chosen: dict[str, tuple[str, ...]] = {}
    for name, columns in SETS.items():
        known = tuple(column for column in columns if len(features[column].unique()) > 1)
        if known and known not in chosen.values():
            chosen[name] = known
    if quality is not None:
        features = features.join(quality.reset_index(drop=True))
        chosen[PICTURE] = tuple(quality.columns)
    import sklearn.ensemble  # noqa: F401 - limits hold for what is loaded

    # with so little work a step several threads mostly wait for each other, and burn a processor
    # each while they do (minutes where one thread takes seconds); the trees are the same
    with threadpool_limits(1, user_api="openmp"):
        return [
            _row(name, features[list(columns)], manifest, roles, protocol)
            for name, columns in chosen.items()
        ]


def _features(table: pd.DataFrame) -> pd.DataFrame:
    """Age in years and the others as categories, `missing` among them."""
    words = {
        column: pd.Categorical(table[column].astype(object).where(table[column].notna(), "missing"))
        for column in ("sex", "localization", "dx_type", "source")
    }
    return pd.DataFrame({"age": table["age"].astype(np.float64), **words})


def _row(
    name: str, features: pd.DataFrame, manifest: Dataset, roles: Roles, protocol: Protocol
) -> RowPredictions:
    test: dict[TrainingKey, Predictions] = {}
    val: dict[TrainingKey, Predictions] = {}
    for column in range(protocol.folds * protocol.split.repeats):
        repeat, fold = divmod(column, protocol.folds)
        model = _fitted(features, manifest, roles, column)
        for into, part in ((test, "test"), (val, "val")):
            made = _predicted(model, features, manifest, roles.rows(column, part))
            into.update({TrainingKey(seed, repeat, fold): made for seed in protocol.run.seeds})
    return RowPredictions(name=name, method=name, kind="trained", test=test, val=val)


def _fitted(features: pd.DataFrame, manifest: Dataset, roles: Roles, column: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = roles.rows(column, "train")
    model = HistGradientBoostingClassifier(**SETTINGS)
    return model.fit(features.iloc[rows], manifest.labels[rows])


def _predicted(
    model: Any, features: pd.DataFrame, manifest: Dataset, rows: np.ndarray
) -> Predictions:
    probs = np.zeros((len(rows), len(manifest.classes)))
    if len(rows):
        probs[:, model.classes_] = model.predict_proba(features.iloc[rows])
    return Predictions(manifest.image_ids[rows], probs, manifest.classes)
