"""Every committed roles file, proven without the code that made it: csv, sets and counting."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from bench.data.synthetic import synthetic_manifest
from tests.conftest import ROOT
from tests.real_data import HAM10000, ISIC2020, needs_ham10000, needs_isic2020

PROTOCOLS = ROOT / "protocols"
CLASS_TOLERANCE = 0.05


def committed() -> list[tuple[Path, str]]:
    return [
        (path, dataset)
        for path in sorted(PROTOCOLS.glob("*.toml"))
        for dataset in tomllib.loads(path.read_text()).get("roles", {})
    ]


def read(path: Path, dataset: str) -> tuple[dict, str, list[dict[str, str]]]:
    """The protocol, the roster hash and the rows of its roles file."""
    protocol = tomllib.loads(path.read_text())
    content = (PROTOCOLS / protocol["roles"][dataset]["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == protocol["roles"][dataset]["sha256"]
    first, *lines = content.decode().splitlines()
    return protocol, first.removeprefix("# roster_sha256="), list(csv.DictReader(lines))


def fold_columns(rows: list[dict[str, str]]) -> list[str]:
    return [column for column in rows[0] if column.startswith("fold")]


def crossing(rows: list[dict[str, str]], owner_of: dict[str, str], fold: str) -> list[str]:
    sides = defaultdict(set)
    for row in rows:
        if row[fold]:
            sides[owner_of[row["image_id"]]].add(row[fold])
    return [owner for owner, parts in sides.items() if len(parts) > 1]


@pytest.mark.parametrize(("path", "dataset"), committed())
def test_no_group_stands_on_two_sides_of_a_fold(path: Path, dataset: str) -> None:
    protocol, _, rows = read(path, dataset)
    groups = {row["image_id"]: row["group_id"] for row in rows}
    assert len(groups) == len(rows)
    for fold in fold_columns(rows):
        assert {row[fold] for row in rows} <= {"train", "val", "test", ""}
        if not protocol["split"].get("control"):
            assert crossing(rows, groups, fold) == []


@pytest.mark.parametrize(("path", "dataset"), committed())
def test_every_image_is_tested_once_a_repeat(path: Path, dataset: str) -> None:
    protocol, _, rows = read(path, dataset)
    if protocol["split"].get("arms"):
        pytest.skip("arms test what they test")
    folds, columns = protocol["split"]["folds"], fold_columns(rows)
    assert len(columns) == folds * protocol["split"].get("repeats", 1)
    for start in range(0, len(columns), folds):
        repeat = columns[start : start + folds]
        times = [[row[fold] for fold in repeat].count("test") for row in rows]
        if protocol["split"]["kind"] == "holdout":
            assert abs(sum(times) / len(rows) - protocol["split"]["test"]) < 0.01
        else:
            assert set(times) == {1}


@pytest.mark.parametrize(("path", "dataset"), committed())
def test_arms_test_and_choose_on_the_same_images(path: Path, dataset: str) -> None:
    protocol, _, rows = read(path, dataset)
    arms = protocol["split"].get("arms")
    if not arms:
        pytest.skip("has no arms")
    first = next(iter(arms.values()))
    assert fold_columns(rows) == [column for columns in arms.values() for column in columns]
    for columns in arms.values():
        for twin, column in zip(first, columns, strict=True):
            for part in ("val", "test"):
                assert all((row[twin] == part) == (row[column] == part) for row in rows)
            if protocol["split"]["kind"] == "learning-curve":
                assert all(row[twin] == "train" for row in rows if row[column] == "train")


@needs_ham10000
def test_the_leakage_meter_swaps_siblings_of_one_class_and_source() -> None:
    _, _, rows = read(PROTOCOLS / "leakage-meter.toml", "ham10000")
    with (HAM10000 / "HAM10000_metadata.csv").open(newline="") as stream:
        kind = {row["image_id"]: (row["dx"], row["dataset"]) for row in csv.DictReader(stream)}
    tested = 0
    for clean, leaky in (("fold0", "fold2"), ("fold1", "fold3")):
        teaching = {fold: [row for row in rows if row[fold] == "train"] for fold in (clean, leaky)}
        groups = {fold: {row["group_id"] for row in some} for fold, some in teaching.items()}
        counts = [Counter(kind[row["image_id"]] for row in some) for some in teaching.values()]
        assert counts[0] == counts[1]
        assert len(groups[clean]) == len(groups[leaky])
        test = {row["group_id"]: row for row in rows if row[clean] == "test"}
        assert len(test) == sum(row[clean] == "test" for row in rows)
        assert not test.keys() & groups[clean]
        assert test.keys() <= groups[leaky]
        tested += len(test)
    assert tested == 1972


@needs_ham10000
@pytest.mark.parametrize("path", [path for path, dataset in committed() if dataset == "ham10000"])
def test_no_lesion_of_ham10000_crosses_folds_and_duplicates_share_groups(path: Path) -> None:
    protocol, roster, rows = read(path, "ham10000")
    with (HAM10000 / "HAM10000_metadata.csv").open(newline="") as stream:
        images = {row["image_id"]: row for row in csv.DictReader(stream)}
    assert images.keys() == {row["image_id"] for row in rows}
    lines = sorted((i, row["lesion_id"], row["dx"]) for i, row in images.items())
    text = "".join(f"{','.join(line)}\n" for line in lines)
    assert hashlib.sha256(text.encode()).hexdigest() == roster
    lesions = {image_id: row["lesion_id"] for image_id, row in images.items()}
    group_of = {row["image_id"]: row["group_id"] for row in rows}
    with (PROTOCOLS / "groupkfold5" / "ham10000_duplicates.csv").open(newline="") as stream:
        pairs = list(csv.DictReader(stream))
    assert all(group_of[pair["image_a"]] == group_of[pair["image_b"]] for pair in pairs)
    assert all(lesions[pair["image_a"]] == pair["lesion_a"] for pair in pairs)
    if not protocol["split"].get("control"):
        assert all(not crossing(rows, lesions, fold) for fold in fold_columns(rows))


@needs_isic2020
def test_no_patient_of_isic2020_crosses_folds_and_melanomas_are_even() -> None:
    _, roster, rows = read(PROTOCOLS / "groupkfold5.toml", "isic2020")
    with ISIC2020.open(newline="") as stream:
        images = {row["image_name"]: row for row in csv.DictReader(stream)}
    assert images.keys() == {row["image_id"] for row in rows}
    lines = sorted((i, row["patient_id"], row["benign_malignant"]) for i, row in images.items())
    text = "".join(f"{','.join(line)}\n" for line in lines)
    assert hashlib.sha256(text.encode()).hexdigest() == roster
    patients = {image_id: row["patient_id"] for image_id, row in images.items()}
    for fold in fold_columns(rows):
        assert not crossing(rows, patients, fold)
        tested = [row["image_id"] for row in rows if row[fold] == "test"]
        melanomas = sum(images[image_id]["target"] == "1" for image_id in tested)
        assert abs(melanomas - 584 / 5) <= 1
        assert abs(len(tested) / len(rows) - 0.2) < 0.001


EVEN = ("groupkfold5", "groupkfold10", "repeated-groupkfold5", "imagekfold5", "learning-curve")


@needs_ham10000
@pytest.mark.parametrize("name", EVEN)
def test_every_class_of_ham10000_is_tested_evenly(name: str) -> None:
    """Within 5% of an equal share, or within one image of it."""
    protocol, _, rows = read(PROTOCOLS / f"{name}.toml", "ham10000")
    with (HAM10000 / "HAM10000_metadata.csv").open(newline="") as stream:
        label = {row["image_id"]: row["dx"] for row in csv.DictReader(stream)}
    whole, folds = Counter(label.values()), protocol["split"]["folds"]
    for fold in fold_columns(rows):
        tested = Counter(label[row["image_id"]] for row in rows if row[fold] == "test")
        for label_, images in whole.items():
            off = abs(tested[label_] - images / folds)
            assert off <= max(1, CLASS_TOLERANCE * images / folds), f"{label_} in {fold}"


def test_no_patient_or_lesion_of_the_synthetic_cohort_crosses_folds() -> None:
    _, roster, rows = read(PROTOCOLS / "groupkfold5.toml", "synthetic")
    table = synthetic_manifest().table
    lines = sorted(zip(table["image_id"], table["patient_id"], table["label"], strict=True))
    text = "".join(f"{','.join(line)}\n" for line in lines)
    assert hashlib.sha256(text.encode()).hexdigest() == roster
    for owner in ("patient_id", "lesion_id"):
        owners = dict(zip(table["image_id"], table[owner], strict=True))
        assert all(not crossing(rows, owners, fold) for fold in fold_columns(rows))
