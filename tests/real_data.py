"""Where HAM10000 lies, if it does, and the marks of a test that needs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "ham10000"
HAM10000 = Path(os.environ.get("BENCH_DATA") or BESIDE)


def needs_ham10000(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test `real_data`, and skip it where the metadata is absent."""
    absent = not (HAM10000 / "HAM10000_metadata.csv").is_file()
    skip = pytest.mark.skipif(absent, reason="HAM10000 is not here")
    return pytest.mark.real_data(skip(test))
