"""Dealing whole groups onto parts so that every part holds its share of everything.

A greedy over sparse counts, rare and large groups first: each group goes where it adds least to the
cost. Then sweeps of single moves and, on rosters small enough for it to matter, of exchanges. All
loops are compiled, their work grows with the images, and they keep nothing that is larger.

The cost is the criterion throughout: over all parts and attributes, (count - share)^2 / share in
images; ten times that for classes and CLASS_WEIGHT times the squared relative deviation on top, so
that rare classes come first; a tenth of it for what several attributes make together. Images by
class and size of their group (1, 2, 3 or more) are an attribute, so that groups are even, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.splits.loops import compiled

CLASS_WEIGHT = 1000.0
CLASS_FACTOR = 10.0
JOINT_FACTOR = 0.1
LARGEST_SIZE_CLASS = 3
SWEEPS = 3
FINE_SWEEPS = 200
FINE = 20_000  # groups up to which exchanges are sought
PARTNERS = 24


@dataclass(frozen=True)
class Sparse:
    """What every group brings, as sparse rows: how many images of each attribute.

    ends (G,), columns (E,) int32, amounts (E,)
    totals (A,) images of each attribute; the first `classes` of them are the classes
    factors (A,) what a deviation costs, relative to others
    """

    ends: np.ndarray
    columns: np.ndarray
    amounts: np.ndarray
    totals: np.ndarray
    factors: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.ends)

    def rows(self, groups: np.ndarray) -> Sparse:
        """The same for some of the groups (M,) int, in that order."""
        begins = np.concatenate([[0], self.ends[:-1]])[groups]
        sizes = self.ends[groups] - begins
        ends = np.cumsum(sizes)
        at = np.arange(int(ends[-1]) if len(ends) else 0)
        at += np.repeat(begins - (ends - sizes), sizes)
        columns, amounts = self.columns[at], self.amounts[at]
        totals = np.bincount(columns, amounts, minlength=len(self.totals))
        return replace(self, ends=ends, columns=columns, amounts=amounts, totals=totals)


def gather(
    member: np.ndarray,
    labels: np.ndarray,
    further: Sequence[np.ndarray],
    joint: Sequence[np.ndarray] = (),
) -> Sparse:
    """Count what every group holds.

    member (N,) group number of every image, 0 to G-1, each of them met
    labels (N,) class numbers; further, joint: (N,) value numbers of each further attribute, and of
    what several of them make together
    """
    member = np.asarray(member, dtype=np.int32)
    groups = int(member.max()) + 1
    sizes = np.minimum(np.bincount(member), LARGEST_SIZE_CLASS).astype(np.int32)[member] - 1
    by_size = labels.astype(np.int32) * LARGEST_SIZE_CLASS + sizes
    keys = [labels, np.zeros(len(member), dtype=np.int32), by_size, *further, *joint]
    widths = [int(key.max()) + 1 for key in keys]
    offsets = np.cumsum([0, *widths])
    codes = np.empty((len(keys), len(member)), dtype=np.int32)
    for row, (key, offset) in enumerate(zip(keys, offsets[:-1], strict=True)):
        np.add(key, offset, out=codes[row], casting="unsafe")
    kinds = [CLASS_FACTOR, *[1.0] * (len(keys) - 1 - len(joint)), *[JOINT_FACTOR] * len(joint)]
    columns = np.empty(codes.size, dtype=np.int32)
    amounts = np.empty(codes.size)
    ends = np.empty(groups, dtype=np.int64)
    order = np.argsort(member, kind="stable").astype(np.int32)
    filled = compiled().gather(order, member, codes, ends, columns, amounts)
    totals = np.bincount(columns[:filled], amounts[:filled], minlength=int(offsets[-1]))
    factors = np.repeat(kinds, widths)
    return Sparse(ends, columns[:filled], amounts[:filled], totals, factors, widths[0])


def deal(
    cohort: Sparse, shares: np.ndarray, rng: np.random.Generator, candidates: int = 1
) -> np.ndarray:
    """The part (G,) int64 of every group, where part p is to hold shares[p] of everything.

    Of several candidates the one with the lowest cost; on rosters too large for exchanges one is
    drawn, for they all come out alike.
    """
    targets = np.outer(shares, cohort.totals)
    even = np.where(targets > 0, targets, np.inf)  # what nobody has costs nothing
    weights = cohort.factors / even
    weights[:, : cohort.classes] += CLASS_WEIGHT / even[:, : cohort.classes] ** 2
    best, lowest = np.zeros(len(cohort), dtype=np.int64), np.inf
    for _ in range(candidates if 0 < len(cohort) <= FINE else min(1, len(cohort))):
        deviations = -targets
        part_of = _candidate(cohort, weights, deviations, rng)
        cost = float((weights * deviations**2).sum())
        if cost < lowest:
            best, lowest = part_of, cost
    return best


def _candidate(
    cohort: Sparse, weights: np.ndarray, deviations: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One dealing (G,), rare and large groups first; changes the deviations in place."""
    loops = compiled()
    part_of = np.full(len(cohort), -1)
    rows = (cohort.ends, cohort.columns, cohort.amounts, weights, deviations, part_of)
    turns = rng.permutation(len(cohort))
    loops.move(turns[np.argsort(-_weight(cohort)[turns], kind="stable")], *rows)
    for _ in range(SWEEPS):
        if not loops.move(rng.permutation(len(cohort)), *rows):
            break
    for _ in range(FINE_SWEEPS if len(cohort) <= FINE else 0):
        turns = rng.permutation(len(cohort))
        partners = rng.integers(len(cohort), size=(len(cohort), PARTNERS))
        if not loops.move(turns, *rows) + loops.swap(turns, partners, *rows):
            break
    return part_of


def _weight(cohort: Sparse) -> np.ndarray:
    """How much hangs on a group (G,): the largest share of any class that it holds."""
    of_class = cohort.columns < cohort.classes
    shares = np.where(of_class, cohort.amounts / cohort.totals[cohort.columns], 0)
    begins = np.concatenate([[0], cohort.ends[:-1]])
    return np.maximum.reduceat(shares, begins)
