"""What must never be divided: native groups, joined where a lesion or a duplicate links them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.errors import RolesError, listing
from bench.manifest import Manifest

Pair = tuple[str, str]


def join_groups(manifest: Manifest, duplicates: Iterable[Pair] = ()) -> np.ndarray:
    """The final group id of every image (N,) of str, in the manifest's order.

    A native group keeps its id; joined ones bear the smallest native id among them. Two native
    groups are joined by a pair of `duplicates` (image ids) and by a lesion that stands in both, as
    where only some of its images have a patient id. Raises RolesError for unknown image ids.
    """
    natives = manifest.native_groups
    forest = _Forest(sorted(set(natives.tolist())))
    row = {image_id: at for at, image_id in enumerate(manifest.image_ids.tolist())}
    pairs = list(duplicates)
    unknown = sorted({image_id for pair in pairs for image_id in pair if image_id not in row})
    if unknown:
        raise RolesError(
            f"the list of duplicates names images that {manifest.name} does not have: "
            f"{listing(unknown)}; use the list that belongs to this dataset"
        )
    for first, second in pairs:
        forest.join(natives[row[first]], natives[row[second]])
    first_of: dict[str, str] = {}
    lesions = manifest.table["lesion_id"]
    for native, lesion in zip(natives[lesions.notna()], lesions.dropna(), strict=True):
        forest.join(native, first_of.setdefault(lesion, native))
    return np.array([forest.root(native) for native in natives], dtype=object)


class _Forest:
    """Union-find whose roots are the smallest names of their trees."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def root(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        small, large = sorted((self.root(one), self.root(other)))
        self._parent[large] = small
