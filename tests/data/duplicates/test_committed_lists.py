"""The committed lists of HAM10000's duplicates: what is frozen is joined, what was missed not."""

from __future__ import annotations

import csv
import io

import pytest

from bench.data.duplicates.near import DuplicatePair, Duplicates
from tests.conftest import ROOT

FOLDER = ROOT / "protocols" / "groupkfold5"


def groups() -> dict[str, str]:
    text = (FOLDER / "ham10000.csv").read_text().partition("\n")[2]
    return {row["image_id"]: row["group_id"] for row in csv.DictReader(io.StringIO(text))}


def listed(name: str) -> Duplicates:
    with (FOLDER / name).open(newline="") as stream:
        rows = [
            row | {key: kind(row[key]) for key, kind in NUMBERS.items()}
            for row in csv.DictReader(stream)
        ]
    pairs = tuple(DuplicatePair(**row) for row in rows)
    return Duplicates(pairs, len(pairs), 0, 0, (), "read from a list")


NUMBERS = {"phash_distance": int, "inliers": int, "correlation": float}


@pytest.mark.parametrize(
    ("name", "count", "apart"),
    [("ham10000_duplicates.csv", 120, 0), ("ham10000_duplicates_missed.csv", 4, 4)],
)
def test_frozen_groups_join_the_list_and_not_what_it_missed(name: str, count: int, apart: int):
    found = listed(name)
    assert len(found.pairs) == count
    assert list(found.pairs) == sorted(found.pairs)
    assert len(found.apart(groups())) == apart
