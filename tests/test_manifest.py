"""The roster: who is in it, whatever the order; what cannot be in it."""

import hashlib

import pandas as pd
import pytest

from bench.dataset import COLUMNS, Dataset, Record
from bench.errors import DataError
from tests.conftest import CLASSES, small_records


def test_the_roster_hash_is_the_one_of_the_definition_in_any_row_order():
    records = small_records(4)
    lines = sorted(f"{r.image_id},{r.lesion_id},{r.label}\n" for r in records)
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    for order in (records, records[::-1]):
        assert Dataset.from_records("d", CLASSES, order).roster_sha256 == expected


def test_the_native_group_is_patient_else_lesion_else_image():
    records = [
        Record("a", "nv", lesion_id="L1", patient_id="P1"),
        Record("b", "nv", lesion_id="L2"),
        Record("c", "mel"),
    ]
    manifest = Dataset.from_records("d", CLASSES, records)
    assert manifest.native_groups.tolist() == ["P1", "L2", "c"]
    assert manifest.unit == "patient"
    assert manifest.ungrouped == 1


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Record("IMG_000_0", "mel"), "more than one row: IMG_000_0"),
        (Record("z", "melanoma"), r"unknown diagnoses 'melanoma' \(z\)"),
        (Record("z", "nv", lesion_id="L000"), "lesions with two diagnoses: L000"),
    ],
)
def test_a_broken_roster_names_its_offenders(record, said):
    with pytest.raises(DataError, match=said):
        Dataset.from_records("d", CLASSES, [*small_records(), record])


def test_a_method_sees_age_sex_and_site_of_an_image_and_nothing_else(small_manifest):
    (record,) = small_manifest.unlabelled(small_manifest.image_ids == "IMG_001_0")
    assert (record.image_id, record.age, record.sex, record.localization) == (
        "IMG_001_0", 41.0, "female", "back",
    )  # fmt: skip
    assert set(type(record).__slots__) == {"image_id", "age", "sex", "localization"}


def test_a_table_without_a_column_is_refused():
    table = pd.DataFrame({name: ["a"] for name in COLUMNS if name != "sex"})
    with pytest.raises(DataError, match="lacks the columns sex"):
        Dataset("d", "d", CLASSES, table)
