"""HAM10000's metadata, in every dialect that people have it in, and broken in every usual way."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.open import open_dataset
from bench.data.readers.ham10000 import CLASSES, parse_metadata, read_ham10000
from bench.errors import DataError
from tests.real_data import HAM10000, needs_ham10000

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"
ROWS = (
    "HAM_1,ISIC_2,bkl,histo,80.0,male,scalp",
    "HAM_1,ISIC_1,bkl,histo,80.0,male,scalp",
    "HAM_2,ISIC_3,nv,follow_up,,unknown,unknown",
)
KAGGLE = "\n".join([HEADER, *ROWS]) + "\n"
DATAVERSE = "\n".join([f"{HEADER},dataset", *(f"{row},vidir_modern" for row in ROWS)]) + "\n"


def quoted(text: str) -> str:
    return "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.split("\n"))


@pytest.mark.parametrize(
    "text",
    [
        KAGGLE,
        DATAVERSE,
        quoted(DATAVERSE.strip()),
        DATAVERSE.replace(",", "\t"),
        quoted(DATAVERSE.strip()).replace('","', '"\t"'),
        KAGGLE.replace(",", ";"),
        "\ufeff" + KAGGLE,
        "\ufeff" + KAGGLE.replace("\n", "\r\n"),
        KAGGLE + "\n\n",
        "\n".join([HEADER, *reversed(ROWS)]),
    ],
    ids=["kaggle", "dataverse", "quoted", "tab", "quoted tab", "semicolon", "bom", "crlf", "blank",
         "other order"],
)  # fmt: skip
def test_every_dialect_gives_the_same_roster(text: str) -> None:
    read, plain = parse_metadata(text, "file"), parse_metadata(KAGGLE, "file")
    assert read.roster_sha256 == plain.roster_sha256
    columns = ["image_id", "label", "lesion_id", "age", "sex", "localization", "dx_type"]
    assert read.table[columns].equals(plain.table[columns])


def test_missing_values_are_none_and_ids_stay_text() -> None:
    text = f"{HEADER}\nNA,007,nv,histo,nan,unknown,unknown\nnan,08,mel,histo,NA,,back\n"
    table = parse_metadata(text, "file").table
    assert table["lesion_id"].tolist() == ["NA", "nan"]
    assert table["image_id"].tolist() == ["007", "08"]
    assert table["age"].isna().all()
    assert table["sex"].tolist() == [None, None]
    assert table["localization"].tolist() == [None, "back"]
    assert table["patient_id"].tolist() == [None, None]


def test_a_patient_id_makes_patients_the_groups() -> None:
    text = "patient_id," + KAGGLE.replace("\nHAM", "\nP1,HAM")
    manifest = parse_metadata(text, "file")
    assert manifest.unit == "patient"
    assert set(manifest.native_groups) == {"P1"}
    assert parse_metadata(KAGGLE, "file").unit == "lesion"


@pytest.mark.parametrize(
    "place",
    [
        "HAM10000_metadata.csv",
        "HAM10000_metadata",
        "HAM10000_metadata.tab",
        "dataverse_files/HAM10000_metadata",
        "a/b/c/ham10000_metadata.csv",
    ],
)
def test_metadata_is_found_where_people_have_it(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text(DATAVERSE, encoding="utf-8")
    source = open_dataset(tmp_path, "another name")
    assert source.folder == tmp_path
    assert source.manifest.name == "ham10000"
    assert source.manifest.classes == CLASSES
    assert source.manifest.native_size == (600, 450)
    assert "NC-SA" in source.manifest.licence


def test_copies_that_agree_are_read_and_others_refused(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_text(KAGGLE)
    (tmp_path / "HAM10000_metadata.tab").write_text(DATAVERSE.replace(",", "\t"))
    assert len(read_ham10000(tmp_path)) == 3
    (tmp_path / "HAM10000_metadata.tab").write_text(KAGGLE.replace(",nv,", ",mel,"))
    with pytest.raises(DataError, match=r"contradict each other.*metadata\.csv.*metadata\.tab"):
        read_ham10000(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (HEADER, "no rows below the header"),
        (KAGGLE.replace("dx,", "diagnosis,"), "missing columns: dx; the header has lesion_id"),
        (KAGGLE.replace("image_id", "image"), "missing columns: image_id"),
        (KAGGLE.replace("lesion_id", "lesion"), r"missing columns: lesion_id \(or patient_id\)"),
        (KAGGLE.replace("sex", "age"), "columns that occur twice: age"),
        (KAGGLE.replace(",scalp\n", "\n", 1), "line 2: has 6 cells, the header has 7"),
        (KAGGLE + "a,b,nv,histo,1,male,back,more\n", "line 5: has 8 cells"),
        (KAGGLE + 'a,"b,nv,histo,1,male,back\n', "line 5"),
        (KAGGLE.replace("ISIC_3", ""), "line 4: image_id is empty"),
        (KAGGLE.replace("80.0", "eighty"), "line 2: age is 'eighty'"),
        (KAGGLE.replace("80.0", "-3"), "line 2: age is '-3'"),
        (KAGGLE.replace("80.0", "inf"), "line 2: age is 'inf'"),
        (KAGGLE.replace("nv", "scc"), r"unknown diagnoses 'scc' \(ISIC_3\); known are akiec"),
        (KAGGLE.replace("ISIC_2", "ISIC_1"), "image ids in more than one row: ISIC_1"),
        (KAGGLE.replace("bkl", "mel", 1), "lesions with two diagnoses: HAM_1"),
    ],
)  # fmt: skip
def test_bad_metadata_is_refused_by_file_and_place(text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^the_file: .*{message}|^the_file: {message}"):
        parse_metadata(text, "the_file")


def test_a_missing_or_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "none")
    with pytest.raises(DataError, match=r"searched for HAM10000_metadata\.csv, HAM10000_meta"):
        open_dataset(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_text(KAGGLE)
    with pytest.raises(DataError, match="is a file; give the folder"):
        open_dataset(tmp_path / "HAM10000_metadata.csv")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_bytes(b"lesion_id,\xff\xfe")
    with pytest.raises(DataError, match=r"HAM10000_metadata\.csv: not UTF-8 text \(byte 10\)"):
        open_dataset(tmp_path)


@needs_ham10000
def test_the_real_metadata_has_the_published_counts() -> None:
    manifest = read_ham10000(HAM10000)
    counts = manifest.table["label"].value_counts().to_dict()
    assert counts == {
        "nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115,
    }  # fmt: skip
    assert manifest.table["lesion_id"].nunique() == 7470
    assert manifest.table["age"].isna().sum() == 57
    assert manifest.table["sex"].isna().sum() == 57
    assert manifest.unit == "lesion"
    assert manifest.ungrouped == 0
