"""Single numbers beside the leaderboard's own: top two, partial AUC, the cost of mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.errors import DataError, listing
from bench.estimates import Estimate
from bench.protocol import Interval
from bench.score.bootstrap import Plan
from bench.score.fallback import LANES
from bench.score.kernels import compiled
from bench.score.metrics import mean_over_defined, ratio
from bench.score.runs import Run, divided
from bench.score.sums import Asked, Ledger, estimated, estimates

MAX_FPR = 0.1


def whole(run: Run) -> tuple[int, int]:
    """Images and groups of a run."""
    return len(run.truth), run.groups_in()


def top_two(runs: Sequence[Run], plan: Plan, interval: Interval) -> Estimate:
    """Share of images whose class is among the two likeliest; ties go to the first classes."""
    ledgers = []
    for run in runs:
        own = run.probs[np.arange(len(run.truth)), run.truth][:, None]
        before = np.arange(run.classes) < run.truth[:, None]
        ahead = ((run.probs > own) | ((run.probs == own) & before)).sum(axis=1)
        ledgers.append(Ledger(run.groups, 2, run.group, (ahead < 2).astype(np.int64)))  # noqa: PLR2004
    asked = [Asked("top2_accuracy", *whole(runs[0]))]
    return estimates(
        ledgers, lambda sums: ratio(sums[1], sums.sum(axis=0))[None], asked, plan, interval
    )[0]


def mistakes(
    runs: Sequence[Run], costs: np.ndarray, plan: Plan, interval: Interval
) -> dict[str, Estimate]:
    """Mean cost of an image, costs (C, C) by truth and call.

    `cost` of the top class, `cost_aware` of the class whose expected cost is least by the row's own
    probabilities.
    """
    found = {}
    for name in ("cost", "cost_aware"):
        ledgers = []
        for run in runs:
            called = run.called if name == "cost" else np.argmin(run.probs @ costs, axis=1)
            cell = run.truth * run.classes + called
            ledgers.append(Ledger(run.groups, run.classes**2, run.group, cell))
        (found[name],) = estimates(
            ledgers,
            lambda sums: ratio(costs.ravel() @ sums, sums.sum(axis=0))[None],
            [Asked(name, *whole(runs[0]))],
            plan,
            interval,
        )
    return found


def parse_costs(text: str, classes: Sequence[str], where: str) -> np.ndarray:
    """A cost matrix (C, C), truth in rows, from CSV: a header `truth,<class>,...`, a row a class.

    Raises DataError that names the cell. Costs are finite and not negative; classes may stand in
    any order, each once.
    """
    filled = [line for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    lines = [[cell.strip() for cell in line.split(",")] for line in filled]
    wanted = "truth," + ",".join(classes)
    corner, *header = lines[0] if lines else [""]
    if corner != "truth" or sorted(header) != sorted(classes):  # or the costs may be transposed
        raise DataError(f"{where}: the header must be {wanted}; it is {listing([corner, *header])}")
    names = [line[0] for line in lines[1:]]
    if sorted(names) != sorted(classes):
        raise DataError(f"{where}: one row a class is needed; it has {listing(names)}")
    table = np.empty((len(classes), len(classes)))
    for line in lines[1:]:
        if len(line) != len(classes) + 1:
            raise DataError(f"{where}: row {line[0]} has {len(line) - 1} costs, not {len(classes)}")
        for label, cell in zip(header, line[1:], strict=True):
            table[classes.index(line[0]), classes.index(label)] = _cost(cell, line[0], label, where)
    return table


def _cost(cell: str, truth: str, called: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not (np.isfinite(value) and value >= 0):
        raise DataError(f"{where}: {truth} called {called} costs {cell!r}; give a number from 0 up")
    return value


def partial_auc(runs: Sequence[Run], plan: Plan, interval: Interval) -> Estimate:
    """Area under the ROC curve of two classes where specificity is 90% or more, mean over folds.

    Standardised to 0.5 by chance and 1 at best (McClish 1989), as scikit-learn's `max_fpr`.
    """
    sides = [Ledger(run.groups, 2 * run.folds, run.group, 2 * run.fold + run.truth) for run in runs]
    pairs = list(zip(runs, sides, strict=True))
    once = np.ones((runs[0].groups, 1), dtype=np.uint8)
    value = np.mean([_fold_mean(run, once, own.total()[:, None])[0] for run, own in pairs])
    drawn = np.mean([_resampled(run, own, plan) for run, own in pairs], axis=0)
    positives = runs[0].truth == 1
    rarer = min(runs[0].groups_in(side) for side in (positives, ~positives))
    asked = Asked("partial_auc", len(runs[0].truth), rarer)
    return estimated(asked, float(value), drawn, np.nan, interval)


def _resampled(run: Run, sides: Ledger, plan: Plan) -> np.ndarray:
    """The mean over folds in every resample (R,); sides counts each fold's negatives, positives."""
    totals = sides.drawn(plan)
    batches = plan.batches(0, plan.resamples, compiled())
    parts = [
        _fold_mean(run, weights, totals[:, at * LANES : (at + 1) * LANES])
        for at, weights in enumerate(batches)
    ]
    return np.concatenate(parts)


def _fold_mean(run: Run, weights: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """The mean over folds (B,) under group weights (G, B or more), which make totals (2 F, B):
    negatives and positives of each fold."""
    weights = weights[:, : totals.shape[1]]
    order, sizes = divided(run.orders[1], run.fold, run.folds)
    orders = np.split(order, np.cumsum(sizes)[:-1])
    areas = [
        _area(run, orders[fold], weights, *totals[2 * fold : 2 * fold + 2]) for fold in run.present
    ]
    return np.asarray(mean_over_defined(np.stack(areas)[None])[0])


def _area(
    run: Run, order: np.ndarray, weights: np.ndarray, negatives: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """Standardised partial area (B,) of images in descending order of score, of which so many
    (B,) are drawn."""
    positive = run.truth[order] == 1
    score = run.probs[order, 1]
    allowed = MAX_FPR * negatives
    top = np.searchsorted(np.cumsum(~positive), 2 * MAX_FPR * (~positive).sum()) + 1
    for stop in (min(int(top), len(order)), len(order)):  # seldom more than the head is needed
        ends = np.flatnonzero(np.append(score[1:stop] != score[: stop - 1], stop == len(order)))
        if not len(ends):
            continue
        drawn = weights[run.group[order[:stop]]].astype(np.float64)
        sides = (~positive[:stop], positive[:stop])
        met, hit = (np.cumsum(drawn * side[:, None], axis=0)[ends] for side in sides)
        if stop == len(order) or not (met[-1] < allowed).any():
            break
    false, true = (np.concatenate([np.zeros((1, found.shape[1])), found]) for found in (met, hit))
    step, rise = np.diff(false, axis=0), np.diff(true, axis=0)
    width = np.clip(allowed - false[:-1], 0, step)  # how much of each step counts
    share = np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    area = ratio((width * (true[:-1] + share * rise / 2)).sum(axis=0), negatives * positives)
    least, most = MAX_FPR**2 / 2, MAX_FPR
    return 0.5 * (1 + (area - least) / (most - least))
