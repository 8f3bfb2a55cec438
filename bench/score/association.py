"""How strongly an attribute goes with the diagnosis, where images of one group are not independent.

Sizes: Cramér's V of a word (V = sqrt(chi2 / (n k)), k the smaller number of categories less one;
Cramér 1946), epsilon squared of a number (H / (n - 1) of Kruskal & Wallis 1952, H corrected for
ties; Kelley 1935): the share of the ranks' variance that lies between the classes.

Both are never negative, so noise alone makes them larger than 0. Intervals are bias-corrected
percentiles (Efron 1987, without acceleration) of a bootstrap that resamples whole groups; where the
value lies below every resample there is none. The p value is that of a permutation test: whole
groups trade their values with groups of the same number of images, which is what independence
allows however alike the images of a group are. The mean size under these trades is shown as
`chance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.estimates import NAN, Association, Estimate
from bench.score.intervals import bca

V, EPSILON = "Cramér's V", "epsilon squared"
RESAMPLES, TRADES, LEVEL = 1000, 1999, 0.95


def cramers_v(table: np.ndarray) -> float:
    """Cramér's V of counts (R, C); NaN where one side has a single category."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    k = min(table.shape) - 1
    if k < 1:
        return NAN
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / k))


def epsilon_squared(table: np.ndarray) -> float:
    """Epsilon squared of counts (R classes, C ordered values); NaN without any variance."""
    by_value, by_class = table.sum(axis=0), table.sum(axis=1)
    images = by_value.sum()
    ranks = np.cumsum(by_value) - (by_value - 1) / 2 - (images + 1) / 2
    total = float((by_value * ranks**2).sum())
    known = by_class > 0
    if total <= 0 or known.sum() < 2:  # noqa: PLR2004 - one class has nothing to differ from
        return NAN
    between = ((table @ ranks)[known] ** 2 / by_class[known]).sum()
    return float(between / total)


def associate(
    name: str, values: pd.Series, classes: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> Association:
    """A column (N,), numbers or words, against class indices (N,) with groups (N,) of str.

    Images without a value are left out.
    """
    known = values.notna().to_numpy()
    numeric = pd.api.types.is_numeric_dtype(values)
    size, measure = (epsilon_squared, EPSILON) if numeric else (cramers_v, V)
    code, group = (
        np.unique(part[known], return_inverse=True)[1]
        for part in (values.to_numpy() if numeric else values.astype(str).to_numpy(), groups)
    )
    label = classes[known]
    shape = (int(classes.max()) + 1, int(code.max(initial=0)) + 1)
    cell = label * shape[1] + code

    def count(cells: np.ndarray, weights: np.ndarray | None = None) -> float:
        return size(np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape))

    value = count(cell) if known.any() else NAN
    images, members = int(known.sum()), int(group.max(initial=-1)) + 1
    if np.isnan(value):
        return Association(name, measure, Estimate(NAN, n=images), members, NAN, NAN)
    drawn = np.array([count(cell, _redrawn(members, rng)[group]) for _ in range(RESAMPLES)])
    ends = bca(drawn[np.isfinite(drawn)], value, 0.0, LEVEL)
    low, high = ends or (NAN, NAN)
    traded = np.array(
        [count(other * shape[1] + code) for other in _trades(label, group, rng, TRADES)]
    )
    p = float((1 + (traded >= value - 1e-12).sum()) / (1 + TRADES))
    method = "bias-corrected percentile" if ends else ""
    estimate = Estimate(value, low, high, images, method)
    return Association(name, measure, estimate, members, float(traded.mean()), p)


def _redrawn(groups: int, rng: np.random.Generator) -> np.ndarray:
    """How often each group is drawn (G,), as many draws as groups."""
    return np.bincount(rng.integers(groups, size=groups), minlength=groups).astype(np.float64)


def _trades(
    label: np.ndarray, group: np.ndarray, rng: np.random.Generator, times: int
) -> Iterator[np.ndarray]:
    """Labels (N,) after groups of the same size traded theirs, `times` over."""
    sizes = np.bincount(group)
    order = np.lexsort((np.arange(len(group)), group, sizes[group]))
    counts = sizes[group][order]
    blocks = [order[counts == size].reshape(-1, size) for size in np.unique(counts)]
    for _ in range(times):
        traded = np.empty_like(label)
        for block in blocks:
            traded[block] = label[block[rng.permutation(len(block))]]
        yield traded


def adjusted(family: Mapping[str, Association]) -> dict[str, Association]:
    """The same with p values adjusted by Holm over all of them."""
    from statsmodels.stats.multitest import multipletests

    tested = [key for key, one in family.items() if np.isfinite(one.p)]
    if not tested:
        return dict(family)
    p = multipletests([family[key].p for key in tested], method="holm")[1]
    return {
        **family,
        **{k: replace(family[k], p_adjusted=float(v)) for k, v in zip(tested, p, strict=True)},
    }
