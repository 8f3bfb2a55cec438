"""How much each group pulls at each metric: empirical influence values, for BCa's acceleration.

The influence of a group is the derivative of the metric by the group's weight, all weights being 1
(Efron 1987, section 7, by groups). Metrics made of sums are differentiated by a complex step
(Squire & Trapp 1998), which is exact to rounding and needs no second formula; AUC and AP, whose
sums run over rankings, by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.score.metrics import (
    BIASED,
    MACROS,
    Key,
    Tally,
    brier_scores,
    keys,
    log_losses,
    ratio,
    values,
)
from bench.score.runs import Run

STEP = 1e-20
RANKED = ("auc", "ap", "auc_pooled", "ap_pooled")


def acceleration(influence: np.ndarray) -> float:
    """BCa's acceleration from influence values (G,); 0 where no group pulls, NaN from NaN."""
    squares = influence * influence
    square = float(squares.sum())
    return 0.0 if square == 0 else float((squares * influence).sum()) / (6 * square**1.5)


def accelerations(runs: Sequence[Run], tallies: Sequence[Tally]) -> np.ndarray:
    """The acceleration of every metric (M,), for the mean over runs; NaN for ECE, which has none.

    tallies are those of the runs as they stand; only their first column is read.
    """
    return np.array([acceleration(pull) for _, pull in influences(runs, tallies)])


def influences(runs: Sequence[Run], tallies: Sequence[Tally]) -> Iterator[tuple[Key, np.ndarray]]:
    """(key, influence values (G,)) of every metric, for the mean over runs; NaN for ECE."""
    slopes = [_slopes(run, tally) for run, tally in zip(runs, tallies, strict=True)]
    ranked = ranked_influences(runs)
    for row, (metric, code) in enumerate(keys(runs[0].classes)):
        made_of = MACROS.get(metric, metric)
        if metric in BIASED:
            pull = np.full(runs[0].groups, np.nan)
        elif made_of in RANKED:
            pull = ranked[made_of].mean(axis=0) if code is None else ranked[made_of][code]
        else:
            pull = np.zeros(runs[0].groups)
            for run, slope in zip(runs, slopes, strict=True):
                pull += np.bincount(run.group, _pull(run, slope[row]), run.groups) / len(runs)
        yield (metric, code), pull


def _slopes(run: Run, tally: Tally) -> np.ndarray:
    """Derivatives (M, K) of every metric by every sum: C*C cells, C caught, log loss, Brier."""
    classes = run.classes
    cells = classes * classes
    width = cells + classes + 2
    confusion = np.repeat(tally.confusion[..., :1], width, axis=-1).astype(complex)
    caught = np.repeat(tally.caught[:, :1], width, axis=-1).astype(complex)
    losses = np.repeat(np.stack([tally.log_loss[:1], tally.brier[:1]]), width, axis=-1)
    losses = losses.astype(complex)
    step = 1j * STEP * np.eye(width)
    stepped = Tally(
        confusion=confusion + step[:cells].reshape(classes, classes, width),
        caught=caught + step[cells : cells + classes],
        gaps=np.repeat(tally.gaps[:, :1], width, axis=-1),
        log_loss=losses[0] + step[-2],
        brier=losses[1] + step[-1],
        fold_auc=np.repeat(tally.fold_auc[..., :1], width, axis=-1),
        fold_ap=np.repeat(tally.fold_ap[..., :1], width, axis=-1),
        auc=np.repeat(tally.auc[:, :1], width, axis=-1),
        ap=np.repeat(tally.ap[:, :1], width, axis=-1),
    )
    return np.asarray(values(stepped).imag / STEP)


def _pull(run: Run, slope: np.ndarray) -> np.ndarray:
    """Derivative (N,) of one metric by the weight of each image."""
    classes = run.classes
    cells = classes * classes
    pull: np.ndarray = slope[:cells][run.truth * classes + run.called]
    if slope[cells : cells + classes].any():
        pull = pull + slope[cells : cells + classes][run.truth] * run.caught
    if slope[-2]:
        pull = pull + slope[-2] * log_losses(run.truth, run.probs)
    if slope[-1]:
        pull = pull + slope[-1] * brier_scores(run.truth, run.probs)
    return pull


def ranked_influences(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Influence values (C, G) of `auc`, `ap`, `auc_pooled` and `ap_pooled`, mean over runs."""
    shape = (runs[0].classes, runs[0].groups)
    found = {kind: np.zeros(shape) for kind in RANKED}
    for run in runs:
        for code, (*by_fold, pooled) in enumerate(run.orders):
            for suffix, parts in (("", by_fold), ("_pooled", [pooled])):
                order = np.concatenate(parts)
                score, positive = run.probs[order, code], run.truth[order] == code
                sizes = [len(part) for part in parts if len(part)]
                for kind, pull in zip(("auc", "ap"), ranked(score, positive, sizes), strict=True):
                    table = np.bincount(run.group[order], pull, run.groups)
                    found[kind + suffix][code] += table / len(runs)
    return found


def ranked(
    score: np.ndarray, positive: np.ndarray, sizes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (L,) by each image's weight of AUC and AP, means over rankings.

    The rankings stand one after the other, `sizes` long, each descending by score (L,). One in
    which AUC or AP is undefined counts for nothing; 0 everywhere if all are.
    """
    stops = np.cumsum(np.asarray(sizes, dtype=np.int64))
    starts: np.ndarray = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    ranking = np.repeat(np.arange(len(sizes)), sizes)
    edge = np.ones(len(score) + 1, dtype=bool)
    edge[1:-1] = score[1:] != score[:-1]
    edge[starts] = True
    edges = np.flatnonzero(edge)
    ties = np.diff(edges)
    begin, end = np.repeat(edges[:-1], ties), np.repeat(edges[1:], ties)
    first = starts[ranking]
    pos, neg = _running(positive), _running(~positive)
    positives, negatives = (count[stops] - count[starts] for count in (pos, neg))
    whole, rest = positives[ranking], negatives[ranking]
    # AUC: the share of negatives beaten by a positive, of positives that beat a negative
    beaten = 1 - ratio((neg[begin] + neg[end]) / 2 - neg[first], rest)
    beating = ratio((pos[begin] + pos[end]) / 2 - pos[first], whole)
    area = ratio(np.add.reduceat(np.where(positive, beaten, 0), starts), positives)[ranking]
    auc = np.where(positive, ratio(beaten - area, whole), ratio(beating - area, rest))
    # AP: a positive's precision counts every image at or above it
    met = end - first
    precision = (pos[end] - pos[first]) / met
    mean = ratio(np.add.reduceat(np.where(positive, precision, 0), starts), positives)[ranking]
    share = _running(np.where(positive, 1 / met, 0))
    weighted = _running(np.where(positive, precision / met, 0))
    last = stops[ranking]
    gain = positive * (precision - mean + share[last] - share[begin])
    ap = ratio(gain - (weighted[last] - weighted[begin]), whole)
    both = np.count_nonzero((positives > 0) & (negatives > 0))
    return (
        np.nan_to_num(auc, nan=0) / max(both, 1),
        np.nan_to_num(ap, nan=0) / max(np.count_nonzero(positives), 1),
    )


def _running(counted: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ..., L values: (L + 1,)."""
    return np.concatenate([[0], np.cumsum(counted)])
