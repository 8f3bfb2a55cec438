"""A quick look at a million pairs of pictures: which of them could show the same skin.

`registration.compare_quickly` takes 0.4 ms a pair, nearly all of it for RANSAC on pictures that
have nothing in common. Between so few spots, the transform that most of them agree on can be sought
through all pairs of matches instead of drawing them, in microseconds. RANSAC finds as many at most,
so pairs with too few need no comparison, and none is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.data.duplicates.loops import count_inliers
from bench.data.duplicates.registration import FEW_REACH, FEW_SIMILARITY, Look

AT_ONCE = 256
SLACK = 1.001
"""RANSAC works in other precision: what is inside for it must be inside here."""


def most_inliers(one: Look, others: Sequence[Look]) -> np.ndarray:
    """Matches (P,) int64 that the best similarity transform between the spots of a picture and each
    of P others explains. Never fewer than `compare_quickly` gives."""
    found = [
        _inliers(one, others[start : start + AT_ONCE]) for start in range(0, len(others), AT_ONCE)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _inliers(one: Look, others: Sequence[Look]) -> np.ndarray:
    ends = np.cumsum([0, *(len(other.spots.points) for other in others)])
    described = np.concatenate([other.spots.descriptors for other in others])
    likeness = one.spots.descriptors @ described.T
    points = np.concatenate([other.spots.points for other in others])
    counted: np.ndarray = count_inliers(
        likeness, one.spots.points, points, ends, FEW_SIMILARITY, FEW_REACH * SLACK
    )
    return counted
