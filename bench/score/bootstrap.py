"""The cluster bootstrap: resampled groups, distributions, influence values and intervals.

Groups (patients, else lesions) are drawn with replacement, as many as there are, each with all its
images (Field & Welsh 2007). The distributions are conditional on the trained models; nothing is
retrained.

Sums: images are sorted by cell (true x predicted class, detected by class) and by confidence bin.
Rankings: one sort a class, descending by score; each class is ranked within every fold and over all
folds. A ranking is cut into segments of [negatives][single positives][tied negatives][tied
positives] and ends at its last positive, since the rest follows from the totals. Images may be
divided into parts, such as the subgroups of an attribute; then each part has all sums and rankings.

The influence of a group is the derivative of the metric by the group's weight, all weights being 1
(Efron 1987, section 7, by groups). Metrics made of sums are differentiated by a complex step
(Squire & Trapp 1998), which is exact to rounding and needs no second formula; AUC and AP, whose
sums run over rankings, by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri

from bench.score.join import Run, divided
from bench.score.metrics import (
    BIASED,
    ECE_BINS,
    MACROS,
    Key,
    Sums,
    brier_scores,
    confidence_bins,
    keys,
    log_losses,
    ratio,
    values,
)

BATCH = 64
"""Resamples side by side: the weights of one group are one cache line."""

WIDTH = 4


@dataclass(frozen=True)
class SortedScores:
    """A run in P parts, sorted for the kernels. Every `*_items` holds group numbers, int32.

    cell_items, cell_ends (P*(C*C + C),)  by part and cell; ends are exclusive positions
    sum_items, sum_values (L, 3), sum_ends (P*15,)  sums over the images of a group in one part and
                confidence bin: confidence minus correctness, log loss, Brier score
    rank_items, segments (S, 4), rankings (C*(P*F + P) + 1,)  class-major: the folds of each part,
                then each part over all its folds
    has_thresholds (P, C)  whether each class has a threshold in every fold with images of the part
    """

    classes: int
    folds: int
    parts: int
    cell_items: np.ndarray
    cell_ends: np.ndarray
    sum_items: np.ndarray
    sum_values: np.ndarray
    sum_ends: np.ndarray
    rank_items: np.ndarray
    segments: np.ndarray
    rankings: np.ndarray
    has_thresholds: np.ndarray


def sort_scores(run: Run, part: np.ndarray | None = None, parts: int = 1) -> SortedScores:
    """Sort the images of a run for the kernels: all of them, or by part; part (N,) from 0."""
    part = np.zeros_like(run.fold) if part is None else part
    cell_items, cell_ends = _cells(run, part, parts)
    sum_items, sum_values, sum_ends = _sums(run, part, parts)
    rank_items, segments, rankings = _rankings(run, part, parts)
    return SortedScores(
        classes=run.classes,
        folds=run.folds,
        parts=parts,
        cell_items=cell_items,
        cell_ends=cell_ends,
        sum_items=sum_items,
        sum_values=sum_values,
        sum_ends=sum_ends,
        rank_items=rank_items,
        segments=segments,
        rankings=rankings,
        has_thresholds=_has_thresholds(run, part, parts),
    )


def _has_thresholds(run: Run, part: np.ndarray, parts: int) -> np.ndarray:
    size = np.bincount(part * run.folds + run.fold, minlength=parts * run.folds)
    missing = (size > 0).reshape(parts, run.folds)[..., None] & ~np.isfinite(run.thresholds)
    return np.asarray(~missing.any(axis=1))


def _cells(run: Run, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    cells = run.classes**2
    detected = np.flatnonzero(run.detected)
    kind = np.concatenate([run.truth * run.classes + run.predicted, cells + run.truth[detected]])
    cell = np.concatenate([part, part[detected]]) * (cells + run.classes) + kind
    group = np.concatenate([run.group, run.group[detected]])
    items, sizes = divided(np.arange(len(cell)), cell, parts * (cells + run.classes))
    return group[items].astype(np.int32), np.cumsum(sizes, dtype=np.int64)


def _sums(run: Run, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    top = run.probs[np.arange(len(run.truth)), run.predicted]
    bins = part * ECE_BINS + confidence_bins(top)
    member, item = np.unique(bins * run.groups + run.group, return_inverse=True)
    columns = (
        top - (run.predicted == run.truth),
        log_losses(run.truth, run.probs),
        brier_scores(run.truth, run.probs),
    )
    values = np.stack([np.bincount(item, column) for column in columns], axis=1)
    ends = np.cumsum(np.bincount(member // run.groups, minlength=parts * ECE_BINS))
    return (member % run.groups).astype(np.int32), values, ends.astype(np.int64)


def _rankings(run: Run, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    items, segments, counts, start = [], [], [], 0
    for code, pooled in enumerate(run.orders):
        by_fold = divided(pooled, part * run.folds + run.fold, parts * run.folds)
        by_part = divided(pooled, part, parts)
        order, sizes = (np.concatenate(both) for both in zip(by_fold, by_part, strict=True))
        places, ends, count = _segments(run.probs[order, code], run.truth[order] == code, sizes)
        items.append(run.group[order[places]])
        segments.append(ends + start)
        counts.append(count)
        start += len(places)
    return (
        np.concatenate(items).astype(np.int32),
        np.ascontiguousarray(np.concatenate(segments), dtype=np.int64),
        np.cumsum(np.concatenate([[0], *counts]), dtype=np.int64),
    )


def _segments(
    score: np.ndarray, positive: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut rankings into segments: kept places (L,) in order, ends (S, 4), segments a ranking (R,).

    The rankings follow one another, `sizes` (R,) long, each descending by score. A tie with at
    least one positive ends a segment, its negatives first. Every other positive is single, every
    other negative plain.
    """
    stops = np.cumsum(sizes)
    fresh = np.concatenate([[True], score[1:] != score[:-1], [True]])
    fresh[stops] = True
    kept = _kept(positive, stops, fresh) - (stops - sizes)
    pairs = np.stack([kept, sizes - kept], axis=1).ravel()
    places = np.flatnonzero(np.repeat(np.arange(len(pairs)) % 2 == 0, pairs))
    first, tied = fresh[places], ~(fresh[:-1] & fresh[1:])[places]
    if tied.any():
        block = np.cumsum(first)
        places = places[np.argsort(2 * block + positive[places], kind="stable")]
        tied &= (np.bincount(block, positive[places]) > 0)[block]
    kind = positive[places] + 2 * tied
    opens = np.ones(len(places) + 1, dtype=bool)
    opens[1:-1] = (np.diff(kind) < 0) | ((kind[1:] == WIDTH - 1) & first[1:])
    stops = np.cumsum(kept)
    opens[stops] = True
    number = np.cumsum(opens)
    filled = np.bincount((number[:-1] - 1) * WIDTH + kind, minlength=(number[-1] - 1) * WIDTH)
    count = np.diff(number[stops] - 1, prepend=0)
    return places, np.cumsum(filled).reshape(-1, WIDTH), count


def _kept(positive: np.ndarray, stops: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """End of each ranking (R,): after the tie of its last positive; its start without positives.

    fresh (N + 1,)  whether a new score or a new ranking begins
    """
    hits, edges = np.flatnonzero(positive), np.flatnonzero(fresh)
    count = np.searchsorted(hits, stops)
    some = np.diff(count, prepend=0) > 0
    kept = np.concatenate([[0], stops[:-1]])
    kept[some] = edges[np.searchsorted(edges, hits[count[some] - 1], side="right")]
    return kept


CHUNK = 16 * BATCH


@dataclass(frozen=True)
class Plan:
    """Which groups are resampled how often. Resample `r` is random stream `r` of `seed`.

    chunk   resamples computed at a time, a multiple of 64; bounds the memory, changes no number
    workers threads; they change no number either
    """

    groups: int
    resamples: int
    seed: int
    chunk: int = CHUNK
    workers: int = 1

    def batches(self, first: int, count: int) -> Iterator[np.ndarray]:
        """Weights (G, 64) uint8 of the resamples from `first` on, 64 at a time.

        The array is reused: copy it to keep it.
        """
        from bench.score import kernels

        weights = _aligned_weights(self.groups)
        for start in range(first, first + count, BATCH):
            kernels.draw(np.uint64(self.seed % 2**64), start, weights)
            yield weights


@dataclass(frozen=True)
class DrawnOnce(Plan):
    """A plan that keeps its weights, for many small tasks: memory is groups x resamples bytes."""

    @cached_property
    def kept(self) -> list[np.ndarray]:
        """All batches in order."""
        return [batch.copy() for batch in super().batches(0, self.resamples)]

    def draw(self) -> None:
        """Draw the weights now; otherwise each of several threads would draw them."""
        _ = self.kept

    def batches(self, first: int, count: int) -> Iterator[np.ndarray]:
        """As `Plan.batches`, from the kept weights."""
        yield from self.kept[first // BATCH : -(-(first + count) // BATCH)]


def point_values(runs: Sequence[SortedScores], groups: int) -> np.ndarray:
    """The estimate of every metric of every run, (runs, M P): every group counts once."""
    return np.stack([values(point_sums(run, groups))[:, ::BATCH].ravel() for run in runs])


def point_sums(run: SortedScores, groups: int) -> Sums:
    """The sums of one run in which every group counts once, 64 equal columns for each part."""
    weights = _aligned_weights(groups)
    weights[:] = 1
    return next(weighted_sums([run], [weights], BATCH))


def distributions(rows: Sequence[Sequence[SortedScores]], plan: Plan) -> list[np.ndarray]:
    """Replicates of every metric of every row: for each row (M, P R), mean over its runs.

    All rows see the same resampled groups. M is in the order of `metrics.keys`. P is 1, or the
    number of parts of a row's runs: all resamples of the first part, then of the next. Memory:
    8 M P R bytes a row, and a bounded working space.
    """
    if not rows:
        return []
    width = len(keys(rows[0][0].classes))
    replicates = [np.empty((width, row[0].parts, plan.resamples)) for row in rows]

    def work(first: int) -> None:
        count = min(plan.chunk, plan.resamples - first)
        padded = -(-count // BATCH) * BATCH
        runs = [run for row in rows for run in row]
        sums = weighted_sums(runs, plan.batches(first, count), padded)
        for row, out in zip(rows, replicates, strict=True):
            total = values(next(sums))
            for _ in row[1:]:
                total += values(next(sums))
            chunk = total.reshape(width, -1, padded)[..., :count]
            np.divide(chunk, len(row), out=out[..., first : first + count])

    starts = range(0, plan.resamples, plan.chunk)
    if plan.workers == 1:
        for first in starts:
            work(first)
    else:
        with ThreadPoolExecutor(plan.workers) as pool:
            list(pool.map(work, starts))
    return [each.reshape(width, -1) for each in replicates]


def _aligned_weights(groups: int) -> np.ndarray:
    """Zeroed weights (G, 64) uint8 that begin at a cache line."""
    raw = np.zeros(groups * BATCH + BATCH, dtype=np.uint8)
    begin = -raw.ctypes.data % BATCH
    return raw[begin : begin + groups * BATCH].reshape(groups, BATCH)


def weighted_sums(
    runs: Sequence[SortedScores], batches: Iterable[np.ndarray], width: int
) -> Iterator[Sums]:
    """The sums of every run under batches of weights (G, 64), `width` columns for each part."""
    from bench.score import kernels

    tables = [
        (
            np.empty((len(run.cell_ends), width)),
            np.empty((3, len(run.sum_ends), width)),
            np.empty((4, len(run.rankings) - 1, width)),
        )
        for run in runs
    ]
    for number, weights in enumerate(batches):
        at = slice(number * BATCH, (number + 1) * BATCH)
        for run, (cells, sums, ranks) in zip(runs, tables, strict=True):
            kernels.count_cells(weights, run.cell_items, run.cell_ends, cells[:, at])
            kernels.add_up(weights, run.sum_items, run.sum_values, run.sum_ends, sums[..., at])
            kernels.rank(weights, run.rank_items, run.segments, run.rankings, ranks[..., at])
    for run, table in zip(runs, tables, strict=True):
        yield _sums_of(run, *table)


def _sums_of(run: SortedScores, cells: np.ndarray, sums: np.ndarray, ranks: np.ndarray) -> Sums:
    classes, folds, parts = run.classes, run.folds, run.parts
    cells = cells.reshape(parts, classes**2 + classes, -1)
    detected = np.where(run.has_thresholds[..., None], cells[:, classes**2 :], np.nan)
    gaps, log_loss, brier = sums.reshape(3, parts, ECE_BINS, -1)
    pos, neg, below, precision = ranks.reshape(4, classes, parts * (folds + 1), -1)
    negatives = pos.sum(axis=0) - pos
    auc = ratio(below + (negatives - neg) * pos, negatives * pos)
    ap = ratio(precision, pos)
    by_fold = slice(parts * folds)
    by_part = slice(parts * folds, None)
    fold_auc, fold_ap = (
        _flat_parts(each[:, by_fold].reshape(classes, parts, folds, -1), 1) for each in (auc, ap)
    )
    return Sums(
        confusion=_flat_parts(cells[:, : classes**2]).reshape(classes, classes, -1),
        detected=_flat_parts(detected),
        gaps=_flat_parts(gaps),
        log_loss=_flat_parts(log_loss.sum(axis=1)),
        brier=_flat_parts(brier.sum(axis=1)),
        fold_auc=fold_auc,
        fold_ap=fold_ap,
        auc=_flat_parts(auc[:, by_part], 1),
        ap=_flat_parts(ap[:, by_part], 1),
    )


def _flat_parts(table: np.ndarray, axis: int = 0) -> np.ndarray:
    """A table with its axis of parts merged into its last axis: all columns of a part, in turn."""
    moved = np.moveaxis(table, axis, -2)
    return moved.reshape(*moved.shape[:-2], -1)


STEP = 1e-20
RANKED = ("auc", "ap", "auc_pooled", "ap_pooled")


def acceleration(influence: np.ndarray) -> float:
    """Acceleration of BCa from influence values (G,); 0 if all are 0, NaN from NaN."""
    squares = influence * influence
    square = float(squares.sum())
    return 0.0 if square == 0 else float((squares * influence).sum()) / (6 * square**1.5)


def accelerations(runs: Sequence[Run], sums: Sequence[Sums]) -> np.ndarray:
    """Acceleration of every metric (M,), for the mean over runs; NaN for ECE, which has none.

    sums are those of `point_sums`; only their first column is read.
    """
    return np.array([acceleration(influence) for _, influence in influences(runs, sums)])


def influences(runs: Sequence[Run], sums: Sequence[Sums]) -> Iterator[tuple[Key, np.ndarray]]:
    """(key, influence values (G,)) of every metric, for the mean over runs; NaN for ECE."""
    slopes = [_slopes(run, own_sums) for run, own_sums in zip(runs, sums, strict=True)]
    ranked = ranked_influences(runs)
    for row, (metric, code) in enumerate(keys(runs[0].classes)):
        class_metric = MACROS.get(metric, metric)
        if metric in BIASED:
            influence = np.full(runs[0].groups, np.nan)
        elif class_metric in RANKED:
            influence = (
                ranked[class_metric].mean(axis=0) if code is None else ranked[class_metric][code]
            )
        else:
            influence = np.zeros(runs[0].groups)
            for run, slope in zip(runs, slopes, strict=True):
                by_image = _image_influence(run, slope[row])
                influence += np.bincount(run.group, by_image, run.groups) / len(runs)
        yield (metric, code), influence


def _slopes(run: Run, sums: Sums) -> np.ndarray:
    """Derivatives (M, K) of every metric by every sum: C*C cells, C detected, log loss, Brier."""
    classes = run.classes
    cells = classes * classes
    width = cells + classes + 2
    confusion = np.repeat(sums.confusion[..., :1], width, axis=-1).astype(complex)
    detected = np.repeat(sums.detected[:, :1], width, axis=-1).astype(complex)
    losses = np.repeat(np.stack([sums.log_loss[:1], sums.brier[:1]]), width, axis=-1)
    losses = losses.astype(complex)
    step = 1j * STEP * np.eye(width)
    stepped = Sums(
        confusion=confusion + step[:cells].reshape(classes, classes, width),
        detected=detected + step[cells : cells + classes],
        gaps=np.repeat(sums.gaps[:, :1], width, axis=-1),
        log_loss=losses[0] + step[-2],
        brier=losses[1] + step[-1],
        fold_auc=np.repeat(sums.fold_auc[..., :1], width, axis=-1),
        fold_ap=np.repeat(sums.fold_ap[..., :1], width, axis=-1),
        auc=np.repeat(sums.auc[:, :1], width, axis=-1),
        ap=np.repeat(sums.ap[:, :1], width, axis=-1),
    )
    return np.asarray(values(stepped).imag / STEP)


def _image_influence(run: Run, slope: np.ndarray) -> np.ndarray:
    """Derivative (N,) of one metric by the weight of each image."""
    classes = run.classes
    cells = classes * classes
    influence: np.ndarray = slope[:cells][run.truth * classes + run.predicted]
    if slope[cells : cells + classes].any():
        influence = influence + slope[cells : cells + classes][run.truth] * run.detected
    if slope[-2]:
        influence = influence + slope[-2] * log_losses(run.truth, run.probs)
    if slope[-1]:
        influence = influence + slope[-1] * brier_scores(run.truth, run.probs)
    return influence


def ranked_influences(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Influence values (C, G) of `auc`, `ap`, `auc_pooled` and `ap_pooled`, mean over runs."""
    from bench.score import kernels

    shape = (runs[0].classes, runs[0].groups)
    tables = {kind: np.zeros(shape) for kind in RANKED}
    for run in runs:
        whole = np.array([len(run.truth)])
        for code, pooled in enumerate(run.orders):
            by_fold = divided(pooled, run.fold, run.folds)
            for suffix, (order, sizes) in (("", by_fold), ("_pooled", (pooled, whole))):
                score, positive = run.probs[order, code], run.truth[order] == code
                by_image = kernels.influence(score, positive, sizes[sizes > 0])
                for kind, influence in zip(("auc", "ap"), by_image, strict=True):
                    table = np.bincount(run.group[order], influence, run.groups)
                    tables[kind + suffix][code] += table / len(runs)
    return tables


AGREE = 1e-12


def percentile(replicates: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of the replicates (R,)."""
    return quantiles(replicates, np.array([(1 - level) / 2, (1 + level) / 2]))


def quantiles(replicates: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """Two quantiles of replicates (R,), linear as `numpy.quantile`, but faster."""
    places = shares * (len(replicates) - 1)
    lower = np.floor(places).astype(np.int64)
    upper = np.minimum(lower + 1, len(replicates) - 1)
    ordered = np.partition(replicates, (*lower, *upper))
    low, high = ordered[lower] + (places - lower) * (ordered[upper] - ordered[lower])
    return float(low), float(high)


def bca(
    replicates: np.ndarray, estimate: float, acceleration: float, level: float
) -> tuple[float, float] | None:
    """Bias-corrected and accelerated interval (Efron 1987) from the replicates (R,).

    None where `bca_levels` is.
    """
    levels = bca_levels(replicates, estimate, acceleration, level)
    return None if levels is None else quantiles(replicates, levels)


def bca_levels(
    replicates: np.ndarray, estimate: float, acceleration: float, level: float
) -> np.ndarray | None:
    """The shares (2,) whose quantiles of the replicates (R,) are the ends of the BCa interval.

    Replicates equal to the estimate count half for the bias. None where undefined: the estimate is
    outside all replicates, or the acceleration is too large for the level.
    """
    near = AGREE * max(1.0, abs(estimate))
    below = np.count_nonzero(replicates < estimate - near)
    within = np.count_nonzero(replicates <= estimate + near)
    bias = ndtri((below + within) / 2 / len(replicates))
    if not np.isfinite(bias):
        return None
    normal = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    shrink = 1 - acceleration * normal
    if (shrink <= 0).any() or not np.isfinite(acceleration):
        return None
    return np.asarray(ndtr(bias + normal / shrink))


def bias_corrected(replicates: np.ndarray, estimate: float, level: float) -> tuple[float, float]:
    """Percentile interval of the replicates (R,) moved down by twice their bias, at least 0.

    Resampling repeats the upward bias of ECE: the estimate is as far above the true value as the
    mean of the replicates is above the estimate. So the interval need not hold the estimate.
    """
    bias = float(replicates.mean()) - estimate
    low, high = percentile(replicates, level)
    return max(0.0, low - 2 * bias), max(0.0, high - 2 * bias)


def clopper_pearson(hits: int, count: int, level: float) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson 1934), `hits` of `count`."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, count - hits + 1, tail))
    high = 1.0 if hits == count else float(betaincinv(hits + 1, count - hits, 1 - tail))
    return low, high


def all_agree(replicates: np.ndarray) -> bool:
    """Whether no two replicates differ by more than rounding."""
    return bool(np.ptp(replicates) <= AGREE * max(1.0, float(np.abs(replicates[0]))))
