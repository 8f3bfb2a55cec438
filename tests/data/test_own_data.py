"""Data of one's own: a CSV with any headings, arrays in one file, groups from another."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench.data.images import find_images, loader
from bench.data.open import DatasetSpec, open_dataset
from bench.data.readers.csv_table import image_id_of, parse_columns
from bench.errors import DataError
from bench.folds.assign import join_groups

OWN = "File,Class,Person\nsub/a.jpg,Mel,1\nsub/b.JPG,nv,1\nNA.png,nv,2\nd,nv,\n"
COLUMNS = "image=file,label=class,group=person"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def own(folder: Path, text: str = OWN, columns: str | None = COLUMNS, **rest) -> DatasetSpec:
    write(folder / "whatever.csv", text)
    return DatasetSpec(folder, columns=parse_columns(columns), **rest)


def test_columns_named_on_the_command_line_are_read_in_any_dialect(tmp_path):
    manifest = own(tmp_path, name="mine").open().manifest
    assert manifest.name == "mine"
    assert manifest.image_ids.tolist() == ["NA", "a", "b", "d"]
    assert manifest.classes == ("Mel", "nv")
    assert manifest.native_groups.tolist() == ["2", "1", "1", "d"]
    assert (manifest.unit, manifest.ungrouped) == ("group", 1)
    head, *rows = OWN.splitlines()
    for text in ("\n".join([head, *rows[::-1]]), OWN.replace(",", ";"), "\ufeff" + OWN,
                 OWN.replace(",", "\t").replace("\n", "\r\n")):  # fmt: skip
        assert own(tmp_path, text).open().manifest.roster_sha256 == manifest.roster_sha256


def test_a_manifest_csv_needs_no_naming_and_its_folder_lends_its_name(tmp_path):
    folder = tmp_path / "Clinic 3"
    folder.mkdir()
    write(folder / "manifest.csv", "image,label,group\na,x,1\nb,y,2\n")
    manifest = open_dataset(folder).manifest
    assert (manifest.name, manifest.unit) == ("clinic-3", "group")


def test_a_manifest_beside_ham10000_is_ambiguous_until_one_is_named(tmp_path):
    write(tmp_path / "HAM10000_metadata.csv", "lesion_id,image_id,dx\nL1,a,nv\n")
    write(tmp_path / "manifest.csv", "image,label,group\na,x,1\nb,y,2\n")
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    assert re.search(
        r"several datasets fit: ham10000 .*; manifest .*--layout ham10000 or --layout manifest",
        str(caught.value),
    )
    assert DatasetSpec(tmp_path, layout="ham10000").open().manifest.classes[0] == "akiec"
    chosen = DatasetSpec(tmp_path, layout="manifest", name="own")
    assert chosen.open().manifest.classes == ("x", "y")
    assert chosen.words()[-4:] == ["--layout", "manifest", "--dataset-name", "own"]
    columns = parse_columns("image=image,label=label")
    assert DatasetSpec(tmp_path, columns=columns).open().manifest.classes == ("x", "y")
    with pytest.raises(DataError, match="--layout ham10000: its columns are fixed"):
        DatasetSpec(tmp_path, columns=columns, layout="ham10000").open()


@pytest.mark.parametrize(
    "text", ["image", "image=", "picture=a", "image=a,image=b", "image=a;label=b"]
)
def test_columns_that_are_none_are_refused(text):
    with (
        pytest.raises(DataError, match=r"FIELD=COLUMN")
        if text != "image=a;label=b"
        else (pytest.raises(DataError, match="no metadata found"))
    ):
        DatasetSpec(Path(__file__).parent, columns=parse_columns(text)).open()


def test_two_tables_with_the_named_columns_are_refused(tmp_path):
    write(tmp_path / "other.csv", OWN)
    with pytest.raises(DataError, match=r"several files have these columns: .*other\.csv"):
        own(tmp_path).open()


def test_a_name_that_no_folder_could_bear_is_refused(tmp_path):
    with pytest.raises(DataError, match="--dataset-name My Set: use lower-case"):
        own(tmp_path, name="My Set").open()


def test_image_ids_are_file_names_without_folder_and_suffix():
    assert [image_id_of(n) for n in ("a/b.c.png", "x\\y.JPEG", "v1.2", "z")] == [
        "b.c", "y", "v1.2", "z",
    ]  # fmt: skip


# --- groups ---------------------------------------------------------------------------------------


def test_groups_are_supplied_where_there_are_none(tmp_path):
    text = "image,label\na,x\nb,x\nc,y\n"
    groups = write(tmp_path / "g.txt", "image_id,patient_id\na.jpg,P1\nb,P1\n")
    choice = own(tmp_path, text, "image=image,label=label", groups=groups)
    manifest = choice.open().manifest
    assert manifest.native_groups.tolist() == ["P1", "P1", "c"]
    assert (manifest.unit, manifest.ungrouped) == ("patient", 1)


def test_given_groups_join_those_of_the_data_and_never_part_them(tmp_path):
    ham = "lesion_id,image_id,dx\nL1,a,nv\nL1,b,nv\nL2,c,mel\nL3,d,nv\nL4,e,nv\n"
    write(tmp_path / "HAM10000_metadata.csv", ham)
    plain = open_dataset(tmp_path).manifest
    groups = write(tmp_path / "g.txt", "image_id;group_id\nb;X\nc;X\na;Y\nd;Z\n")
    manifest = DatasetSpec(tmp_path, groups=groups).open().manifest
    assert manifest.native_groups.tolist() == ["L1", "L1", "L1", "L3", "L4"]
    assert manifest.unit == "lesion"
    assert manifest.roster_sha256 != plain.roster_sha256
    joined = join_groups(plain, [("b", "c")])
    assert manifest.native_groups.tolist() == joined.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_joining_is_what_walking_from_image_to_image_gives(tmp_path, seed):
    rng = np.random.default_rng(seed)
    lesions, given = rng.integers(0, 12, 20), rng.integers(0, 12, 20)
    rows = [f"L{lesion:02d},i{n:02d},nv" for n, lesion in enumerate(lesions)]
    write(tmp_path / "HAM10000_metadata.csv", "\n".join(["lesion_id,image_id,dx", *rows]))
    told = [f"i{n:02d},G{group}" for n, group in enumerate(given) if group]
    groups = write(tmp_path / "g.txt", "\n".join(["image_id,group_id", *told]))
    found = DatasetSpec(tmp_path, groups=groups).open().manifest.native_groups
    for start in range(20):
        reached, edge = {start}, [start]
        while edge:
            at = edge.pop()
            near = {n for n in range(20) if lesions[n] == lesions[at]
                    or (given[at] and given[n] == given[at])}  # fmt: skip
            edge += near - reached
            reached |= near
        assert found[start] == min(f"L{lesions[n]:02d}" for n in reached)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,who\na,1\n", "needs a column image_id and one of patient_id"),
        ("image_id,patient_id,lesion_id\na,1,2\n", "needs a column image_id and one of"),
        ("image_id,group_id\na,1\na,2\n", "line 3: a has two groups"),
        ("image_id,group_id\nzz,1\n", "names 1 images that .* does not have: zz"),
        ("image_id,group_id\n,1\n", "line 2: the image id is empty"),
        ("image_id,group_id\na,G\x07\n", r"line 2: column group_id: 'G\\x07' has a control"),
        ("", "the file is empty"),
    ],
)
def test_a_group_file_that_is_none_is_refused(tmp_path, text, said):
    groups = write(tmp_path / "g.txt", text)
    with pytest.raises(DataError, match=said):
        own(tmp_path, groups=groups).open()


# --- arrays ---------------------------------------------------------------------------------------


def medmnist(path: Path, **changed) -> Path:
    rng = np.random.default_rng(0)
    content = {}
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        content[f"{part}_images"] = rng.integers(0, 256, (count, 8, 6, 3)).astype(np.uint8)
        content[f"{part}_labels"] = rng.integers(0, 7, (count, 1)).astype(np.uint8)
    np.savez(path, **content | changed)
    return path


def test_medmnist_gives_its_own_pixels_and_labels_back(tmp_path):
    path = medmnist(tmp_path / "dermamnist.npz")
    groups = write(tmp_path / "g.csv", "image_id,patient_id\ntrain_000000,P\ntest_000002,P\n")
    for folder in (path, tmp_path):
        source = DatasetSpec(folder, groups=groups).open()
    assert source.manifest.name == tmp_path.name.replace("_", "-")
    held = np.load(path)
    load = loader(find_images(source))
    names = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    table = source.manifest.table.set_index("image_id")
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        for at in range(count):
            image_id = f"{part}_{at:06d}"
            assert (load(image_id) == held[f"{part}_images"][at]).all()
            assert table["label"][image_id] == names[held[f"{part}_labels"][at, 0]]
    assert table["patient_id"]["train_000000"] == table["patient_id"]["test_000002"] == "P"
    assert source.manifest.ungrouped == 8


def test_metadata_only_use_of_arrays_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    path = medmnist(tmp_path / "x.npz")
    assert len(open_dataset(path, images=False).manifest) == 10
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train_images": np.zeros((5, 8, 6, 3))}, "images are float64"),
        ({"train_labels": np.zeros(4, np.uint8)}, "5 train_images, but"),
        ({"train_images": np.zeros((5, 8), np.uint8)}, r"images are uint8 of shape \(5, 8\)"),
        (
            {"val_images": np.zeros((2, 9, 9, 3), np.uint8)},
            "its parts have images of different shapes",
        ),
        ({"train_labels": np.zeros(5)}, "train_labels have the type float64"),
    ],
)
def test_arrays_of_another_shape_are_refused(tmp_path, changed, said):
    path = medmnist(tmp_path / "x.npz", **changed)
    with pytest.raises(DataError, match=said):
        open_dataset(path)


def test_what_is_no_archive_of_arrays_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        open_dataset(write(tmp_path / "x.npz", "not a zip"))
    np.savez(tmp_path / "y.npz", other=np.zeros(3))
    with pytest.raises(DataError, match="no images; it needs the arrays train_images"):
        open_dataset(tmp_path / "y.npz")
    with pytest.raises(DataError, match="several files of arrays"):
        open_dataset(tmp_path)


def hmnist(folder: Path, labels: str = "460", pixels: str = "7") -> Path:
    metadata = "lesion_id,image_id,dx\nL1,b,nv\nL3,a,mel\nL2,c,akiec\n"
    write(folder / "HAM10000_metadata.csv", metadata)
    head = [f"pixel{n:04d}" for n in range(192)]
    rows = [",".join([pixels] * 190 + ["1", str(n), label]) for n, label in enumerate(labels)]
    return write(folder / "hmnist_8_8_RGB.csv", "\n".join([",".join([*head, "label"]), *rows]))


def test_hmnist_takes_its_ids_from_the_metadata_in_its_order(tmp_path):
    hmnist(tmp_path)
    source = open_dataset(tmp_path)
    assert source.manifest.name == "ham10000"
    load = loader(find_images(source))
    assert [load(image_id)[-1, -1].tolist() for image_id in "bac"] == [[7, 1, n] for n in range(3)]
    named = open_dataset(tmp_path / "hmnist_8_8_RGB.csv")
    assert named.manifest.roster_sha256 == source.manifest.roster_sha256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"labels": "640"},
            r"3 labels differ .*\(3 rows, first difference in row 1\)",
        ),
        ({"labels": "46"}, r"2 labels differ from those .* other length"),
        ({"pixels": "256"}, "line 2: needs 193 whole numbers from 0 to 255"),
        ({"pixels": "1,1"}, "line 2: needs 193 whole numbers"),
        ({"labels": ""}, "no rows below the header"),
    ],
)
def test_hmnist_with_other_labels_than_the_metadata_is_refused(tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        open_dataset(hmnist(tmp_path, **change))


def test_hmnist_with_an_unknown_diagnosis_or_that_is_no_text_is_refused(tmp_path):
    path = hmnist(tmp_path)
    metadata = tmp_path / "HAM10000_metadata.csv"
    metadata.write_text(metadata.read_text().replace("mel", "naevus"))
    with pytest.raises(DataError, match="first difference in row 2"):
        open_dataset(tmp_path)
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(DataError, match="not UTF-8 text"):
        open_dataset(tmp_path)


def test_hmnist_without_metadata_is_refused(tmp_path):
    path = hmnist(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").unlink()
    with pytest.raises(DataError, match=re.escape("has no image ids; put HAM10000_metadata.csv")):
        open_dataset(path)
