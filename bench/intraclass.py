"""Intraclass correlation and design effect."""

from __future__ import annotations

from math import nan

import numpy as np


def intra_class_correlation(values: np.ndarray, groups: np.ndarray) -> float:
    """Intraclass correlation of values (N,) in groups (N,): the analysis-of-variance estimator.

    1 if all values of a group are equal, about 0 if groups are as mixed as the whole. NaN if no
    group has two images, or all values are equal. Donner & Koval 1980, doi:10.2307/2530491.
    """
    member = np.unique(groups.astype(str), return_inverse=True)[1]
    sizes = np.bincount(member)
    images, count = len(values), len(sizes)
    if images == count or count < 2:  # noqa: PLR2004 - nothing within, or nothing between
        return nan
    means = np.bincount(member, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum() / (count - 1))
    within = float(((values - means[member]) ** 2).sum() / (images - count))
    size = (images - float((sizes**2).sum()) / images) / (count - 1)
    whole = between + (size - 1) * within
    return (between - within) / whole if whole > 0 else nan


def design_effect(sizes: np.ndarray, correlation: float) -> float:
    """Variance inflation of a mean over groups of these sizes (G,)."""
    return 1 + (float((sizes**2).sum() / sizes.sum()) - 1) * correlation


def pair_correlation(values: np.ndarray, groups: np.ndarray) -> float:
    """Correlation of the values (N,) of two images of one group; every pair has the same weight.

    The mean product of deviations over the pairs, divided by the variance (Karlin et al. 1981,
    doi:10.1073/pnas.78.5.2664). With it, `design_effect` is exact for the mean of these values: the
    sum over groups of squared sums, divided by the sum of squares. Use it for errors of a method:
    the analysis-of-variance estimator is biased if single images vary less than those of large
    groups (-0.3 instead of 0.5 on nevi). NaN as above.
    """
    member = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(member)
    pairs = float((sizes * (sizes - 1)).sum())
    apart = values - values.mean()
    square = float((apart**2).sum())
    if not pairs or square == 0:
        return nan
    within = float((np.bincount(member, apart) ** 2).sum()) - square
    return within / pairs / (square / len(values))
