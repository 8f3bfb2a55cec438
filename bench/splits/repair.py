"""Moves and swaps of whole groups between parts until image counts are as even as they get.

Iterative stratification places groups by which attributes they have; it knows nothing of how many
images a group brings. This local search works on the image counts themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


def repair(part_of: np.ndarray, balance: Balance) -> np.ndarray:
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
