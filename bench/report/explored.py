"""What was found out about a dataset: what the EDA page is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.estimates import Association, Leaderboard
from bench.manifest import Manifest

TITLES = {
    "sex": "Sex",
    "age": "Age, years",
    "localization": "Localization",
    "dx_type": "How the diagnosis was confirmed",
    "source": "Source",
    "sharpness": "Sharpness",
    "brightness": "Brightness, L*",
    "colour_cast": "Colour cast",
    "hair": "Hair, share of the picture",
}
MEASURES = ("sharpness", "brightness", "colour_cast", "hair")


@dataclass(frozen=True)
class Explored:
    """What was found out about a dataset.

    pictures  small JPEGs with their image ids: of each class, and those that stand out
    board     classifiers that know no picture, scored as any method
    balance   how the parts of the folds are balanced, by part
    frozen    whether the folds are the protocol's own, or were drawn for this page
    """

    manifest: Manifest
    group_ids: np.ndarray
    quality: pd.DataFrame | None
    pictures: Mapping[str, Sequence[tuple[str, bytes]]]
    associations: Mapping[str, Association]
    board: Leaderboard
    balance: Mapping[str, pd.DataFrame]
    frozen: bool
