"""The attributes that folds are balanced by: a value of every image, as a word."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.errors import ProtocolError, listing
from bench.manifest import Manifest

KEYS = ("label", "sex", "age", "localization", "source")
AGE_EDGES = (0, 30, 45, 60, 75)
MISSING = "missing"


def strata(manifest: Manifest, key: str) -> np.ndarray:
    """The attribute `key` of every image (N,) of str; ages fall into bands of years.

    Raises ProtocolError for a key that is none of KEYS.
    """
    if key not in KEYS:
        raise ProtocolError(f"split.stratify: unknown key {key!r}; known are {listing(list(KEYS))}")
    column = manifest.table[key]
    if key == "age":
        column = _age_bands(column)
    return np.where(column.isna(), MISSING, column.astype(str)).astype(object)


def _age_bands(years: pd.Series) -> pd.Series:
    lows, highs = AGE_EDGES, (*AGE_EDGES[1:], None)
    names = [
        f"{low}+" if high is None else f"{low}-{high - 1}"
        for low, high in zip(lows, highs, strict=True)
    ]
    edges = [*map(float, AGE_EDGES), np.inf]
    return pd.cut(years.astype(np.float64), edges, right=False, labels=names).astype(object)
