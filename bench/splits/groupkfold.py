"""Group k-fold: every group is tested once a repeat.

How it is drawn:

1. Native groups are joined where duplicates connect them (`groups.join_groups`).
2. iterative-stratification's MultilabelStratifiedKFold deals whole groups onto the folds by what
   they have: class, sex, age band, localization, source. It counts groups, not images, so
   alone it leaves the rare classes up to 30% out. Three things compensate: every pair of class
   and group size (1, 2, 3 or more images) is an attribute of its own, so that large groups are
   dealt evenly too; `repair` then moves and swaps whole groups until the image counts fit; and of
   many candidates the one with the lowest cost is kept.
3. The cost is the criterion, of candidates and of moves alike: over all parts, CLASS_WEIGHT x the
   squared relative deviation of each class's image count from its even share, plus
   (count - share)^2 / share for lesion groups by class and size and for images by each further
   attribute.
4. The val part of a fold is drawn in the same way from what is not its test part, and as far as
   balance allows from groups that are not yet the val part of another fold.
"""

from __future__ import annotations

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

from bench.errors import ProtocolError, RolesError, listing
from bench.manifest import Manifest
from bench.protocol import PARTS, Split
from bench.splits.repair import Balance, repair
from bench.splits.strata import one_hot, strata

CLASS_WEIGHT = 1000.0
REUSE_PRICE = 0.02
LARGEST_SIZE_CLASS = 3
FEWEST_OUTSIDE_TEST = 2  # one group for train, one for val
TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))


class _Cohort:
    """The groups of a manifest as the drawing sees them.

    ids (G,) group ids; member (N,) index of each image's group; images (G,) images of each
    labels (G, C) images by class that is there; names and classes: which, and how many
    amounts (G, A) what is balanced: the columns of `labels`, then groups by class and size, then
    images by every further attribute
    """

    def __init__(self, manifest: Manifest, split: Split, group_ids: np.ndarray) -> None:
        self.ids, self.member = np.unique(group_ids.astype(str), return_inverse=True)
        self.images = np.bincount(self.member).astype(np.float64)
        values = strata(manifest, "label")
        present = set(values.tolist())
        self.names = [name for name in manifest.classes if name in present]
        self.classes = len(self.names)
        self.labels = self._sum(one_hot(values, self.names))
        sizes = np.minimum(self.images, LARGEST_SIZE_CLASS)[:, None]
        by_size = [(self.labels > 0) & (sizes == size) for size in range(1, LARGEST_SIZE_CLASS + 1)]
        keys = [key for key in split.stratify if key != "label"]
        further = [self._sum(one_hot(strata(manifest, key))) for key in keys]
        columns = np.hstack([self.labels, *by_size, *further]).astype(np.float64)
        self.amounts = columns[:, columns.any(axis=0)]

    def _sum(self, by_image: np.ndarray) -> np.ndarray:
        """Sum image rows (N, V) by group (G, V)."""
        by_group = np.zeros((len(self.ids), by_image.shape[1]))
        np.add.at(by_group, self.member, by_image)
        return by_group

    def balance(self, shares: np.ndarray, prices: np.ndarray, groups: np.ndarray) -> Balance:
        """What even means where `groups` are dealt onto parts of these shares (P,) of the whole."""
        targets = np.outer(shares, self.amounts.sum(axis=0))
        weights = 1.0 / targets
        weights[:, : self.classes] = CLASS_WEIGHT / targets[:, : self.classes] ** 2
        return Balance(self.amounts[groups], targets, weights, prices)


def draw_groupkfold(manifest: Manifest, split: Split, group_ids: np.ndarray) -> np.ndarray:
    """The parts (N, folds x repeats) uint8; the same arguments give the same parts.

    Raises ProtocolError where the shares leave nothing to train on, RolesError where a class has
    too few groups.
    """
    if split.val + 1 / split.folds >= 1:
        raise ProtocolError(
            f"split.val: {split.val} leaves nothing to train on beside 1/{split.folds} for test"
        )
    cohort = _Cohort(manifest, split, group_ids)
    _refuse_few_groups(cohort, split)
    columns = [
        parts
        for repeat in range(split.repeats)
        for parts in _draw_repeat(cohort, split, np.random.SeedSequence((split.seed, repeat)))
    ]
    return np.stack([parts[cohort.member] for parts in columns], axis=1)


def _draw_repeat(cohort: _Cohort, split: Split, seed: np.random.SeedSequence) -> list[np.ndarray]:
    """The part of every group in each fold of one repeat: `folds` arrays (G,) uint8."""
    rng = np.random.default_rng(seed)
    fold_of = _draw_test(cohort, split, rng)
    used = np.zeros(len(cohort.ids), dtype=bool)
    columns = []
    for fold in range(split.folds):
        parts = np.full(len(cohort.ids), TRAIN, dtype=np.uint8)
        parts[fold_of == fold] = TEST
        chosen = _draw_val(cohort, split, np.flatnonzero(fold_of != fold), used, rng)
        parts[chosen] = VAL
        used[chosen] = True
        columns.append(parts)
    return columns


def _draw_test(cohort: _Cohort, split: Split, rng: np.random.Generator) -> np.ndarray:
    """The fold in which each group is tested (G,) int: the best of the candidates."""
    everyone = np.arange(len(cohort.ids))
    shares = np.full(split.folds, 1 / split.folds)
    balance = cohort.balance(shares, np.zeros((len(everyone), split.folds)), everyone)
    drawn = (
        repair(_deal(cohort, everyone, split.folds, rng), balance) for _ in range(split.candidates)
    )
    return min(drawn, key=balance.cost)


def _draw_val(
    cohort: _Cohort, split: Split, free: np.ndarray, used: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The groups (V,) of `free` that become the val part of a fold.

    `free` is dealt onto as many chunks as make one chunk about a val part; the chunk with the
    lowest cost is kept.
    """
    test = 1 / split.folds
    prices = np.zeros((len(free), 2))
    prices[:, 1] = REUSE_PRICE * cohort.images[free] * used[free]
    balance = cohort.balance(np.array([1 - test - split.val, split.val]), prices, free)
    fresh = np.flatnonzero(~used[free])
    chunks = round(float(cohort.images[free[fresh]].sum() / cohort.images.sum()) / split.val)
    if chunks < 2:  # noqa: PLR2004 - too few groups are left that were never val
        fresh, chunks = np.arange(len(free)), max(2, round((1 - test) / split.val))
    dealt = _deal(cohort, free[fresh], chunks, rng)
    drawn = []
    for chunk in range(chunks):
        part_of = np.zeros(len(free), dtype=np.int64)
        part_of[fresh[dealt == chunk]] = 1
        drawn.append(part_of)
    best = sorted(drawn, key=balance.cost)[:3]
    chosen = min((repair(part_of, balance) for part_of in best), key=balance.cost)
    val: np.ndarray = free[chosen == 1]
    return val


def _deal(cohort: _Cohort, groups: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Deal groups onto equal parts by iterative stratification of their attributes (len,) int."""
    dealer = MultilabelStratifiedKFold(
        n_splits=parts, shuffle=True, random_state=int(rng.integers(2**31))
    )
    has = cohort.amounts[groups] > 0
    part_of = np.zeros(len(groups), dtype=np.int64)
    for part, (_, held) in enumerate(dealer.split(groups, has)):
        part_of[held] = part
    return part_of


def _refuse_few_groups(cohort: _Cohort, split: Split) -> None:
    needed = split.folds if split.folds > FEWEST_OUTSIDE_TEST else 2 * FEWEST_OUTSIDE_TEST
    found = (cohort.labels > 0).sum(axis=0)
    few = [
        f"{name} has {count}"
        for name, count in zip(cohort.names, found, strict=True)
        if count < needed
    ]
    if few:
        raise RolesError(
            f"{split.folds} folds need {needed} groups of every class, but {listing(few)}; "
            "use fewer folds or merge classes"
        )
