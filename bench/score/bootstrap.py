"""The cluster bootstrap: one plan of resampled groups, shared by every row and every metric.

Groups (patients, else lesions) are drawn with replacement, as many as there are, and with a group
come all of its images (Field & Welsh 2007). The distributions hold conditional on the trained
models: nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.score import streams
from bench.score.arrange import Arrangement
from bench.score.fallback import LANES
from bench.score.kernels import Kernels, compiled, room
from bench.score.metrics import ECE_BINS, Tally, keys, ratio, values

CHUNK = 16 * LANES


@dataclass(frozen=True)
class Plan:
    """Which groups are resampled how often. Resample `r` is a stream of its own of `seed`.

    chunk   resamples worked on at a time, a multiple of 64; bounds memory, changes no number
    workers threads; they change no number either
    """

    groups: int
    resamples: int
    seed: int
    chunk: int = CHUNK
    workers: int = 1

    def batches(self, first: int, count: int, kernels: Kernels) -> Iterator[np.ndarray]:
        """Weights (G, 64) uint8 of the resamples from `first` on, sixty-four at a time."""
        weights = _lines(self.groups)
        for start in range(first, first + count, LANES):
            kernels.draw(streams.starts(self.seed, start, LANES), weights)
            yield weights


@dataclass(frozen=True)
class DrawnOnce(Plan):
    """A plan that keeps what it has drawn, for many small tasks: memory is groups x resamples."""

    @cached_property
    def kept(self) -> list[np.ndarray]:
        """All batches in order."""
        return [batch.copy() for batch in super().batches(0, self.resamples, compiled())]

    def draw(self) -> None:
        """Draw now what will be kept: several threads would each draw it for themselves."""
        _ = self.kept

    def batches(self, first: int, count: int, kernels: Kernels) -> Iterator[np.ndarray]:
        """As the plan's own; the compiled and the plain loops draw the same."""
        del kernels
        yield from self.kept[first // LANES : -(-(first + count) // LANES)]


def point_values(
    runs: Sequence[Arrangement], groups: int, kernels: Kernels | None = None
) -> np.ndarray:
    """Every metric of every run as it stands, (runs, M P): the resample with each group once."""
    tallies = (point_tally(run, groups, kernels) for run in runs)
    return np.stack([values(tally)[:, ::LANES].ravel() for tally in tallies])


def point_tally(run: Arrangement, groups: int, kernels: Kernels | None = None) -> Tally:
    """The tally of one run as it stands, 64 equal columns for each of its parts."""
    weights = _lines(groups)
    weights[:] = 1
    return next(tally_weights([run], [weights], LANES, kernels or compiled()))


def distributions(
    rows: Sequence[Sequence[Arrangement]], plan: Plan, kernels: Kernels | None = None
) -> list[np.ndarray]:
    """Every metric of every row in every resample: for each row (M, P R), mean over its runs.

    All rows see the same resampled groups. M is in the order of `metrics.keys`. P is 1, or the
    parts that a row's runs are arranged in: all resamples of one, then of the next. Memory: 8 M P R
    bytes a row beside bounded working space.
    """
    if not rows:
        return []
    chosen = kernels or compiled()
    width = len(keys(rows[0][0].classes))
    out = [np.empty((width, row[0].parts, plan.resamples)) for row in rows]

    def work(first: int) -> None:
        count = min(plan.chunk, plan.resamples - first)
        padded = -(-count // LANES) * LANES
        runs = [run for row in rows for run in row]
        found = tally_weights(runs, plan.batches(first, count, chosen), padded, chosen)
        for row, into in zip(rows, out, strict=True):
            summed = values(next(found))
            for _ in row[1:]:
                summed += values(next(found))
            drawn = summed.reshape(width, -1, padded)[..., :count]
            np.divide(drawn, len(row), out=into[..., first : first + count])

    starts = range(0, plan.resamples, plan.chunk)
    if plan.workers == 1:
        for first in starts:
            work(first)
    else:
        with ThreadPoolExecutor(plan.workers) as pool:
            list(pool.map(work, starts))
    return [each.reshape(width, -1) for each in out]


def _lines(groups: int) -> np.ndarray:
    """Zeroed weights (G, 64) uint8 that begin at a cache line."""
    raw = np.zeros(groups * LANES + LANES, dtype=np.uint8)
    begin = -raw.ctypes.data % LANES
    return raw[begin : begin + groups * LANES].reshape(groups, LANES)


def tally_weights(
    runs: Sequence[Arrangement], batches: Iterable[np.ndarray], width: int, kernels: Kernels
) -> Iterator[Tally]:
    """The tally of every run under batches of weights (G, 64), `width` columns for each part."""
    spaces = [_space(run, width) for run in runs]
    for batch, weights in enumerate(batches):
        fit, lanes = room(weights), slice(batch * LANES, (batch + 1) * LANES)
        for run, (cells, sums, ranks) in zip(runs, spaces, strict=True):
            kernels.count_cells(weights, fit, run.cell_items, run.cell_ends, cells[:, lanes])
            kernels.add_up(weights, run.sum_items, run.sum_values, run.sum_ends, sums[..., lanes])
            kernels.rank(
                weights, fit, run.rank_items, run.segments, run.rankings, ranks[..., lanes]
            )
    for run, space in zip(runs, spaces, strict=True):
        yield _tally(run, *space)


def _space(run: Arrangement, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.empty((len(run.cell_ends), width)),
        np.empty((3, len(run.sum_ends), width)),
        np.empty((4, len(run.rankings) - 1, width)),
    )


def _tally(run: Arrangement, cells: np.ndarray, sums: np.ndarray, ranks: np.ndarray) -> Tally:
    classes, folds, parts = run.classes, run.folds, run.parts
    cells = cells.reshape(parts, classes**2 + classes, -1)
    caught = np.where(run.has_thresholds[..., None], cells[:, classes**2 :], np.nan)
    gaps, log_loss, brier = sums.reshape(3, parts, ECE_BINS, -1)
    pos, neg, below, precision = ranks.reshape(4, classes, parts * (folds + 1), -1)
    negatives = pos.sum(axis=0) - pos
    auc = ratio(below + (negatives - neg) * pos, negatives * pos)
    ap = ratio(precision, pos)
    by_fold = slice(parts * folds)
    by_part = slice(parts * folds, None)
    fold_auc, fold_ap = (
        _aside(each[:, by_fold].reshape(classes, parts, folds, -1), 1) for each in (auc, ap)
    )
    return Tally(
        confusion=_aside(cells[:, : classes**2]).reshape(classes, classes, -1),
        caught=_aside(caught),
        gaps=_aside(gaps),
        log_loss=_aside(log_loss.sum(axis=1)),
        brier=_aside(brier.sum(axis=1)),
        fold_auc=fold_auc,
        fold_ap=fold_ap,
        auc=_aside(auc[:, by_part], 1),
        ap=_aside(ap[:, by_part], 1),
    )


def _aside(table: np.ndarray, parts: int = 0) -> np.ndarray:
    """A table with the columns (B) of its parts, which are its axis `parts`, side by side."""
    moved = np.moveaxis(table, parts, -2)
    return moved.reshape(*moved.shape[:-2], -1)
