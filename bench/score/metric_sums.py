"""Statistics of sums over images, with intervals from the shared resamples.

A statistic is a function from sums to values, as `metrics.values` is for the leaderboard. Images
are counted in cells and values are summed in parts by `kernels`, over the same resampled groups as
the leaderboard; so differences are paired, and 1,000 resamples are the first 1,000 of the 10,000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.leaderboard import NAN, Estimate
from bench.protocol import Interval
from bench.score.bootstrap import BATCH, STEP, Plan, acceleration
from bench.score.metrics import BIASED
from bench.score.row import FEW_GROUPS, few_mark, imprecise, interval_of

Statistic = Callable[[np.ndarray], np.ndarray]
"""From sums (K, B) to values (S, B). For BCa it must accept complex sums too."""


@dataclass(frozen=True)
class EstimateSpec:
    """Metric of an estimate, with the number of images in its denominator and of their groups.

    unit  what a group is
    """

    metric: str
    images: int
    groups: int
    unit: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricSums:
    """The entries of the K = cells + parts sums of one run, cells first.

    group, cell (L,)               each entry counts 1 in its cell, times the weight of its group
    value_group, part, value (V,)  each entry adds its value to its part, times that weight
    """

    groups: int
    cells: int
    group: np.ndarray
    cell: np.ndarray
    parts: int = 0
    value_group: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    part: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    value: np.ndarray = field(default_factory=lambda: np.empty(0))

    def total(self) -> np.ndarray:
        """The sums (K,); every group counts once."""
        counts = np.bincount(self.cell, minlength=self.cells)
        return np.concatenate([counts, np.bincount(self.part, self.value, self.parts)])

    def influence(self, slopes: np.ndarray) -> np.ndarray:
        """Derivatives (S, G) by the weight of each group, given those by each sum (S, K)."""
        return np.array(
            [
                np.bincount(self.group, slope[: self.cells][self.cell], self.groups)
                + np.bincount(
                    self.value_group, slope[self.cells :][self.part] * self.value, self.groups
                )
                for slope in slopes
            ]
        )

    def replicates(self, plan: Plan) -> np.ndarray:
        """The sums (K, R) in every resample of the plan."""
        from bench.score import kernels

        items, ends = _sorted(self.cell, self.cells, self.group)
        value_items, values, value_ends = self._values()
        width = -(-plan.resamples // BATCH) * BATCH
        counts, sums = np.empty((self.cells, width)), np.empty((3, self.parts, width))
        for batch, weights in enumerate(plan.batches(0, plan.resamples)):
            at = slice(batch * BATCH, (batch + 1) * BATCH)
            kernels.count_cells(weights, items, ends, counts[:, at])
            kernels.add_up(weights, value_items, values, value_ends, sums[..., at])
        return np.concatenate([counts, sums[0]])[:, : plan.resamples]

    def _values(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Groups (V,), values (V, 3) and ends (parts,): entries of one group and part are merged.

        The kernel sums three values; two stay 0 here.
        """
        member, item = np.unique(self.part * self.groups + self.value_group, return_inverse=True)
        values = np.zeros((len(member), 3))
        values[:, 0] = np.bincount(item, self.value, len(member))
        ends = np.cumsum(np.bincount(member // self.groups, minlength=self.parts))
        return (member % self.groups).astype(np.int32), values, ends.astype(np.int64)


def _sorted(cell: np.ndarray, cells: int, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    small = cell.astype(np.min_scalar_type(cells))  # the fewer bytes, the faster they are sorted
    items = group[np.argsort(small, kind="stable")].astype(np.int32)
    return items, np.cumsum(np.bincount(cell, minlength=cells)).astype(np.int64)


def joined(all_sums: Sequence[MetricSums]) -> MetricSums:
    """Concatenate several sums of one run: their cells, then their parts, in order."""
    first = np.cumsum([0, *(each.cells for each in all_sums)])
    start = np.cumsum([0, *(each.parts for each in all_sums)])

    def together(name: str, shifts: Sequence[int] | np.ndarray) -> np.ndarray:
        arrays = [getattr(each, name) + by for each, by in zip(all_sums, shifts, strict=False)]
        return np.concatenate(arrays)

    none = [0] * len(all_sums)
    return MetricSums(
        groups=all_sums[0].groups,
        cells=int(first[-1]),
        group=together("group", none),
        cell=together("cell", first),
        parts=int(start[-1]),
        value_group=together("value_group", none),
        part=together("part", start),
        value=together("value", none),
    )


def values_of(all_sums: Sequence[MetricSums], statistic: Statistic) -> np.ndarray:
    """The point estimate (S,), mean over runs."""
    return np.asarray(
        np.mean([statistic(each.total()[:, None])[:, 0] for each in all_sums], axis=0)
    )


def resampled(all_sums: Sequence[MetricSums], statistic: Statistic, plan: Plan) -> np.ndarray:
    """The replicates (S, R), mean over runs."""
    return np.asarray(np.mean([statistic(each.replicates(plan)) for each in all_sums], axis=0))


def estimates(
    all_sums: Sequence[MetricSums],
    statistic: Statistic,
    specs: Sequence[EstimateSpec],
    plan: Plan,
    interval: Interval,
) -> list[Estimate]:
    """Every value of a statistic, mean over runs, with its interval: BCa or percentile.

    The acceleration comes from influence values by a complex step, as in `bootstrap`.
    """
    value = values_of(all_sums, statistic)
    replicates = resampled(all_sums, statistic, plan)
    with_bca = [
        at for at, spec in enumerate(specs) if spec.metric not in BIASED
    ]  # metrics with BCa
    influence = np.mean(
        [sums.influence(_slopes(sums, statistic)[with_bca]) for sums in all_sums], axis=0
    )
    accelerations = dict(zip(with_bca, map(acceleration, influence), strict=True))
    return [
        estimated(spec, float(value[at]), replicates[at], accelerations.get(at, NAN), interval)
        for at, spec in enumerate(specs)
    ]


def estimated(
    spec: EstimateSpec,
    value: float,
    replicates: np.ndarray,
    acceleration: float,
    interval: Interval,
) -> Estimate:
    """A value with the interval from its replicates (R,), and its marks."""
    ends = interval_of(spec.metric, value, replicates, acceleration, spec.groups, interval)
    few = [few_mark(spec.unit)] if np.isfinite(value) and spec.groups < FEW_GROUPS else []
    biased = ["biased"] if np.isfinite(value) and spec.metric in BIASED else []
    rough = imprecise(ends[2], value, replicates, acceleration, interval)
    marks = (*spec.marks, *few, *biased, *rough)
    return Estimate(value, ends[0], ends[1], spec.images, ends[2], marks)


def _slopes(metric_sums: MetricSums, statistic: Statistic) -> np.ndarray:
    total = metric_sums.total().astype(complex)
    stepped = total[:, None] + 1j * STEP * np.eye(len(total))
    return np.asarray(statistic(stepped).imag / STEP)


@dataclass(frozen=True)
class Band:
    """Values (S,) with pointwise percentile intervals low, high (S,); NaN where undefined."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def band(all_sums: Sequence[MetricSums], statistic: Statistic, plan: Plan, level: float) -> Band:
    """Values of a curve with pointwise percentile intervals, mean over runs."""
    value, replicates = values_of(all_sums, statistic), resampled(all_sums, statistic, plan)
    low, high = np.full((2, len(value)), np.nan)
    defined = np.isfinite(value) & np.isfinite(replicates).any(axis=1)
    shares = [(1 - level) / 2, (1 + level) / 2]
    quantile = np.quantile if np.isfinite(replicates[defined]).all() else np.nanquantile
    low[defined], high[defined] = quantile(replicates[defined], shares, axis=1)
    return Band(value, low, high)
