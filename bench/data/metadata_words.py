"""Metadata of images as categories, for methods; a missing value is a separate category."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bench.dataset import METADATA_AGES, UnlabelledRecord, age_bands

MISSING = "missing"


def metadata_words(records: Iterable[UnlabelledRecord]) -> np.ndarray:
    """Age band, sex and localization of images: (N, 3) of str, "missing" if not known.

    Age is in bands of ten years ("50 to 59"); the relation of age and diagnosis is not linear.
    """
    rows = [(each.age, each.sex or MISSING, each.localization or MISSING) for each in records]
    table = pd.DataFrame(rows, columns=["age", "sex", "localization"], dtype=object)
    table["age"] = age_bands(table["age"], METADATA_AGES, "{} to {}", "{} or more").fillna(MISSING)
    return table.to_numpy(dtype=object)
