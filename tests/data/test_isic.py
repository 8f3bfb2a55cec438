"""The ISIC challenges and archive exports, in the dialects that people have them in."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.data.open import DatasetSpec, open_dataset
from bench.data.readers.csv_table import parse_columns
from bench.errors import DataError
from tests.real_data import BESIDE, HAM10000, needs_ham10000, needs_isic2020

TRUTH_2018 = (
    "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nI1,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nI2,1,0,0,0,0,0,0\n"
    "I3,1,0,0,0,0,0,0\n"
)
GROUPS_2018 = (
    "image,lesion_id,diagnosis_confirm_type\nI1,L1,serial imaging\nI2,L2,histopathology\n"
    "I3,L2,histopathology\n"
)
TRUTH_2019 = (
    "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nI1,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    "I2,0,0,0,0,0,0,0,1,0\nI3,0,0,0,0,0,0,0,1,0\n"
)
FACTS_2019 = (
    "image,age_approx,anatom_site_general,lesion_id,sex\nI1,55,anterior torso,,female\n"
    "I2,,head/neck,BCN_1,\nI3,0,head/neck,BCN_1,male\n"
)
ROWS_2020 = (
    "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
    "benign_malignant,target\nI1,P1,male,45.0,head/neck,unknown,benign,0\n"
    "I2,P1,male,45.0,torso,melanoma,malignant,1\nI3,P2,,,,nevus,benign,0\n"
)
EXPORT = (
    "isic_id,attribution,age_approx,sex,lesion_id,patient_id,diagnosis_1,diagnosis_3\n"
    "I1,here,55,male,IL_1,IP_1,Benign,Nevus\nI2,here,,,IL_2,,Malignant,Melanoma\n"
)


def put(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_2018_with_its_groupings_is_ham10000(tmp_path):
    folder = put(tmp_path / "a", ISIC2018_Task3_Training_GroundTruth=TRUTH_2018,
                 ISIC2018_Task3_Training_LesionGroupings=GROUPS_2018,
                 ISIC2018_Task3_Validation_GroundTruth=TRUTH_2018.replace("I1", "V1"))  # fmt: skip
    read = open_dataset(folder).manifest
    ham = put(tmp_path / "b", HAM10000_metadata="lesion_id,image_id,dx\nL2,I3,mel\nL2,I2,mel\n"
              "L1,I1,nv\n")  # fmt: skip
    plain = open_dataset(ham).manifest
    assert (read.name, read.classes) == (plain.name, plain.classes)
    assert read.roster_sha256 == plain.roster_sha256
    (folder / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()
    alone = open_dataset(folder).manifest
    assert (alone.name, alone.unit, alone.ungrouped) == ("isic2018", "image", 3)


def test_2019_joins_truth_and_details_by_id_and_counts_images_without_lesion(tmp_path):
    files = {"ISIC_2019_Training_GroundTruth": TRUTH_2019}
    folder = put(tmp_path, **files, ISIC_2019_Training_Metadata=FACTS_2019)
    manifest = open_dataset(folder).manifest
    assert manifest.name == "isic2019"
    assert manifest.table["label"].tolist() == ["nv", "scc", "scc"]
    assert manifest.native_groups.tolist() == ["I1", "BCN_1", "BCN_1"]
    assert manifest.ungrouped == 1
    assert manifest.table["source"].tolist()[1] == "bcn20000"
    assert manifest.table["age"].tolist()[0] == 55
    assert manifest.table["age"].isna().tolist() == [False, True, False]
    lines = FACTS_2019.splitlines()
    put(folder, ISIC_2019_Training_Metadata="\n".join([lines[0], *lines[:0:-1]]))
    assert open_dataset(folder).manifest.roster_sha256 == manifest.roster_sha256


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("I4,1,1,0,0,0,0,0,0,0", "I4 needs 1 in one class and 0 in the others: mel '1', nv"),
        ("I4,0,0,0,0,0,0,0,0,0", "line 5: I4 needs 1 in one class .*: no 1"),
        ("I4,0,0.5,0,0,0,0,0,0,0", "nv '0.5'"),
        (",0,1,0,0,0,0,0,0,0", "line 5: the image id is empty"),
        ("I1,0,1,0,0,0,0,0,0,0", "more than one row: I1"),
        ("I4,0,1,0,0,0,0,0,0,0,0", "line 5: has 11 cells, the header has 10"),
    ],
)
def test_a_ground_truth_that_is_none_is_refused_by_line(tmp_path, row, said):
    folder = put(tmp_path, ISIC_2019_Training_GroundTruth=f"{TRUTH_2019}{row}\n")
    with pytest.raises(DataError, match=f"ISIC_2019_Training_GroundTruth.*{said}"):
        open_dataset(folder)


@pytest.mark.parametrize("name", ["train", "ISIC_2020_Training_GroundTruth", "ISIC2020_train"])
def test_2020_is_benign_or_malignant_by_patient_in_every_dialect(tmp_path, name):
    manifest = open_dataset(put(tmp_path / "a", **{name: ROWS_2020})).manifest
    assert (manifest.name, manifest.unit, manifest.ungrouped) == ("isic2020", "patient", 0)
    assert manifest.classes == ("benign", "malignant")
    assert manifest.native_groups.tolist() == ["P1", "P1", "P2"]
    target = ROWS_2020.replace("benign_malignant,", "").replace("benign,", "")
    target = target.replace("malignant,", "").replace(",", "\t")
    assert open_dataset(put(tmp_path / "b", **{name: target})).manifest.roster_sha256 == (
        manifest.roster_sha256
    )


def test_2020_keeps_ids_as_text_and_knows_what_is_missing(tmp_path):
    (tmp_path / "jpeg").mkdir()
    rows = ROWS_2020.replace("I3,P2", "NA,").replace(",", ";")
    manifest = open_dataset(put(tmp_path / "jpeg", train=rows).parent).manifest
    assert manifest.ungrouped == 1
    assert manifest.native_groups.tolist() == ["P1", "P1", "NA"]
    assert manifest.table[["age", "sex"]].isna().to_numpy().tolist()[2] == [True, True]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("patient_id", "patient"), "no metadata found"),
        (("melanoma,malignant", "melanoma,maybe"), r"unknown diagnoses 'maybe' \(I2\)"),
        (("45.0", "450"), "line 2: age is '450'"),
        (("I1,", ","), "line 2: image_id is empty"),
        (("I2,", "I1,"), "in more than one row: I1"),
        (("malignant,1", "malignant,1,x"), "line 3: has 9 cells, the header has 8"),
    ],
)
def test_broken_metadata_of_2020_is_told_in_one_line(tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        open_dataset(put(tmp_path, train=ROWS_2020.replace(*change, 1)))


def test_2020_by_diagnosis_is_another_dataset(tmp_path):
    folder = put(tmp_path, train=ROWS_2020)
    chosen = DatasetSpec(folder, columns=parse_columns("label=diagnosis"))
    manifest = chosen.open(images=False).manifest
    assert manifest.name == "isic2020-diagnosis"
    assert manifest.classes == ("melanoma", "nevus", "unknown")


def test_an_archive_export_asks_which_diagnosis(tmp_path):
    folder = put(tmp_path / "My Export", metadata=EXPORT)
    with pytest.raises(DataError, match=r"diagnosis_1, diagnosis_3; .* --columns label=COLUMN"):
        open_dataset(folder)
    manifest = DatasetSpec(folder, columns={"label": "diagnosis_3"}).open().manifest
    assert manifest.name == "my-export"
    assert manifest.classes == ("melanoma", "nevus")
    assert manifest.native_groups.tolist() == ["IP_1", "IL_2"]
    put(folder, metadata=EXPORT.replace("Melanoma", ""))
    with pytest.raises(DataError, match="line 3: I2 has no label; remove its row"):
        DatasetSpec(folder, columns={"label": "diagnosis_3"}).open()


def test_a_folder_that_fits_several_datasets_is_refused(tmp_path):
    put(tmp_path, train=ROWS_2020, HAM10000_metadata="lesion_id,image_id,dx\nL1,I1,nv\n")
    with pytest.raises(DataError, match=r"several datasets fit: ham10000 .*; isic2020 .*train"):
        open_dataset(tmp_path)
    for layout in ("ham10000", "isic2020"):
        assert DatasetSpec(tmp_path, layout=layout).open().manifest.name == layout
    with pytest.raises(DataError, match="no metadata found; searched for ISIC_2019"):
        DatasetSpec(tmp_path, layout="isic2019").open()


@needs_ham10000
def test_ham10000_in_the_dialect_of_2018_has_the_frozen_roster(tmp_path):
    table = pd.read_csv(HAM10000 / "HAM10000_metadata.csv")
    truth = pd.get_dummies(table["dx"].str.upper(), dtype=float)
    truth.insert(0, "image", table["image_id"])
    truth.to_csv(tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv", index=False)
    groups = table.rename(columns={"image_id": "image", "dx_type": "diagnosis_confirm_type"})
    groups = groups[["image", "lesion_id", "diagnosis_confirm_type"]].sample(frac=1, random_state=0)
    groups.to_csv(tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv", index=False)
    assert (
        open_dataset(tmp_path).manifest.roster_sha256
        == open_dataset(HAM10000).manifest.roster_sha256
    )


@needs_isic2020
def test_the_real_challenges_have_the_published_counts():
    second = open_dataset(BESIDE.parent / "isic2019").manifest
    assert (len(second), second.ungrouped) == (25331, 2084)
    assert second.table["label"].value_counts()["mel"] == 4522
    third = open_dataset(BESIDE.parent / "isic2020").manifest
    assert (len(third), len(set(third.native_groups))) == (33126, 2056)
    assert third.table["label"].value_counts()["malignant"] == 584
