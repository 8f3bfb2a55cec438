"""Run a test with the compiled kernels and with those by NumPy."""

from __future__ import annotations

import pytest

from tests.score.cohorts import use_numpy_kernels


@pytest.fixture(params=["numba", "numpy"])
def kernels(request, monkeypatch):
    """The kernels that scoring uses in this test: a module."""
    from bench.score import kernels as compiled

    if request.param == "numpy":
        use_numpy_kernels(monkeypatch)
    return compiled
