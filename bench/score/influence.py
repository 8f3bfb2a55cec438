"""How much each group pulls at each metric: empirical influence values, for BCa's acceleration.

The influence of a group is the derivative of the metric by the group's weight, all weights being 1
(Efron 1987, section 7, by groups). Metrics made of sums are differentiated by a complex step
(Squire & Trapp 1998), which is exact to rounding and needs no second formula; AUC and AP, whose
sums run over rankings, by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.score.metrics import BIASED, MACROS, Key, Tally, brier_scores, keys, log_losses, values
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
        for code in range(run.classes):
            for kind, pull in _ranked(run, code).items():
                found[kind][code] += np.bincount(run.group, pull, run.groups) / len(runs)
    return found


def _ranked(run: Run, code: int) -> dict[str, np.ndarray]:
    """Derivatives (N,) of one class's AUC and AP, by fold and pooled, by each image's weight."""
    pulls = {kind: np.zeros(len(run.truth)) for kind in RANKED}
    defined = {"auc": 0, "ap": 0}
    for place, order in enumerate(run.orders[code]):
        pooled = place == run.folds
        score, positive = run.probs[order, code], run.truth[order] == code
        for kind, made in (("auc", auc_influence), ("ap", ap_influence)):
            pull = made(score, positive)
            if np.isnan(pull).any() or not len(pull):
                continue
            pulls[f"{kind}_pooled" if pooled else kind][order] += pull
            defined[kind] += not pooled
    for kind, folds in defined.items():
        pulls[kind] /= max(folds, 1)
    return pulls


def auc_influence(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Derivative (L,) of the AUC by each image's weight; score (L,) descending; NaN undefined."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return np.full(len(positive), np.nan)
    begin, end = _ties(score)
    pos, neg = (np.concatenate([[0], np.cumsum(mask)]) for mask in (positive, ~positive))
    beaten = 1 - (neg[begin] + neg[end]) / (2 * negatives)
    beating = (pos[begin] + pos[end]) / (2 * positives)
    auc = beaten[positive].mean()
    pull: np.ndarray = np.where(positive, (beaten - auc) / positives, (beating - auc) / negatives)
    return pull


def ap_influence(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Derivative (L,) of average precision by each image's weight; score (L,) descending."""
    positives = int(positive.sum())
    if not positives:
        return np.full(len(positive), np.nan)
    begin, end = _ties(score)
    precision = np.cumsum(positive)[end - 1] / end
    # every positive at or below an image has that image in its precision's denominator
    below = np.where(positive, 1 / end, 0)
    from_here = np.cumsum(below[::-1])[::-1][begin]
    weighted = np.cumsum((below * precision)[::-1])[::-1][begin]
    own = np.where(positive, precision - precision[positive].mean(), 0)
    return np.asarray((own + positive * from_here - weighted) / positives)


def _ties(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each image's tie begins and ends (exclusive), score descending."""
    edges = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1], [True]]))
    sizes = np.diff(edges)
    return np.repeat(edges[:-1], sizes), np.repeat(edges[1:], sizes)
