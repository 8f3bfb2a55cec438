"""How much each group pulls at each metric: empirical influence values, for BCa's acceleration.

The influence of a group is the derivative of the metric by the group's weight, all weights being 1
(Efron 1987, section 7, by groups). Metrics made of sums are differentiated by a complex step
(Squire & Trapp 1998), which is exact to rounding and needs no second formula; AUC and AP, whose
sums run over rankings, by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.score.kernels import compiled
from bench.score.metrics import (
    BIASED,
    MACROS,
    Key,
    Tally,
    brier_scores,
    keys,
    log_losses,
    values,
)
from bench.score.runs import Run, divided

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
        whole = np.array([len(run.truth)])
        for code, pooled in enumerate(run.orders):
            by_fold = divided(pooled, run.fold, run.folds)
            for suffix, (order, sizes) in (("", by_fold), ("_pooled", (pooled, whole))):
                score, positive = run.probs[order, code], run.truth[order] == code
                pulls = compiled().pull(score, positive, sizes[sizes > 0])
                for kind, pull in zip(("auc", "ap"), pulls, strict=True):
                    table = np.bincount(run.group[order], pull, run.groups)
                    found[kind + suffix][code] += table / len(runs)
    return found
