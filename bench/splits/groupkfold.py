"""Group k-fold, its control that divides groups, and the single hold-out.

Whole groups are dealt onto the folds, each of which is the test part once a repeat. `split.dealer`
names who deals. The greedy (`dealer`) knows groups and image counts from the first; its val part of
a fold is an even share of the next fold, or all of it and more, so that an image is val once at
most as long as val is no larger than a fold. iterative-stratification (`iterative`) knows neither,
and says what compensates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.errors import ProtocolError
from bench.manifest import Manifest
from bench.protocol import PARTS, Dealer, Split
from bench.splits.cohort import Cohort
from bench.splits.iterative import deal_iteratively

FEWEST_OUTSIDE_TEST = 2  # one group for train, one for val
TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))


def draw_groupkfold(manifest: Manifest, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, folds x repeats) uint8; the same arguments give the same parts.

    Raises ProtocolError where the shares leave nothing to train on, RolesError where a class has
    too few groups.
    """
    if split.val + 1 / split.folds >= 1:
        raise ProtocolError(
            f"split.val: {split.val} leaves nothing to train on beside 1/{split.folds} for test"
        )
    cohort = Cohort(manifest, split, group_ids)
    needed = split.folds if split.folds > FEWEST_OUTSIDE_TEST else 2 * FEWEST_OUTSIDE_TEST
    cohort.refuse_few_groups(needed, f"{split.folds} folds need")
    columns = [
        parts
        for repeat in range(split.repeats)
        for parts in DEALERS[split.dealer](
            cohort, split, np.random.default_rng((split.seed, repeat))
        )
    ]
    return np.stack([parts[cohort.member] for parts in columns], axis=1)


def draw_imagekfold(manifest: Manifest, split: Split, _group_ids: np.ndarray) -> np.ndarray:
    """The same as if every image were a group of its own: on purpose, to show what that does."""
    return draw_groupkfold(manifest, split, manifest.image_ids)


def draw_holdout(manifest: Manifest, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, 1) uint8 of one fold with shares for val and test.

    Raises RolesError where a class has fewer than three groups.
    """
    cohort = Cohort(manifest, split, group_ids)
    cohort.refuse_few_groups(len(PARTS) - 1, "three parts need")
    test = split.test or 0.0
    shares = np.array([1 - split.val - test, split.val, test])
    rng = np.random.default_rng((split.seed, 0))
    everyone = np.arange(len(cohort.images))
    dealt = cohort.deal(everyone, shares, rng, split.candidates)
    parts: np.ndarray = np.array([TRAIN, VAL, TEST], dtype=np.uint8)[dealt]
    column: np.ndarray = parts[cohort.member]
    return column[:, None]


def _deal_greedily(cohort: Cohort, split: Split, rng: np.random.Generator) -> list[np.ndarray]:
    """The part of every group in each fold of one repeat: `folds` arrays (G,) uint8."""
    everyone = np.arange(len(cohort.images))
    shares = np.full(split.folds, 1 / split.folds)
    fold_of = cohort.deal(everyone, shares, rng, split.candidates)
    heads = [
        cohort.draw(np.flatnonzero(fold_of == fold), split.val * split.folds, rng)
        for fold in range(split.folds)
    ]
    columns = []
    for fold in range(split.folds):
        parts = np.full(len(everyone), TRAIN, dtype=np.uint8)
        parts[fold_of == fold] = TEST
        parts[_draw_val(cohort, split, fold, fold_of, heads, rng)] = VAL
        columns.append(parts)
    return columns


def _draw_val(
    cohort: Cohort,
    split: Split,
    fold: int,
    fold_of: np.ndarray,
    heads: list[np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """The val groups of a fold: the head of the next fold, or that fold and a share of others."""
    after = (fold + 1) % split.folds
    chosen = heads[after]
    rest = np.flatnonzero((fold_of != fold) & (fold_of != after))
    more = split.val - 1 / split.folds
    if more > 0:
        share = more / (1 - 2 / split.folds)
        chosen = np.concatenate([chosen, cohort.draw(rest, share, rng)])
    others = np.setdiff1d(np.flatnonzero(fold_of != fold), chosen)
    return cohort.with_every_class(chosen, others)


DEALERS: dict[Dealer, Callable[[Cohort, Split, np.random.Generator], list[np.ndarray]]] = {
    "greedy": _deal_greedily,
    "iterative": deal_iteratively,
}
"""Who deals one repeat: the part of every group in each of its folds, `folds` arrays (G,) uint8."""
