"""Operating points: thresholds that val chose, and what they give on test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from bench.closeup import OperatingPoint
from bench.protocol import Interval
from bench.score.bootstrap import Plan
from bench.score.metrics import ratio, sensitive_thresholds, thresholds_from_val
from bench.score.runs import Run
from bench.score.sums import Asked, Ledger, estimates, joined
from bench.score.views import thresholds

AIMS: tuple[tuple[str, int, Callable[..., np.ndarray]], ...] = (
    ("specificity", 90, thresholds_from_val),
    ("specificity", 95, thresholds_from_val),
    ("sensitivity", 95, sensitive_thresholds),
)
"""What val has to promise, in per cent, and how the threshold for it is chosen."""


def operating_points(
    runs: Sequence[Run], code: int, target: str, plan: Plan, interval: Interval
) -> tuple[OperatingPoint, ...]:
    """Sensitivity, specificity and precision on test for class `code` at each of `AIMS`.

    The thresholds are each fold's own. None where a fold lacks val predictions, or its val a class.
    """
    chosen = [
        [
            thresholds(run.thresholds.shape, run.val, partial(choose, percent=percent))[:, code]
            for _, percent, choose in AIMS
        ]
        for run in runs
    ]
    if not all(
        np.isfinite(threshold[run.present]).all()
        for run, each in zip(runs, chosen, strict=True)
        for threshold in each
    ):
        return ()
    ledgers = [_ledger(run, code, each) for run, each in zip(runs, chosen, strict=True)]
    asked = [one for at in range(len(AIMS)) for one in _asked(runs[0], code, chosen[0][at])]
    found = estimates(ledgers, _rates, asked, plan, interval)
    return tuple(
        OperatingPoint(target, aim, percent, *found[3 * at : 3 * at + 3])
        for at, (aim, percent, _) in enumerate(AIMS)
    )


def _called(run: Run, code: int, threshold: np.ndarray) -> np.ndarray:
    return np.asarray(run.probs[:, code] > threshold[run.fold])


def _ledger(run: Run, code: int, chosen: Sequence[np.ndarray]) -> Ledger:
    own = run.truth == code
    return joined(
        [
            Ledger(run.groups, 4, run.group, 2 * own + _called(run, code, threshold))
            for threshold in chosen
        ]
    )


def _rates(sums: np.ndarray) -> np.ndarray:
    """Sensitivity, specificity and precision of every point, from its four cells."""
    clear, alarm, missed, hit = sums.reshape(len(AIMS), 4, -1).swapaxes(0, 1)
    rates = [ratio(hit, hit + missed), ratio(clear, clear + alarm), ratio(hit, hit + alarm)]
    return np.stack(rates, axis=1).reshape(3 * len(AIMS), -1)


def _asked(run: Run, code: int, threshold: np.ndarray) -> list[Asked]:
    own, called = run.truth == code, _called(run, code, threshold)
    parts = {"sensitivity": own, "specificity": ~own, "precision": called}
    return [Asked(name, int(part.sum()), run.groups_in(part)) for name, part in parts.items()]
