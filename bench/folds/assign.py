"""Assign whole groups to parts so that every part holds its share of everything.

A greedy over sparse counts, rare and large groups first: each group goes where it adds least to the
cost. Then sweeps of single moves and, on rosters small enough for it to matter, of exchanges. All
loops are compiled, their work grows with the images, and they keep nothing that is larger.

The cost is the criterion throughout: over all parts and attributes, (count - share)^2 / share in
images; ten times that for classes and CLASS_WEIGHT times the squared relative deviation on top, so
that rare classes come first; a tenth of it for what several attributes make together. Images by
class and size of their group (1, 2, 3 or more) are an attribute, so that groups are even, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bench.dataset import Dataset
from bench.errors import ProtocolError, RolesError, listing
from bench.folds.kernels import compiled
from bench.protocol import Split

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


def assign_groups(
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


KEYS = ("label", "sex", "age", "localization", "source")
AGE_EDGES = (0, 30, 45, 60, 75)
MISSING = "missing"


def strata(manifest: Dataset, key: str) -> np.ndarray:
    """The attribute `key` of every image (N,) of str; ages fall into bands of years.

    Raises ProtocolError for a key that is none of KEYS.
    """
    if key not in KEYS:
        raise ProtocolError(f"split.stratify: unknown key {key!r}; known are {listing(list(KEYS))}")
    column = manifest.table[key]
    if key == "age":
        column = _age_bands(column)
    return np.where(column.isna(), MISSING, column.astype(str)).astype(object)


def _age_bands(years: pd.Series) -> pd.Series:
    lows, highs = AGE_EDGES, (*AGE_EDGES[1:], None)
    names = [
        f"{low}+" if high is None else f"{low}-{high - 1}"
        for low, high in zip(lows, highs, strict=True)
    ]
    edges = [*map(float, AGE_EDGES), np.inf]
    return pd.cut(years.astype(np.float64), edges, right=False, labels=names).astype(object)


JOINT = ("sex", "age", "localization")
"""Attributes that are balanced in combination too, where a split stratifies by all of them."""


class Cohort:
    """The groups of a manifest, with what they hold.

    member (N,) number of each image's group, 0 to G-1; groups: what each of the G holds
    images (G,) images of each; labels (G, C) how many of each class
    manifest: whose groups they are
    """

    def __init__(self, manifest: Dataset, split: Split, group_ids: np.ndarray) -> None:
        self.manifest = manifest
        self.classes = manifest.classes
        self.member: np.ndarray = numbers(group_ids)
        keys = [key for key in split.stratify if key != "label"]
        further = {key: numbers(strata(manifest, key)) for key in keys}
        joint = [_combined([further[key] for key in JOINT])] if set(JOINT) <= set(keys) else []
        self.groups: Sparse = gather(self.member, manifest.labels, list(further.values()), joint)
        self.images = np.bincount(self.member)
        self.labels = self.count(manifest.labels, len(self.classes))

    def count(self, values: np.ndarray, kinds: int = 0) -> np.ndarray:
        """How many images of each value, of at least so many kinds, every group holds (G, V).

        values (N,): numbers from 0.
        """
        shape = (len(self.images), max(kinds, int(values.max()) + 1))
        flat = np.ravel_multi_index((self.member, values), shape)
        return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)

    def deal(
        self, groups: np.ndarray, shares: np.ndarray, rng: np.random.Generator, candidates: int = 1
    ) -> np.ndarray:
        """The part (M,) of each of these groups, evenly, the best of some candidates."""
        return assign_groups(self.groups.rows(groups), shares, rng, candidates)

    def draw(self, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """A share of these groups (M,), even in everything; all of them where it is 1 or more."""
        if share >= 1:
            return groups
        part_of = self.deal(groups, np.array([1 - share, share]), rng)
        return np.asarray(groups[part_of == 1])

    def missing(self, groups: np.ndarray) -> Iterator[int]:
        """Classes of the dataset of which these groups hold no image."""
        everyone = self.labels.any(axis=0)
        yield from np.flatnonzero(everyone & ~self.labels[groups].any(axis=0)).tolist()

    def with_every_class(self, chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The chosen groups and, for each class they lack, the smallest of the others with it."""
        for code in list(self.missing(chosen)):
            holders = others[self.labels[others, code] > 0]
            if len(holders):
                smallest = holders[np.argmin(self.images[holders])]
                chosen = np.append(chosen, smallest)
        return chosen

    def refuse_few_groups(self, needed: int, what: str) -> None:
        """Raise RolesError where a class that is there has fewer groups than needed."""
        found = (self.labels > 0).sum(axis=0)
        few = [
            f"{name} has {count}"
            for name, count in zip(self.classes, found, strict=True)
            if 0 < count < needed
        ]
        if few:
            raise RolesError(
                f"{what} {needed} groups of every class, but {listing(few)}; "
                "use fewer folds or merge classes"
            )


def numbers(values: np.ndarray) -> np.ndarray:
    """Values as numbers (N,) in the order of their names."""
    return np.asarray(pd.factorize(values, sort=True)[0])


def _combined(attributes: list[np.ndarray]) -> np.ndarray:
    """The combination of several attributes (N,) as one number."""
    shape = [int(each.max()) + 1 for each in attributes]
    return np.unique(np.ravel_multi_index(attributes, shape), return_inverse=True)[1]


Pair = tuple[str, str]


def join_groups(manifest: Dataset, duplicates: Iterable[Pair] = ()) -> np.ndarray:
    """The final group id of every image (N,) of str, in the manifest's order.

    A native group keeps its id; joined ones bear the smallest native id among them. Two native
    groups are joined by a pair of `duplicates` (image ids) and by a lesion that stands in both, as
    where only some of its images have a patient id. Raises RolesError for unknown image ids.
    """
    natives, names = pd.factorize(manifest.native_groups, sort=True)
    row = pd.Index(manifest.image_ids)
    ends = np.array(list(duplicates), dtype=object).reshape(-1, 2)
    pairs = row.get_indexer(pd.Index(ends.ravel())).reshape(-1, 2)
    if (pairs < 0).any():
        raise RolesError(
            f"the list of duplicates names images that {manifest.name} does not have: "
            f"{listing(sorted(set(ends[pairs < 0].tolist())))}; use the list that belongs to this "
            "dataset"
        )
    lesions = pd.factorize(manifest.table["lesion_id"])[0]
    known = lesions >= 0
    firsts = pd.Series(natives[known]).groupby(lesions[known]).transform("first")
    links = np.concatenate([natives[pairs], np.stack([natives[known], firsts], axis=1)])
    graph = sparse.coo_array((np.ones(len(links)), links.T), shape=(len(names), len(names)))
    tree = connected_components(graph, directed=False)[1]
    smallest = np.unique(tree, return_index=True)[1]
    joined: np.ndarray = np.asarray(names, dtype=object)[smallest[tree[natives]]]
    return joined
