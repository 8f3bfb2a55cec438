"""The groups of a manifest as the dealing sees them, and what must be in every part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bench.errors import RolesError, listing
from bench.manifest import Manifest
from bench.protocol import Split
from bench.splits.dealer import Sparse, deal, gather
from bench.splits.strata import strata

JOINT = ("sex", "age", "localization")
"""Attributes that are balanced in combination too, where a split stratifies by all of them."""


class Cohort:
    """The groups of a manifest, with what they hold.

    member (N,) number of each image's group, 0 to G-1; groups: what each of the G holds
    images (G,) images of each; labels (G, C) how many of each class
    manifest: whose groups they are
    """

    def __init__(self, manifest: Manifest, split: Split, group_ids: np.ndarray) -> None:
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
        return deal(self.groups.rows(groups), shares, rng, candidates)

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
