"""Exploration of a dataset: image quality, metadata, and classifiers of metadata only.

Image quality: every image is reduced to the common `HEIGHT` (area averaging; smaller images stay),
so that a higher resolution does not count as sharpness. The numbers rank and compare images; they
are not measurements of skin.

Metadata classifiers: their score is what a model can reach by recognising site, age or camera
instead of the disease. Gradient-boosted trees of scikit-learn with fixed settings and balanced
class weights, without tuning. Missing values are a separate category.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from bench.io import map_on_all_cores
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.protocol import Protocol, Roles

HEIGHT = 450
MEASURES = ("sharpness", "brightness", "colour_cast", "hair")


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality measures of one image.

    width, height  pixels of the file, upright
    sharpness      variance of the Laplacian of the grey image (Pech-Pacheco et al. 2000)
    brightness     mean L* of CIELAB, 0 to 100
    colour_cast    distance of the mean colour from grey in CIELAB's a*, b* plane
    hair           share of pixels in the hair mask of the preprocessing, 0 to 1
    """

    width: int
    height: int
    sharpness: float
    brightness: float
    colour_cast: float
    hair: float


def measure(pixels: np.ndarray) -> Quality:
    """The quality measures of an image (H, W, 3) uint8 RGB."""
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
    """One row per image, indexed by image id, with the fields of Quality; uses all cores.

    Raises DataError that names a file which cannot be read.
    """
    load = loader(files)

    def measure_file(image_id: str) -> tuple[Any, ...]:
        values = astuple(measure(load(image_id)))
        advance()
        return values

    rows = list(map_on_all_cores(measure_file, files))
    columns = [field.name for field in fields(Quality)]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(list(files), name="image_id"))


def thumbnail(pixels: np.ndarray, height: int = 96) -> bytes:
    """A small JPEG of an image (H, W, 3) uint8 RGB."""
    width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def examples(table: pd.DataFrame, each: int, rng: np.random.Generator) -> dict[str, Any]:
    """`each` random image ids of every class, one per group (column `group`) at most."""
    shuffled = table.iloc[rng.permutation(len(table))]
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
"""Features of each classifier. Methods of the bench never get `source` or `dx_type`."""
QUALITY = "picture quality alone"
SETTINGS = {"max_iter": 60, "max_leaf_nodes": 15, "class_weight": "balanced", "random_state": 0}


def metadata_rows(
    dataset: Dataset, roles: Roles, protocol: Protocol, quality: pd.DataFrame | None = None
) -> list[RowPredictions]:
    """Out-of-fold predictions of a classifier for every set of columns with different values."""
    features = _features(dataset.table)
    chosen: dict[str, tuple[str, ...]] = {}
    for name, columns in SETS.items():
        known = tuple(column for column in columns if len(features[column].unique()) > 1)
        if known and known not in chosen.values():
            chosen[name] = known
    if quality is not None:
        features = features.join(quality.reset_index(drop=True))
        chosen[QUALITY] = tuple(quality.columns)
    import sklearn.ensemble  # noqa: F401 - the limit applies to loaded libraries

    # with little work per step, several threads mostly wait for each other in busy loops (minutes
    # instead of seconds with one thread); the trees are the same
    with threadpool_limits(1, user_api="openmp"):
        return [
            _row(name, features[list(columns)], dataset, roles, protocol)
            for name, columns in chosen.items()
        ]


def _features(table: pd.DataFrame) -> pd.DataFrame:
    """Age in years, and the other attributes as categories including `missing`."""
    categories = {
        column: pd.Categorical(table[column].astype(object).where(table[column].notna(), "missing"))
        for column in ("sex", "localization", "dx_type", "source")
    }
    return pd.DataFrame({"age": table["age"].astype(np.float64), **categories})


def _row(
    name: str, features: pd.DataFrame, dataset: Dataset, roles: Roles, protocol: Protocol
) -> RowPredictions:
    test: dict[TrainingKey, Predictions] = {}
    val: dict[TrainingKey, Predictions] = {}
    for column in range(protocol.folds * protocol.split.repeats):
        repeat, fold = divmod(column, protocol.folds)
        model = _fitted(features, dataset, roles, column)
        for into, part in ((test, "test"), (val, "val")):
            predictions = _predicted(model, features, dataset, roles.rows(column, part))
            into.update(
                {TrainingKey(seed, repeat, fold): predictions for seed in protocol.run.seeds}
            )
    return RowPredictions(name=name, method=name, kind="trained", test=test, val=val)


def _fitted(features: pd.DataFrame, dataset: Dataset, roles: Roles, column: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = roles.rows(column, "train")
    model = HistGradientBoostingClassifier(**SETTINGS)
    return model.fit(features.iloc[rows], dataset.labels[rows])


def _predicted(
    model: Any, features: pd.DataFrame, dataset: Dataset, rows: np.ndarray
) -> Predictions:
    probs = np.zeros((len(rows), len(dataset.classes)))
    if len(rows):
        probs[:, model.classes_] = model.predict_proba(features.iloc[rows])
    return Predictions(dataset.image_ids[rows], probs, dataset.classes)
