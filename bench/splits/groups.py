"""What must never be divided: native groups, joined where a lesion or a duplicate links them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bench.errors import RolesError, listing
from bench.manifest import Manifest

Pair = tuple[str, str]


def join_groups(manifest: Manifest, duplicates: Iterable[Pair] = ()) -> np.ndarray:
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
