"""Kernels of the bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bench.score import fallback

MOST = int(np.iinfo(np.uint8).max)


class Kernels(NamedTuple):
    """The loops, and which form they have. `fallback` says what each of them does.

    weights (G, 64) uint8: how often each group is drawn in sixty-four resamples. `room`: how many
    of its counts fit eight bits together.
    """

    draw: Callable[[np.ndarray, np.ndarray], None]
    count_cells: Callable[[np.ndarray, int, np.ndarray, np.ndarray, np.ndarray], None]
    add_up: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
    rank: Callable[[np.ndarray, int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
    interpolate: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
    pull: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    form: str


NUMPY = Kernels(
    fallback.draw,
    fallback.count_cells,
    fallback.add_up,
    fallback.rank,
    fallback.interpolate,
    fallback.pull,
    "numpy",
)


@lru_cache(maxsize=1)
def compiled() -> Kernels:
    """The loops compiled by numba and cached on disk; by NumPy where numba cannot be had."""
    try:
        import numba
    except ImportError:
        return NUMPY
    try:
        from bench.score import loops

    except (ImportError, RuntimeError, OSError, numba.core.errors.NumbaError):
        return NUMPY
    return Kernels(
        loops.draw,
        loops.count_cells,
        loops.add_up,
        loops.rank,
        loops.interpolate,
        loops.pull,
        "numba",
    )


def room(weights: np.ndarray) -> int:
    """How many of these counts fit eight bits together, whichever they are."""
    return MOST // max(1, int(weights.max()))
