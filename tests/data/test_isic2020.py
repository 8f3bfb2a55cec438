"""ISIC 2020's metadata, as Kaggle and ISIC serve it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from bench.data.isic2020 import parse_isic2020, read_isic2020
from bench.data.sources import open_source
from bench.errors import DataError
from tests.real_data import ISIC2020, needs_isic2020

TEXT = """\
image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target
ISIC_0000001,IP_1,male,45.0,head/neck,unknown,benign,0
ISIC_0000002,IP_1,female,,,melanoma,malignant,1
NA,,,70,torso,nevus,benign,0
"""


def test_a_row_is_an_image_of_a_patient() -> None:
    manifest = parse_isic2020(TEXT, "train.csv")
    table = manifest.table.set_index("image_id")
    assert (manifest.name, manifest.unit, manifest.ungrouped) == ("isic2020", "patient", 1)
    assert manifest.classes == ("benign", "malignant")
    assert table.loc["ISIC_0000001", ["patient_id", "age", "localization"]].tolist() == [
        "IP_1",
        45.0,
        "head/neck",
    ]
    assert pd.isna(table["age"]["ISIC_0000002"])
    assert manifest.native_groups.tolist() == ["IP_1", "IP_1", "NA"]


def test_row_order_dialect_and_further_columns_leave_the_roster(tmp_path: Path) -> None:
    head, *rows = TEXT.splitlines()
    turned = "\n".join([f"{head},tfrecord", *(f"{row},7" for row in reversed(rows))])
    (tmp_path / "jpeg").mkdir()
    (tmp_path / "jpeg" / "train.csv").write_text(turned.replace(",", ";"))
    manifest = open_source(tmp_path).manifest
    assert manifest.roster_sha256 == parse_isic2020(TEXT, "x").roster_sha256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("benign_malignant", "label"), "missing columns: benign_malignant"),
        (("patient_id", "patient"), "missing columns: patient_id"),
        (("malignant,1", "maybe,1"), "unknown diagnoses 'maybe' .ISIC_0000002."),
        (("45.0", "450"), "line 2: age_approx is '450'"),
        (("ISIC_0000001,", ","), "line 2: image_name is empty"),
        (("ISIC_0000002", "ISIC_0000001"), "in more than one row: ISIC_0000001"),
        (("malignant,1", "malignant,1,x"), "line 3 has 9 cells, the header has 8"),
    ],
)
def test_a_broken_file_is_told_in_one_line(change: tuple[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        parse_isic2020(TEXT.replace(*change, 1), "train.csv")
    assert str(caught.value).startswith("train.csv")
    with pytest.raises(DataError, match="no rows below the header"):
        parse_isic2020(TEXT.splitlines()[0], "train.csv")


@needs_isic2020
def test_the_real_file_has_its_known_numbers() -> None:
    manifest = read_isic2020(ISIC2020)
    counts = Counter(manifest.table["label"])
    assert (len(manifest), counts["malignant"]) == (33_126, 584)
    assert len(set(manifest.native_groups)) == 2_056
    raw = pd.read_csv(ISIC2020)
    assert (raw["diagnosis"] == "melanoma").sum() == (raw["target"] == 1).sum() == 584
