"""Where HAM10000 lies, if it does, and the marks of a test that needs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "ham10000"
HAM10000 = Path(os.environ.get("BENCH_DATA") or BESIDE)
ISIC2019 = BESIDE.parent / "isic2019" / "ISIC_2019_Training_GroundTruth.csv"
ISIC2020 = BESIDE.parent / "isic2020" / "ISIC2020_train.csv"


def needs_ham10000(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test `real_data`, and skip it where the metadata is absent."""
    absent = not (HAM10000 / "HAM10000_metadata.csv").is_file()
    skip = pytest.mark.skipif(absent, reason="HAM10000 is not here")
    return pytest.mark.real_data(skip(test))


def needs_isic2020(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test `real_data`, and skip it where ISIC 2020's metadata is absent."""
    skip = pytest.mark.skipif(not ISIC2020.is_file(), reason="ISIC 2020 is not here")
    return pytest.mark.real_data(skip(test))


def needs_isic2019(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test `real_data`, and skip it where ISIC 2019's ground truth is absent."""
    skip = pytest.mark.skipif(not ISIC2019.is_file(), reason="ISIC 2019 is not here")
    return pytest.mark.real_data(skip(test))
