"""Association of an attribute with the diagnosis, for images clustered in groups.

Effect sizes: Cramér's V for categories (V = sqrt(chi2 / (n k)), k the smaller number of categories
less one; Cramér 1946), epsilon squared for numbers (H / (n - 1) of Kruskal & Wallis 1952, H
corrected for ties; Kelley 1935): the share of the variance of the ranks between the classes.

Both are never negative, so noise alone makes them larger than 0. Intervals are bias-corrected
percentiles (Efron 1987, without acceleration) of a cluster bootstrap; the interval is undefined if
the value is below every replicate. The p value is of a permutation test: whole groups exchange
their labels with groups of the same number of images, which keeps the correlation within groups.
The mean effect size under permutation is `chance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from bench.leaderboard import NAN, Association, Estimate
from bench.score.bootstrap import bca

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


def epsilon_squared(by_value: np.ndarray, by_class: np.ndarray, rank_sums: np.ndarray) -> float:
    """Epsilon squared of counts by ordered value (C,) and by class (R,), and the rank sum of each
    class (R,) from `middle_ranks`; NaN without variance."""
    total = float((by_value * middle_ranks(by_value) ** 2).sum())
    known = by_class > 0
    if total <= 0 or known.sum() < 2:  # noqa: PLR2004 - one class has nothing to differ from
        return NAN
    return float((rank_sums[known] ** 2 / by_class[known]).sum() / total)


def middle_ranks(by_value: np.ndarray) -> np.ndarray:
    """Rank of each ordered value (C,) of these counts, ties at their middle, minus the mean
    rank."""
    return np.asarray(np.cumsum(by_value) - (by_value - 1) / 2 - (by_value.sum() + 1) / 2)


@dataclass(frozen=True)
class _Words:
    """Cramér's V of the codes (N,) of an attribute, for permuted labels and weighted images.

    The label of an image is given as the first cell of its line in the contingency table.
    """

    code: np.ndarray
    classes: int
    values: int

    @classmethod
    def of(cls, code: np.ndarray, classes: int) -> _Words:
        return cls(code, classes, int(code.max(initial=0)) + 1)

    def lines(self, label: np.ndarray) -> np.ndarray:
        return label * self.values

    def ordered(self, order: np.ndarray) -> _Words:
        return replace(self, code=self.code[order])

    def size(self, lines: np.ndarray, weights: np.ndarray | None = None) -> float:
        cells = self.classes * self.values
        counts = np.bincount(lines + self.code, weights, minlength=cells)
        return cramers_v(counts.reshape(self.classes, self.values))


@dataclass(frozen=True)
class _Numbers:
    """Epsilon squared, likewise; only the rank sums depend on the labels, so no table is needed."""

    code: np.ndarray
    classes: int
    ranks: np.ndarray
    by_value: np.ndarray

    @classmethod
    def of(cls, code: np.ndarray, classes: int) -> _Numbers:
        by_value = np.bincount(code)
        return cls(code, classes, middle_ranks(by_value)[code], by_value)

    def lines(self, label: np.ndarray) -> np.ndarray:
        return label

    def ordered(self, order: np.ndarray) -> _Numbers:
        return replace(self, code=self.code[order], ranks=self.ranks[order])

    def size(self, lines: np.ndarray, weights: np.ndarray | None = None) -> float:
        by_value, ranks = self.by_value, self.ranks
        if weights is not None:
            by_value = np.bincount(self.code, weights)
            ranks = weights * middle_ranks(by_value)[self.code]
        by_class = np.bincount(lines, weights, minlength=self.classes)
        return epsilon_squared(by_value, by_class, np.bincount(lines, ranks, self.classes))


def associate(
    name: str, values: pd.Series, classes: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> Association:
    """Association of a column (N,) of numbers or strings with class indices (N,); groups (N,) of
    str.

    Images without a value are left out.
    """
    known = values.notna().to_numpy()
    numeric = pd.api.types.is_numeric_dtype(values)
    code, group = (
        np.unique(part[known], return_inverse=True)[1]
        for part in (values.to_numpy() if numeric else values.astype(str).to_numpy(), groups)
    )
    many = int(classes.max()) + 1
    kind, measure = (_Numbers, EPSILON) if numeric else (_Words, V)
    attribute = kind.of(code, many)
    lines = attribute.lines(classes[known])
    value = attribute.size(lines) if known.any() else NAN
    images, members = int(known.sum()), int(group.max(initial=-1)) + 1
    if np.isnan(value):
        return Association(name, measure, Estimate(NAN, n=images), members, NAN, NAN)
    replicates = np.array(
        [attribute.size(lines, _redrawn(members, rng)[group]) for _ in range(RESAMPLES)]
    )
    ends = bca(replicates[np.isfinite(replicates)], value, 0.0, LEVEL)
    low, high = ends or (NAN, NAN)
    order, trades = _trades(lines, group, rng, TRADES)
    in_order = attribute.ordered(order)
    traded = np.array([in_order.size(other) for other in trades])
    p = float((1 + (traded >= value - 1e-12).sum()) / (1 + TRADES))
    method = "bias-corrected percentile" if ends else ""
    estimate = Estimate(value, low, high, images, method)
    return Association(name, measure, estimate, members, float(traded.mean()), p)


def _redrawn(groups: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap weights of the groups (G,): as many draws as groups."""
    return np.bincount(rng.integers(groups, size=groups), minlength=groups).astype(np.float64)


def _trades(
    label: np.ndarray, group: np.ndarray, rng: np.random.Generator, times: int
) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """An order (N,) of the images, and `times` permutations of their labels (N,) in this order,
    between groups of the same size. Every permutation fills the same array."""
    sizes = np.bincount(group)
    order = np.lexsort((np.arange(len(group)), group, sizes[group]))
    ends = np.cumsum([0, *np.bincount(sizes[group])[1:]])
    parts = [slice(a, b) for a, b in pairwise(ends.tolist())]
    own = label[order]

    def trade() -> Iterator[np.ndarray]:
        traded = np.empty_like(own)
        blocks = [
            (own[part].reshape(-1, size), traded[part].reshape(-1, size))
            for size, part in enumerate(parts, 1)
            if part.stop > part.start
        ]
        for _ in range(times):
            for own_labels, out in blocks:
                np.take(own_labels, rng.permutation(len(own_labels)), axis=0, out=out, mode="clip")
            yield traded

    return order, trade()


def adjusted(family: Mapping[str, Association]) -> dict[str, Association]:
    """The associations with p values adjusted by Holm over the family."""
    from statsmodels.stats.multitest import multipletests

    tested = [key for key, association in family.items() if np.isfinite(association.p)]
    if not tested:
        return dict(family)
    p = multipletests([family[key].p for key in tested], method="holm")[1]
    return {
        **family,
        **{k: replace(family[k], p_adjusted=float(v)) for k, v in zip(tested, p, strict=True)},
    }
