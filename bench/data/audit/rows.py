"""What is wrong with who is in a dataset: checks of a roster that may be faulty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from bench.data.faults import Fault
from bench.data.roster import Roster
from bench.errors import listing
from bench.manifest import Manifest, Record

SHOWN = 6


def check_rows(roster: Roster) -> Iterator[Fault]:
    """Every fault of a roster that lies in its rows."""
    table = roster.table()
    ids = Counter(table["image_id"])
    for image_id, times in ids.items():
        if times > 1:
            yield Fault("twice", image_id, f"{times} rows")
    known = set(roster.classes)
    for record in roster.records:
        if record.label not in known:
            yield Fault("label", record.image_id, repr(record.label))
    yield from _alike(sorted(set(table["label"])))
    yield from _torn(table, "torn lesion", "lesion_id", "label")
    yield from _torn(table, "torn site", "lesion_id", "localization")
    for column in ("patient_id", "lesion_id"):
        yield from _torn(table, "torn sex", column, "sex")
    yield from (Fault("age missing", i, "") for i in table["image_id"][table["age"].isna()])
    yield from (Fault("age zero", i, "") for i in table["image_id"][table["age"] == 0])


def _alike(labels: list[str]) -> Iterator[Fault]:
    by_letters: dict[str, list[str]] = {}
    for label in labels:
        by_letters.setdefault(label.casefold(), []).append(label)
    for several in by_letters.values():
        if len(several) > 1:
            yield Fault("alike", several[0], listing(several))


def _torn(table: pd.DataFrame, kind: str, owner: str, column: str) -> Iterator[Fault]:
    """Owners (lesions, patients) whose images differ in a column."""
    known = table.dropna(subset=[owner, column])
    counts = known.groupby(owner)[column].nunique()
    torn = known[known[owner].isin(counts.index[counts > 1])]
    for name, rows in torn.groupby(owner, sort=True):
        values = sorted(set(rows[column]))
        where = f"{owner.removesuffix('_id')} {name}"
        images = listing(rows["image_id"].tolist(), SHOWN)
        yield Fault(kind, where, f"{', '.join(values)} ({images})")


def usable(roster: Roster) -> Manifest:
    """A manifest of a faulty roster's rows, for looking at their images.

    Of several rows of one id the first is kept, every label is a class, and a lesion of two
    diagnoses is held together as a group. Raises DataError where no row is left.
    """
    table = roster.table()
    label_counts = table.dropna(subset=["lesion_id"]).groupby("lesion_id")["label"].nunique()
    torn = set(label_counts.index[label_counts > 1])
    kept: dict[str, Record] = {}
    for record in roster.records:
        fixed = record
        if record.lesion_id in torn:
            group = record.group_id or record.patient_id or record.lesion_id
            fixed = replace(record, group_id=group, lesion_id=None)
        kept.setdefault(record.image_id, fixed)
    labels = sorted({record.label for record in roster.records} | set(roster.classes))
    return replace(roster, records=tuple(kept.values()), classes=tuple(labels)).manifest()
