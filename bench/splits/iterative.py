"""Group k-fold dealt by iterative-stratification, repaired: `dealer = "iterative"`.

iterative-stratification (Sechidis et al. 2011) deals by which attributes something has. It knows
neither groups nor how many images a group brings: dealing whole groups it counts groups, and its
plain use leaves rare classes of HAM10000 up to 30% out in images. Four things compensate:

1. What is dealt are the joined groups, each with all that its images have: class, sex, age band,
   localization, source.
2. Every pair of class and group size (1, 2, 3 or more images) is an attribute of its own, so that
   large groups are dealt evenly, too.
3. `repair` moves and exchanges whole groups until the image counts fit.
4. Of many candidates the one with the lowest cost is kept. The cost is the criterion of candidates
   and of moves alike: over all parts, CLASS_WEIGHT x the squared relative deviation of each class's
   images from its even share, plus (count - share)^2 / share for groups by class and size and for
   images by each further attribute.

The val part of a fold is drawn in the same way from what is not its test part, and as far as
balance allows from groups that are not yet the val part of another fold. The time grows faster than
the groups; the greedy of `dealer` is as even, and made for large rosters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.errors import ProtocolError
from bench.protocol import PARTS, Split
from bench.splits.cohort import Cohort, numbers
from bench.splits.dealer import CLASS_WEIGHT, LARGEST_SIZE_CLASS
from bench.splits.repair import Balance, repair
from bench.splits.strata import strata

MOST_GROUPS = 10_000  # twenty candidates take minutes; the time grows faster than the groups
REUSE_PRICE = 0.02  # of an image's being val in two folds
REPAIRED = 3  # candidates for a val part that are repaired, the best ones
TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))


def deal_iteratively(cohort: Cohort, split: Split, rng: np.random.Generator) -> list[np.ndarray]:
    """The part of every group in each fold of one repeat: `folds` arrays (G,) uint8.

    Raises ProtocolError for more than MOST_GROUPS groups.
    """
    if len(cohort.images) > MOST_GROUPS:
        raise ProtocolError(
            f"split.dealer: iterative takes too long for more than {MOST_GROUPS:,} groups, and "
            f"{cohort.manifest.name} has {len(cohort.images):,}; the greedy deals any number of "
            "them: freeze it as a protocol of its own: --as NAME --dealer greedy"
        )
    dealing = _Dealing(cohort, split, _amounts(cohort, split), rng)
    fold_of = dealing.test()
    used = np.zeros(len(fold_of), dtype=bool)
    columns = []
    for fold in range(split.folds):
        parts = np.full(len(fold_of), TRAIN, dtype=np.uint8)
        parts[fold_of == fold] = TEST
        chosen = dealing.val(np.flatnonzero(fold_of != fold), used)
        parts[chosen] = VAL
        used[chosen] = True
        columns.append(parts)
    return columns


def _amounts(cohort: Cohort, split: Split) -> np.ndarray:
    """What is balanced (G, A) float64, of everything that is there.

    Images by class, then groups by class and size, then images by every further attribute.
    """
    sizes = np.minimum(cohort.images, LARGEST_SIZE_CLASS)[:, None]
    by_size = [(cohort.labels > 0) & (sizes == size + 1) for size in range(LARGEST_SIZE_CLASS)]
    keys = [key for key in split.stratify if key != "label"]
    further = [cohort.count(numbers(strata(cohort.manifest, key))) for key in keys]
    columns = np.hstack([cohort.labels, *by_size, *further]).astype(np.float64)
    there: np.ndarray = columns[:, columns.any(axis=0)]
    return there


@dataclass(frozen=True)
class _Dealing:
    """One repeat's dealing: amounts (G, A) as `_amounts` gives them, and the draws."""

    cohort: Cohort
    split: Split
    amounts: np.ndarray
    rng: np.random.Generator

    def test(self) -> np.ndarray:
        """The fold in which each group is tested (G,) int: the best of the candidates."""
        folds = self.split.folds
        everyone = np.arange(len(self.amounts))
        free = np.zeros((len(everyone), folds))
        balance = self._balance(np.full(folds, 1 / folds), free, everyone)
        drawn = (repair(self._deal(everyone, folds), balance) for _ in range(self.split.candidates))
        return min(drawn, key=balance.cost)

    def val(self, free: np.ndarray, used: np.ndarray) -> np.ndarray:
        """The groups (V,) of `free` that become the val part of a fold; used (G,) were one before.

        `free` is dealt onto as many chunks as make one chunk about a val part; the chunk with the
        lowest cost is kept.
        """
        test, val = 1 / self.split.folds, self.split.val
        images = self.cohort.images.astype(np.float64)
        prices = np.zeros((len(free), 2))
        prices[:, 1] = REUSE_PRICE * images[free] * used[free]
        balance = self._balance(np.array([1 - test - val, val]), prices, free)
        fresh = np.flatnonzero(~used[free])
        chunks = round(float(images[free[fresh]].sum() / images.sum()) / val)
        if chunks < 2:  # noqa: PLR2004 - too few groups are left that were never val
            fresh, chunks = np.arange(len(free)), max(2, round((1 - test) / val))
        dealt = self._deal(free[fresh], chunks)
        drawn = []
        for chunk in range(chunks):
            part_of = np.zeros(len(free), dtype=np.int64)
            part_of[fresh[dealt == chunk]] = 1
            drawn.append(part_of)
        best = sorted(drawn, key=balance.cost)[:REPAIRED]
        chosen = min((repair(part_of, balance) for part_of in best), key=balance.cost)
        return np.asarray(free[chosen == 1])

    def _balance(self, shares: np.ndarray, prices: np.ndarray, groups: np.ndarray) -> Balance:
        """What even means where `groups` are dealt onto parts of these shares (P,) of the whole."""
        targets = np.outer(shares, self.amounts.sum(axis=0))
        weights = 1.0 / targets
        classes = int(self.cohort.labels.any(axis=0).sum())
        weights[:, :classes] = CLASS_WEIGHT / targets[:, :classes] ** 2
        return Balance(self.amounts[groups], targets, weights, prices)

    def _deal(self, groups: np.ndarray, parts: int) -> np.ndarray:
        """Groups dealt onto equal parts by what they have (len,) int, whatever their sizes."""
        from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

        seed = int(self.rng.integers(2**31))
        dealer = MultilabelStratifiedKFold(n_splits=parts, shuffle=True, random_state=seed)
        has = self.amounts[groups] > 0
        part_of = np.zeros(len(groups), dtype=np.int64)
        for part, (_, held) in enumerate(dealer.split(groups, has)):
            part_of[held] = part
        return part_of
