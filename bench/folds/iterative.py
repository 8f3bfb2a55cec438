"""Group k-fold by iterative-stratification with local search (`dealer = "iterative"`).

It redraws the frozen roles of `groupkfold5`; new protocols use the greedy assigner (`assign`).

iterative-stratification (Sechidis et al. 2011) balances attributes over items. With whole groups as
items it counts groups, not images: rare classes of HAM10000 are then up to 30% off in images. Four
steps correct this:

1. The items are the joined groups, each with all attributes of its images: class, sex, age band,
   localization, source.
2. Every pair of class and group size (1, 2, 3 or more images) is an additional attribute, so that
   large groups are balanced too.
3. `local_search` moves and exchanges whole groups until the image counts fit.
4. The candidate with the lowest cost is kept. Candidates and moves have the same cost: over all
   parts, CLASS_WEIGHT x the squared relative deviation of each class's images from its even share,
   plus (count - share)^2 / share for groups by class and size and for images by each further
   attribute.

The val part of a fold is drawn in the same way from the groups outside its test part; groups that
are not yet in the val part of another fold come first. The time grows faster than the number of
groups; `assign` balances as well and takes linear time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.errors import ProtocolError
from bench.folds.assign import CLASS_WEIGHT, LARGEST_SIZE_CLASS, Cohort, numbers, stratify_by
from bench.protocol import TEST, TRAIN, VAL, Split

SHORTLIST = 64
MAX_STEPS = 3000
EPSILON = 1e-9


@dataclass(frozen=True)
class Balance:
    """The cost of an assignment: weighted squared deviations from targets, and prices.

    amounts (G, A) images (or groups) that each group adds to each attribute
    targets (P, A) amounts that each part should have
    weights (P, A) weight of the squared deviation from the target
    prices  (G, P) constant cost of a group in a part
    """

    amounts: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    prices: np.ndarray

    def deviations(self, part_of: np.ndarray) -> np.ndarray:
        """Amounts of each part minus its targets (P, A); part_of (G,) int."""
        deviations = -self.targets
        np.add.at(deviations, part_of, self.amounts)
        return deviations

    def cost(self, part_of: np.ndarray) -> float:
        """The sum of weighted squared deviations and prices; lower is more even."""
        spread = float((self.weights * self.deviations(part_of) ** 2).sum())
        return spread + float(self.prices[np.arange(len(part_of)), part_of].sum())


def local_search(part_of: np.ndarray, balance: Balance) -> np.ndarray:
    """The part of every group (G,) int after steepest descent by moves and exchanges.

    Deterministic. Each step takes the move of one group that lowers the cost most; if no move
    does, the best exchange of two groups among the SHORTLIST of each pair of parts.
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
    """Change in cost (G, P) if a group moved to a part; 0 for its current part."""
    groups = np.arange(len(part_of))
    slopes = 2 * balance.amounts @ (balance.weights * balance.deviations(part_of)).T
    entering = squares + slopes + balance.prices
    leaving = (squares - slopes - balance.prices)[groups, part_of]
    deltas: np.ndarray = entering + leaving[:, None]
    deltas[groups, part_of] = 0.0
    return deltas


def _best_swap(part_of: np.ndarray, balance: Balance, deltas: np.ndarray) -> tuple[int, int] | None:
    """The exchange of two groups that lowers the cost most, or None."""
    best, swap = -EPSILON, None
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
                best, swap = float(change.min()), (int(ones[at[0]]), int(others[at[1]]))
    return swap


def _shortlist(part_of: np.ndarray, part: int, deltas: np.ndarray) -> np.ndarray:
    """The groups (<= SHORTLIST,) of a part whose removal costs least."""
    members = np.flatnonzero(part_of == part)
    return members[np.argsort(deltas[members], kind="stable")[:SHORTLIST]]


MOST_GROUPS = 10_000  # twenty candidates take minutes; the time grows faster than the groups
REUSE_PRICE = 0.02  # cost of an image that is val in two folds
SEARCHED = 3  # local search runs on this number of best candidates for a val part


def assign_iteratively(cohort: Cohort, split: Split, rng: np.random.Generator) -> list[np.ndarray]:
    """The part of every group in each fold of one repeat: `folds` arrays (G,) uint8.

    Raises ProtocolError for more than MOST_GROUPS groups.
    """
    if len(cohort.images) > MOST_GROUPS:
        raise ProtocolError(
            f"split.dealer: iterative takes too long for more than {MOST_GROUPS:,} groups, and "
            f"{cohort.dataset.name} has {len(cohort.images):,}; the greedy assigner has no limit: "
            "freeze a new protocol with --as NAME --dealer greedy"
        )
    draw = _IterativeDraw(cohort, split, _amounts(cohort, split), rng)
    fold_of = draw.test()
    used = np.zeros(len(fold_of), dtype=bool)
    columns = []
    for fold in range(split.folds):
        parts = np.full(len(fold_of), TRAIN, dtype=np.uint8)
        parts[fold_of == fold] = TEST
        chosen = draw.val(np.flatnonzero(fold_of != fold), used)
        parts[chosen] = VAL
        used[chosen] = True
        columns.append(parts)
    return columns


def _amounts(cohort: Cohort, split: Split) -> np.ndarray:
    """The amounts to balance (G, A) float64, without attributes that no group has.

    Images by class, then groups by class and size, then images by every further attribute.
    """
    sizes = np.minimum(cohort.images, LARGEST_SIZE_CLASS)[:, None]
    by_size = [(cohort.labels > 0) & (sizes == size + 1) for size in range(LARGEST_SIZE_CLASS)]
    keys = [key for key in split.stratify if key != "label"]
    further = [cohort.count(numbers(stratify_by(cohort.dataset, key))) for key in keys]
    columns = np.hstack([cohort.labels, *by_size, *further]).astype(np.float64)
    present: np.ndarray = columns[:, columns.any(axis=0)]
    return present


@dataclass(frozen=True)
class _IterativeDraw:
    """The draws of one repeat; amounts (G, A) as `_amounts` returns them."""

    cohort: Cohort
    split: Split
    amounts: np.ndarray
    rng: np.random.Generator

    def test(self) -> np.ndarray:
        """The test fold of each group (G,) int: the candidate with the lowest cost."""
        folds = self.split.folds
        groups = np.arange(len(self.amounts))
        prices = np.zeros((len(groups), folds))
        balance = self._balance(np.full(folds, 1 / folds), prices, groups)
        candidates = (
            local_search(self._stratified(groups, folds), balance)
            for _ in range(self.split.candidates)
        )
        return min(candidates, key=balance.cost)

    def val(self, free: np.ndarray, used: np.ndarray) -> np.ndarray:
        """The val groups (V,) of a fold, chosen from `free`; used (G,) marks earlier val groups.

        `free` is divided into chunks of about the size of a val part; the chunk with the lowest
        cost is kept.
        """
        test, val = 1 / self.split.folds, self.split.val
        images = self.cohort.images.astype(np.float64)
        prices = np.zeros((len(free), 2))
        prices[:, 1] = REUSE_PRICE * images[free] * used[free]
        balance = self._balance(np.array([1 - test - val, val]), prices, free)
        fresh = np.flatnonzero(~used[free])
        chunks = round(float(images[free[fresh]].sum() / images.sum()) / val)
        if chunks < 2:  # noqa: PLR2004 - too few groups without a val fold remain
            fresh, chunks = np.arange(len(free)), max(2, round((1 - test) / val))
        chunk_of = self._stratified(free[fresh], chunks)
        candidates = []
        for chunk in range(chunks):
            part_of = np.zeros(len(free), dtype=np.int64)
            part_of[fresh[chunk_of == chunk]] = 1
            candidates.append(part_of)
        best = sorted(candidates, key=balance.cost)[:SEARCHED]
        chosen = min((local_search(part_of, balance) for part_of in best), key=balance.cost)
        return np.asarray(free[chosen == 1])

    def _balance(self, shares: np.ndarray, prices: np.ndarray, groups: np.ndarray) -> Balance:
        """The cost of assigning `groups` to parts with these shares (P,) of all images."""
        targets = np.outer(shares, self.amounts.sum(axis=0))
        weights = 1.0 / targets
        classes = int(self.cohort.labels.any(axis=0).sum())
        weights[:, :classes] = CLASS_WEIGHT / targets[:, :classes] ** 2
        return Balance(self.amounts[groups], targets, weights, prices)

    def _stratified(self, groups: np.ndarray, parts: int) -> np.ndarray:
        """The part of each group (len,) int by iterative stratification; ignores group sizes."""
        from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

        seed = int(self.rng.integers(2**31))
        splitter = MultilabelStratifiedKFold(n_splits=parts, shuffle=True, random_state=seed)
        has = self.amounts[groups] > 0
        part_of = np.zeros(len(groups), dtype=np.int64)
        for part, (_, held) in enumerate(splitter.split(groups, has)):
            part_of[held] = part
        return part_of
