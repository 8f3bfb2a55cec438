"""Statistics made of sums over images, in every resample of the shared plan.

What `metrics.values` is to the leaderboard's own metrics, a statistic of one's own is here: a
function from sums to values. Images are counted in cells and their values summed in parts by the
compiled loops of `kernels`, over the same resampled groups as everything else, so differences are
paired and the first thousand resamples are the first thousand of the ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.leaderboard import NAN, Estimate
from bench.protocol import Interval
from bench.score.bootstrap import BATCH, STEP, Plan, acceleration
from bench.score.metrics import BIASED
from bench.score.row import FEW, FEW_GROUPS, interval_of

Statistic = Callable[[np.ndarray], np.ndarray]
"""From sums (K, B) to values (S, B). Works on complex sums too, where BCa is wanted."""


@dataclass(frozen=True)
class EstimateSpec:
    """What an estimate is of: its metric, the images in its denominator, and their groups."""

    metric: str
    images: int
    groups: int
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricSums:
    """What is summed of one run: K = cells + parts sums, cells first.

    group, cell (L,)             each entry counts 1 in its cell, as often as its group is drawn
    value_group, part, value (V,)  each entry adds its value to its part
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
        """The sums (K,) with every group once."""
        counts = np.bincount(self.cell, minlength=self.cells)
        return np.concatenate([counts, np.bincount(self.part, self.value, self.parts)])

    def pulls(self, slopes: np.ndarray) -> np.ndarray:
        """Derivatives (S, G) by each group's weight, given those by each sum (S, K)."""
        return np.array(
            [
                np.bincount(self.group, slope[: self.cells][self.cell], self.groups)
                + np.bincount(
                    self.value_group, slope[self.cells :][self.part] * self.value, self.groups
                )
                for slope in slopes
            ]
        )

    def drawn(self, plan: Plan) -> np.ndarray:
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
        """Groups (V,), values (V, 3) and ends (parts,): a group's entries of one part summed.

        The loops sum two more values, which stay 0 here.
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


def joined(ledgers: Sequence[MetricSums]) -> MetricSums:
    """Several ledgers of one run as one: their cells, then their parts, in order."""
    first = np.cumsum([0, *(one.cells for one in ledgers)])
    start = np.cumsum([0, *(one.parts for one in ledgers)])

    def together(name: str, shifts: Sequence[int] | np.ndarray) -> np.ndarray:
        arrays = [getattr(one, name) + by for one, by in zip(ledgers, shifts, strict=False)]
        return np.concatenate(arrays)

    none = [0] * len(ledgers)
    return MetricSums(
        groups=ledgers[0].groups,
        cells=int(first[-1]),
        group=together("group", none),
        cell=together("cell", first),
        parts=int(start[-1]),
        value_group=together("value_group", none),
        part=together("part", start),
        value=together("value", none),
    )


def values_of(ledgers: Sequence[MetricSums], statistic: Statistic) -> np.ndarray:
    """The statistic (S,) as it stands, mean over runs."""
    return np.asarray(np.mean([statistic(one.total()[:, None])[:, 0] for one in ledgers], axis=0))


def resampled(ledgers: Sequence[MetricSums], statistic: Statistic, plan: Plan) -> np.ndarray:
    """The statistic (S, R) in every resample, mean over runs."""
    return np.asarray(np.mean([statistic(one.drawn(plan)) for one in ledgers], axis=0))


def estimates(
    ledgers: Sequence[MetricSums],
    statistic: Statistic,
    asked: Sequence[EstimateSpec],
    plan: Plan,
    interval: Interval,
) -> list[Estimate]:
    """Every value of a statistic with its interval: BCa as the protocol has it, or percentile.

    One ledger a run; the value is the mean over them. The acceleration comes from influence values
    by a complex step, as in `influence`.
    """
    value = values_of(ledgers, statistic)
    drawn = resampled(ledgers, statistic, plan)
    pulled = [at for at, one in enumerate(asked) if one.metric not in BIASED]  # those of BCa
    pulls = np.mean([one.pulls(_slopes(one, statistic)[pulled]) for one in ledgers], axis=0)
    accelerations = dict(zip(pulled, map(acceleration, pulls), strict=True))
    return [
        estimated(one, float(value[at]), drawn[at], accelerations.get(at, NAN), interval)
        for at, one in enumerate(asked)
    ]


def estimated(
    asked: EstimateSpec, value: float, drawn: np.ndarray, pull: float, interval: Interval
) -> Estimate:
    """A value with the interval that its resamples drawn (R,) give, and the words beside it."""
    ends = interval_of(asked.metric, value, drawn, pull, asked.groups, interval)
    few = [FEW] if np.isfinite(value) and asked.groups < FEW_GROUPS else []
    biased = ["biased"] if np.isfinite(value) and asked.metric in BIASED else []
    marks = (*asked.marks, *few, *biased)
    return Estimate(value, ends[0], ends[1], asked.images, ends[2], marks)


def _slopes(ledger: MetricSums, statistic: Statistic) -> np.ndarray:
    total = ledger.total().astype(complex)
    stepped = total[:, None] + 1j * STEP * np.eye(len(total))
    return np.asarray(statistic(stepped).imag / STEP)


@dataclass(frozen=True)
class Band:
    """Values (S,) with pointwise percentile intervals low, high (S,); NaN where undefined."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def band(ledgers: Sequence[MetricSums], statistic: Statistic, plan: Plan, level: float) -> Band:
    """A curve's values with their percentile intervals, each by itself; mean over runs."""
    value, drawn = values_of(ledgers, statistic), resampled(ledgers, statistic, plan)
    low, high = np.full((2, len(value)), np.nan)
    defined = np.isfinite(value) & np.isfinite(drawn).any(axis=1)
    shares = [(1 - level) / 2, (1 + level) / 2]
    quantile = np.quantile if np.isfinite(drawn[defined]).all() else np.nanquantile
    low[defined], high[defined] = quantile(drawn[defined], shares, axis=1)
    return Band(value, low, high)
