"""What a method may know beside the image, as words; what is missing is a word of its own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.dataset import UnlabelledRecord

MISSING = "missing"
BAND = 10
"""Years that share a word: what age tells of a diagnosis is no straight line."""


def metadata_words(records: Iterable[UnlabelledRecord]) -> np.ndarray:
    """Band of age, sex and localization of images: (N, 3) of str, "missing" where not known."""
    rows = [
        (_band(each.age), each.sex or MISSING, each.localization or MISSING) for each in records
    ]
    return np.array(rows, dtype=object).reshape(-1, 3)


def _band(age: float | None) -> str:
    """`50 to 59` of 55 years."""
    if age is None:
        return MISSING
    start = int(age) // BAND * BAND
    return f"{start} to {start + BAND - 1}"
