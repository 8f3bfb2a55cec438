"""The balance table against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.dataset import Dataset, Record
from bench.errors import ProtocolError
from bench.folds.assign import stratify_by
from bench.folds.balance import balance_markdown, balance_table
from bench.folds.kinds import freeze
from bench.protocol import Roles
from tests.folds.cohorts import random_manifest, small_split


@pytest.fixture
def manifest() -> Dataset:
    """Three melanomas of one lesion, one nevus of each of two lesions."""
    ages = (80.0, 80.0, 80.0, None, 29.0)
    labels, lesions = ("mel", "mel", "mel", "nv", "nv"), ("A", "A", "A", "B", "C")
    rows = zip(range(5), labels, lesions, ages, strict=True)
    records = [Record(f"I{at}", label, lesion, age=age) for at, label, lesion, age in rows]
    return Dataset.from_records("five", ("df", "mel", "nv"), records)


@pytest.fixture
def roles(manifest: Dataset) -> Roles:
    parts = np.array([[3, 1], [3, 1], [3, 1], [1, 3], [3, 2]], dtype=np.uint8)
    groups = np.array(["A", "A", "A", "B", "C"], dtype=object)
    return Roles(manifest.roster_sha256, manifest.image_ids, groups, parts)


def test_a_table_drawn_by_hand(manifest: Dataset, roles: Roles) -> None:
    rows = balance_table(roles, manifest).set_index(["attribute", "value"])
    mel, nevi = rows.loc[("class", "mel")], rows.loc[("class", "nv")]
    assert mel[["images", "groups", "images0", "images1", "groups0", "groups1"]].tolist() == [
        3, 1, 3, 0, 1, 0,
    ]  # fmt: skip
    assert mel["deviation"] == 1.0
    assert mel["one_group"] == 2.0
    assert nevi[["images0", "images1"]].tolist() == [1, 1]
    assert nevi["deviation"] == 0.0
    assert ("class", "df") not in rows.index
    assert rows.loc[("age", "missing"), "images"] == 1
    assert rows.loc[("age", "75+"), "images"] == 3
    assert rows.loc[("age", "0-29"), "images"] == 1


def test_markdown_shows_images_with_groups_and_the_deviation(
    manifest: Dataset, roles: Roles
) -> None:
    lines = balance_markdown(balance_table(roles, manifest)).splitlines()
    assert lines[0] == "| attribute | value | all | fold 0 | fold 1 | off by |"
    assert lines[2] == "| class | mel | 3 (1) | 3 (1) | 0 (0) | 100.0% |"


def test_many_columns_are_shown_by_their_extremes() -> None:
    manifest = random_manifest(0)
    roles = freeze(manifest, small_split(repeats=3))
    lines = balance_markdown(balance_table(roles, manifest)).splitlines()
    assert lines[0] == "| attribute | value | all | fewest | most | off by |"


def test_val_and_train_can_be_shown_too() -> None:
    manifest = random_manifest(1)
    roles = freeze(manifest, small_split())
    for part in ("train", "val", "test"):
        table = balance_table(roles, manifest, part)
        classes = table[table["attribute"] == "class"]
        for fold in range(5):
            assert classes[f"images{fold}"].sum() == len(roles.rows(fold, part))


def test_a_value_that_a_part_lacks_has_no_deviation(manifest: Dataset, roles: Roles) -> None:
    table = balance_table(roles, manifest, "val").set_index(["attribute", "value"])
    assert np.isnan(table.loc[("class", "mel"), "deviation"])
    assert "n/a" in balance_markdown(balance_table(roles, manifest, "val"))


def test_an_unknown_attribute_is_refused(manifest: Dataset) -> None:
    with pytest.raises(ProtocolError, match="unknown key 'dx_type'"):
        stratify_by(manifest, "dx_type")
