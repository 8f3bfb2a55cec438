"""Groups given beside a dataset: a file that says which patient or group an image belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bench.data.faults import refuse
from bench.data.named import image_id_of
from bench.data.roster import FIELDS
from bench.data.tables import control_fault, read_lines, read_text
from bench.errors import DataError, listing
from bench.manifest import Manifest

UNITS = {"patient": "patient_id", "lesion": "lesion_id", "group": "group_id"}


@dataclass(frozen=True)
class Grouping:
    """Which group each of some images belongs to.

    column  what the groups are: `patient_id`, `lesion_id` or `group_id` (unsaid)
    """

    where: str
    column: str
    group_of: Mapping[str, str]


def read_grouping(path: Path) -> Grouping:
    """A CSV of two columns: the image, and its `patient_id`, `lesion_id` or `group_id`.

    Raises DataError that names the file and the line or the columns.
    """
    header, lines = read_lines(read_text(path, refuse), str(path), refuse)
    images = [name for name in FIELDS["image_id"] if name in header]
    groups = [name for unit, column in UNITS.items() for name in (column, unit) if name in header]
    if not images or len(groups) != 1:
        raise DataError(
            f"{path}: needs a column image_id and one of patient_id, lesion_id and group_id; "
            f"the header has {listing(header)}"
        )
    group_of: dict[str, str] = {}
    for line in lines:
        hidden = control_fault(line, (images[0], groups[0]))
        if hidden:
            refuse(hidden)
        image_id, group = image_id_of(line.cells[images[0]]), line.cells[groups[0]]
        if not image_id:
            raise DataError(f"{line.where}: the image id is empty; every row needs one")
        if group_of.setdefault(image_id, group) != group:
            raise DataError(f"{line.where}: {image_id} stands in two groups; keep one row an image")
    given = {image_id: group for image_id, group in group_of.items() if group}
    return Grouping(str(path), UNITS.get(groups[0], groups[0]), given)


def with_groups(manifest: Manifest, grouping: Grouping) -> Manifest:
    """The manifest with these groups: supplied where it has none, else joined with its own.

    What the source holds together stays together. Joined groups bear the smallest native id among
    them. Raises DataError for images that the dataset does not have.
    """
    table = manifest.table.copy()
    strange = sorted(grouping.group_of.keys() - set(table["image_id"]))
    if strange:
        raise DataError(
            f"{grouping.where}: names {len(strange)} images that {manifest.name or 'the data'} "
            f"does not have: {listing(strange)}; use the groups that belong to this dataset"
        )
    given = table["image_id"].map(grouping.group_of)
    free = table[grouping.column].isna()
    if grouping.column == "group_id":
        free &= table["patient_id"].isna() & table["lesion_id"].isna()
    table[grouping.column] = table[grouping.column].where(~free | given.isna(), given)
    supplied = replace(manifest, table=table)
    natives = pd.Series(supplied.native_groups)
    final = join_labels(natives, given)
    joined = final.groupby(final).transform(lambda ids: natives[ids.index].nunique()) > 1
    return replace(
        supplied, table=supplied.table.assign(group_id=table["group_id"].where(~joined, final))
    )


def join_labels(natives: pd.Series, given: pd.Series) -> pd.Series:
    """The smallest native id of what native groups and given ones (NaN: none) hold together."""
    known = given.notna()
    native_codes, names = pd.factorize(natives, sort=True)
    given_codes, _ = pd.factorize(given[known])
    size = len(names) + len(given)
    links = coo_array(
        ([True] * int(known.sum()), (native_codes[known], len(names) + given_codes)),
        shape=(size, size),
    )
    parts = pd.Series(connected_components(links, directed=False)[1][: len(names)])
    smallest = pd.Series(names).groupby(parts).transform("min")
    return pd.Series(smallest.to_numpy()[native_codes], index=natives.index, dtype=object)
