"""Group k-fold by iterative-stratification with local search (`dealer = "iterative"`).

Iterative stratification places groups by which attributes they have; it knows nothing of how many
images a group brings. This local search works on the image counts themselves.

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
from bench.folds.assign import CLASS_WEIGHT, LARGEST_SIZE_CLASS, Cohort, numbers, strata
from bench.protocol import PARTS, Split

SHORTLIST = 64
MAX_STEPS = 3000
EPSILON = 1e-9


@dataclass(frozen=True)
class Balance:
    """What even means: `amounts` of every group, and the `targets` of every part.

    amounts (G, A) what each group brings to each attribute (images, or groups)
    targets (P, A) what each part should hold
    weights (P, A) price of a squared deviation from it
    prices  (G, P) price of a group's being in a part, whatever the counts
    """

    amounts: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    prices: np.ndarray

    def deviations(self, part_of: np.ndarray) -> np.ndarray:
        """How far each part is from its targets (P, A); part_of (G,) int."""
        short = -self.targets
        np.add.at(short, part_of, self.amounts)
        return short

    def cost(self, part_of: np.ndarray) -> float:
        """The sum of weighted squared deviations and of prices: the lower, the more even."""
        spread = float((self.weights * self.deviations(part_of) ** 2).sum())
        return spread + float(self.prices[np.arange(len(part_of)), part_of].sum())


def local_search(part_of: np.ndarray, balance: Balance) -> np.ndarray:
    """The part of every group (G,) int after steepest descent by moves, then swaps.

    Deterministic. Each step takes the single move of one group that lowers the cost most; where no
    move does, the best exchange of two groups among the most promising of each pair of parts.
    """
    part_of = part_of.copy()
    squares: np.ndarray = balance.amounts**2 @ balance.weights.T
    for _ in range(MAX_STEPS):
        gains = _move_deltas(part_of, balance, squares)
        group, part = divmod(int(gains.argmin()), gains.shape[1])
        if gains[group, part] < -EPSILON:
            part_of[group] = part
            continue
        swap = _best_swap(part_of, balance, gains)
        if swap is None:
            break
        one, other = swap
        part_of[one], part_of[other] = part_of[other], part_of[one]
    return part_of


def _move_deltas(part_of: np.ndarray, balance: Balance, squares: np.ndarray) -> np.ndarray:
    """Change in cost (G, P) if a group moved to a part; 0 where it already is."""
    groups = np.arange(len(part_of))
    slopes = 2 * balance.amounts @ (balance.weights * balance.deviations(part_of)).T
    entering = squares + slopes + balance.prices
    leaving = (squares - slopes - balance.prices)[groups, part_of]
    deltas: np.ndarray = entering + leaving[:, None]
    deltas[groups, part_of] = 0.0
    return deltas


def _best_swap(part_of: np.ndarray, balance: Balance, deltas: np.ndarray) -> tuple[int, int] | None:
    """The exchange of two groups that lowers the cost most, or None."""
    best, found = -EPSILON, None
    parts = deltas.shape[1]
    for here in range(parts):
        for there in range(here + 1, parts):
            ones = _shortlist(part_of, here, deltas[:, there])
            others = _shortlist(part_of, there, deltas[:, here])
            weights = balance.weights[here] + balance.weights[there]
            shared = (balance.amounts[ones] * weights) @ balance.amounts[others].T
            change = deltas[ones, there][:, None] + deltas[others, here][None, :] - 2 * shared
            if change.size and change.min() < best:
                at = np.unravel_index(int(change.argmin()), change.shape)
                best, found = float(change.min()), (int(ones[at[0]]), int(others[at[1]]))
    return found


def _shortlist(part_of: np.ndarray, part: int, deltas: np.ndarray) -> np.ndarray:
    """The groups of a part (<= SHORTLIST,) whose leaving costs least."""
    members = np.flatnonzero(part_of == part)
    return members[np.argsort(deltas[members], kind="stable")[:SHORTLIST]]


MOST_GROUPS = 10_000  # twenty candidates take minutes; the time grows faster than the groups
REUSE_PRICE = 0.02  # of an image's being val in two folds
REPAIRED = 3  # candidates for a val part that are repaired, the best ones
TRAIN, VAL, TEST = (PARTS.index(part) for part in ("train", "val", "test"))


def assign_iteratively(cohort: Cohort, split: Split, rng: np.random.Generator) -> list[np.ndarray]:
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
        drawn = (
            local_search(self._deal(everyone, folds), balance) for _ in range(self.split.candidates)
        )
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
        chosen = min((local_search(part_of, balance) for part_of in best), key=balance.cost)
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
