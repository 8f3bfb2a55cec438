"""What can be told without looking: a classifier of metadata alone, out of fold.

What it reaches is what a model could reach by recognising the site, the age or the camera instead
of the disease. Gradient-boosted trees of scikit-learn with fixed settings, classes weighted to
count the same; nothing is tuned. Missing values are values of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bench.manifest import Manifest
from bench.predictions import Predictions, RowPredictions, Slot
from bench.protocol import Protocol, Roles

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
    manifest: Manifest, roles: Roles, protocol: Protocol, quality: pd.DataFrame | None = None
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
    name: str, features: pd.DataFrame, manifest: Manifest, roles: Roles, protocol: Protocol
) -> RowPredictions:
    test: dict[Slot, Predictions] = {}
    val: dict[Slot, Predictions] = {}
    for column in range(protocol.folds * protocol.split.repeats):
        repeat, fold = divmod(column, protocol.folds)
        model = _fitted(features, manifest, roles, column)
        for into, part in ((test, "test"), (val, "val")):
            made = _predicted(model, features, manifest, roles.rows(column, part))
            into.update({Slot(seed, repeat, fold): made for seed in protocol.run.seeds})
    return RowPredictions(name=name, method=name, kind="trained", test=test, val=val)


def _fitted(features: pd.DataFrame, manifest: Manifest, roles: Roles, column: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = roles.rows(column, "train")
    model = HistGradientBoostingClassifier(**SETTINGS)
    return model.fit(features.iloc[rows], manifest.labels[rows])


def _predicted(
    model: Any, features: pd.DataFrame, manifest: Manifest, rows: np.ndarray
) -> Predictions:
    probs = np.zeros((len(rows), len(manifest.classes)))
    if len(rows):
        probs[:, model.classes_] = model.predict_proba(features.iloc[rows])
    return Predictions(manifest.image_ids[rows], probs, manifest.classes)
