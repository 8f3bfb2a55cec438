"""Assign whole groups to parts so that every part has its share of every attribute value.

Greedy assignment over sparse counts: groups with a large share of a class first, each to the part
where it increases the cost least. Local search follows: sweeps of single moves and, up to
SWAP_LIMIT groups, sweeps of exchanges. The loops are compiled; time and memory grow linearly with
the number of images.

Cost: the sum over parts and attribute values of (count - share)^2 / share, in images. Classes have
ten times the weight, plus CLASS_WEIGHT times the squared relative deviation, so that rare classes
have priority; combinations of attributes have a tenth of the weight. Class by group size (1, 2, 3
or more images) is an attribute too, so that the number of groups is balanced as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bench.dataset import FOLD_AGES, Dataset, age_bands
from bench.errors import ProtocolError, RolesError, listing
from bench.folds.kernels import compiled
from bench.protocol import Split

CLASS_WEIGHT = 1000.0
CLASS_FACTOR = 10.0
JOINT_FACTOR = 0.1
LARGEST_SIZE_CLASS = 3
SWEEPS = 3
SWAP_SWEEPS = 200
SWAP_LIMIT = 20_000  # the largest number of groups for which exchanges are tried
PARTNERS = 24


@dataclass(frozen=True)
class GroupCounts:
    """Images of every group by attribute value, as sparse rows.

    ends (G,) end of each row, columns (E,) int32 attribute values, amounts (E,) images
    totals (A,) images of each attribute value; the first `classes` values are the classes
    factors (A,) relative weight of a deviation
    """

    ends: np.ndarray
    columns: np.ndarray
    amounts: np.ndarray
    totals: np.ndarray
    factors: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.ends)

    def rows(self, groups: np.ndarray) -> GroupCounts:
        """The rows of the groups (M,) int, in that order."""
        begins = np.concatenate([[0], self.ends[:-1]])[groups]
        sizes = self.ends[groups] - begins
        ends = np.cumsum(sizes)
        at = np.arange(int(ends[-1]) if len(ends) else 0)
        at += np.repeat(begins - (ends - sizes), sizes)
        columns, amounts = self.columns[at], self.amounts[at]
        totals = np.bincount(columns, amounts, minlength=len(self.totals))
        return replace(self, ends=ends, columns=columns, amounts=amounts, totals=totals)


def count_attributes(
    member: np.ndarray,
    labels: np.ndarray,
    further: Sequence[np.ndarray],
    joint: Sequence[np.ndarray] = (),
) -> GroupCounts:
    """Count the images of every group by attribute value.

    member (N,) group number of every image, 0 to G-1; each number occurs
    labels (N,) class numbers; further, joint: (N,) value numbers of each further attribute, and of
    each combination of attributes
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
    return GroupCounts(ends, columns[:filled], amounts[:filled], totals, factors, widths[0])


def assign_groups(
    counts: GroupCounts, shares: np.ndarray, rng: np.random.Generator, candidates: int = 1
) -> np.ndarray:
    """The part (G,) int64 of every group; part p gets shares[p] of the images.

    Returns the candidate with the lowest cost. With more than SWAP_LIMIT groups it draws one
    candidate only; all candidates have nearly the same cost there.
    """
    targets = np.outer(shares, counts.totals)
    even = np.where(targets > 0, targets, np.inf)  # a value without images has no cost
    weights = counts.factors / even
    weights[:, : counts.classes] += CLASS_WEIGHT / even[:, : counts.classes] ** 2
    best, lowest = np.zeros(len(counts), dtype=np.int64), np.inf
    for _ in range(candidates if 0 < len(counts) <= SWAP_LIMIT else min(1, len(counts))):
        deviations = -targets
        part_of = _candidate(counts, weights, deviations, rng)
        cost = float((weights * deviations**2).sum())
        if cost < lowest:
            best, lowest = part_of, cost
    return best


def _candidate(
    counts: GroupCounts, weights: np.ndarray, deviations: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The part of every group (G,) after one greedy pass and local search; updates deviations."""
    loops = compiled()
    part_of = np.full(len(counts), -1)
    rows = (counts.ends, counts.columns, counts.amounts, weights, deviations, part_of)
    order = rng.permutation(len(counts))
    loops.move(order[np.argsort(-_largest_class_share(counts)[order], kind="stable")], *rows)
    for _ in range(SWEEPS):
        if not loops.move(rng.permutation(len(counts)), *rows):
            break
    for _ in range(SWAP_SWEEPS if len(counts) <= SWAP_LIMIT else 0):
        order = rng.permutation(len(counts))
        partners = rng.integers(len(counts), size=(len(counts), PARTNERS))
        if not loops.move(order, *rows) + loops.swap(order, partners, *rows):
            break
    return part_of


def _largest_class_share(counts: GroupCounts) -> np.ndarray:
    """The largest share of any class's images that a group has (G,)."""
    of_class = counts.columns < counts.classes
    shares = np.where(of_class, counts.amounts / counts.totals[counts.columns], 0)
    begins = np.concatenate([[0], counts.ends[:-1]])
    return np.maximum.reduceat(shares, begins)


KEYS = ("label", "sex", "age", "localization", "source")
MISSING = "missing"


def stratify_by(dataset: Dataset, key: str) -> np.ndarray:
    """The attribute `key` of every image (N,) of str; ages as bands such as "30-44".

    Raises ProtocolError for a key that is not in KEYS.
    """
    if key not in KEYS:
        raise ProtocolError(f"split.stratify: unknown key {key!r}; known are {listing(list(KEYS))}")
    column = dataset.table[key]
    if key == "age":
        column = age_bands(column, FOLD_AGES, "{}-{}", "{}+")
    return np.where(column.isna(), MISSING, column.astype(str)).astype(object)


JOINT = ("sex", "age", "localization")
"""Attributes whose combinations are balanced too if the split stratifies by all of them."""


class Cohort:
    """The groups of a dataset and the images in them.

    member (N,) number of each image's group, 0 to G-1; groups: counts by attribute value
    images (G,) images of each group; labels (G, C) images of each group by class
    """

    def __init__(self, dataset: Dataset, split: Split, group_ids: np.ndarray) -> None:
        self.dataset = dataset
        self.classes = dataset.classes
        self.member: np.ndarray = numbers(group_ids)
        keys = [key for key in split.stratify if key != "label"]
        further = {key: numbers(stratify_by(dataset, key)) for key in keys}
        joint = [_combined([further[key] for key in JOINT])] if set(JOINT) <= set(keys) else []
        self.groups: GroupCounts = count_attributes(
            self.member, dataset.labels, list(further.values()), joint
        )
        self.images = np.bincount(self.member)
        self.labels = self.count(dataset.labels, len(self.classes))

    def count(self, values: np.ndarray, kinds: int = 0) -> np.ndarray:
        """Images of every group by value (G, V), with at least `kinds` columns.

        values (N,): numbers from 0.
        """
        shape = (len(self.images), max(kinds, int(values.max()) + 1))
        flat = np.ravel_multi_index((self.member, values), shape)
        return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)

    def assign(
        self, groups: np.ndarray, shares: np.ndarray, rng: np.random.Generator, candidates: int = 1
    ) -> np.ndarray:
        """The part (M,) of each group in `groups`; see `assign_groups`."""
        return assign_groups(self.groups.rows(groups), shares, rng, candidates)

    def sample(self, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """A balanced sample of `groups` with this share of their images; all groups from 1 on."""
        if share >= 1:
            return groups
        part_of = self.assign(groups, np.array([1 - share, share]), rng)
        return np.asarray(groups[part_of == 1])

    def missing(self, groups: np.ndarray) -> Iterator[int]:
        """Classes of the dataset without an image in these groups."""
        present = self.labels.any(axis=0)
        yield from np.flatnonzero(present & ~self.labels[groups].any(axis=0)).tolist()

    def with_every_class(self, chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The chosen groups; for each class they lack, the smallest other group that has it."""
        for code in list(self.missing(chosen)):
            holders = others[self.labels[others, code] > 0]
            if len(holders):
                smallest = holders[np.argmin(self.images[holders])]
                chosen = np.append(chosen, smallest)
        return chosen

    def refuse_few_groups(self, needed: int, what: str) -> None:
        """Raise RolesError if a class with images has fewer groups than needed."""
        counts = (self.labels > 0).sum(axis=0)
        few = [
            f"{name} has {count}"
            for name, count in zip(self.classes, counts, strict=True)
            if 0 < count < needed
        ]
        if few:
            raise RolesError(
                f"{what} {needed} groups of every class, but {listing(few)}; "
                "use fewer folds or merge classes"
            )


def numbers(values: np.ndarray) -> np.ndarray:
    """Each value as its rank (N,) among the sorted distinct values."""
    return np.asarray(pd.factorize(values, sort=True)[0])


def _combined(attributes: list[np.ndarray]) -> np.ndarray:
    """The combination of several attributes as one number (N,)."""
    shape = [int(each.max()) + 1 for each in attributes]
    return np.unique(np.ravel_multi_index(attributes, shape), return_inverse=True)[1]


Pair = tuple[str, str]


def join_groups(dataset: Dataset, duplicates: Iterable[Pair] = ()) -> np.ndarray:
    """The final group id of every image (N,) of str, in the order of the dataset.

    Two native groups are joined by a pair of `duplicates` (image ids), or by a lesion with images
    in both (some of its images lack a patient id). Joined groups get the smallest of their native
    ids. Raises RolesError for unknown image ids.
    """
    natives, names = pd.factorize(dataset.native_groups, sort=True)
    row = pd.Index(dataset.image_ids)
    ends = np.array(list(duplicates), dtype=object).reshape(-1, 2)
    pairs = row.get_indexer(pd.Index(ends.ravel())).reshape(-1, 2)
    if (pairs < 0).any():
        raise RolesError(
            f"the list of duplicates names images that {dataset.name} does not have: "
            f"{listing(sorted(set(ends[pairs < 0].tolist())))}; use the list that belongs to this "
            "dataset"
        )
    lesions = pd.factorize(dataset.table["lesion_id"])[0]
    known = lesions >= 0
    firsts = pd.Series(natives[known]).groupby(lesions[known]).transform("first")
    links = np.concatenate([natives[pairs], np.stack([natives[known], firsts], axis=1)])
    graph = sparse.coo_array((np.ones(len(links)), links.T), shape=(len(names), len(names)))
    tree = connected_components(graph, directed=False)[1]
    smallest = np.unique(tree, return_index=True)[1]
    joined: np.ndarray = np.asarray(names, dtype=object)[smallest[tree[natives]]]
    return joined
