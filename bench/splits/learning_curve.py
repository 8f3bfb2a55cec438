"""The same test and val parts, training on fewer groups: what more patients would bring.

The first arm is group k-fold. Every further arm keeps a share of the groups that the arm before it
trains on, even in everything that the split stratifies by, so that the smaller parts lie within the
larger ones. What an arm does not train on is left out.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bench.manifest import Manifest
from bench.protocol import PARTS, Split, arm_share
from bench.splits.cohort import Cohort
from bench.splits.groupkfold import draw_groupkfold

LEFT_OUT, TRAIN, VAL, TEST = range(len(PARTS))


def draw_learning_curve(manifest: Manifest, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, arms x folds) uint8, arm by arm. Raises as `draw_groupkfold` does."""
    whole = draw_groupkfold(manifest, split, group_ids)
    cohort = Cohort(manifest, split, group_ids)
    rng = np.random.default_rng((split.seed, 1))
    arms = [whole]
    shares = [arm_share(arm) for arm in split.arms]
    for before, share in pairwise(shares):
        parts = arms[-1].copy()
        for column in range(split.folds):
            everyone = np.unique(cohort.member[parts[:, column] == TRAIN])
            kept = cohort.draw(everyone, share / before, rng)
            kept = cohort.with_every_class(kept, np.setdiff1d(everyone, kept))
            dropped = (parts[:, column] == TRAIN) & ~np.isin(cohort.member, kept)
            parts[dropped, column] = LEFT_OUT
        arms.append(parts)
    return np.concatenate(arms, axis=1)
