"""What the images of each class were called: the rows of a confusion matrix as shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.estimates import Estimate
from bench.protocol import Interval
from bench.score.bootstrap import Plan
from bench.score.metrics import ratio
from bench.score.runs import Run
from bench.score.sums import Asked, Ledger, estimates


def call_shares(
    runs: Sequence[Run], plan: Plan, interval: Interval
) -> tuple[tuple[Estimate, ...], ...]:
    """The share of each class's images (rows) that is called each class (columns), mean over runs.

    A share is a class's recall where it is called right. Undefined where the class has no image.
    """
    first = runs[0]
    classes = first.classes
    ledgers = [
        Ledger(run.groups, classes**2, run.group, run.truth * classes + run.called) for run in runs
    ]
    own = [first.truth == code for code in range(classes)]
    sizes = [(int(one.sum()), first.groups_in(one)) for one in own]
    asked = [Asked("recall", *size) for size in sizes for _ in range(classes)]
    found = estimates(ledgers, lambda sums: _shares(sums, classes), asked, plan, interval)
    return tuple(tuple(found[code * classes : (code + 1) * classes]) for code in range(classes))


def _shares(sums: np.ndarray, classes: int) -> np.ndarray:
    cells = sums.reshape(classes, classes, -1)
    return ratio(cells, cells.sum(axis=1, keepdims=True)).reshape(classes**2, -1)
