"""`protocol` on a dataset of the user's own: every kind frozen, verified, shown, exported."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.data.open import open_dataset
from bench.workflows import protocols as frozen
from bench.workflows import workspace
from tests.cli.test_bad_input import bench, refused, write_metadata
from tests.conftest import ROOT
from tests.real_data import ISIC2019, needs_isic2019

KINDS = (
    "groupkfold10",
    "repeated-groupkfold5",
    "holdout",
    "imagekfold5",
    "learning-curve",
    "leakage-meter",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metadata of 200 lesions of three sources, and the library's protocols without any roles."""
    place = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    rows = []
    for lesion in range(200):
        dx, source = ("nv", "mel", "bkl", "bcc")[lesion % 4], "abc"[lesion % 3]
        person = f"{rng.integers(20, 80)},{rng.choice(['male', 'female'])},back"
        rows += [
            f"HAM_{lesion:04d},ISIC_{lesion:04d}{view},{dx},histo,{person},{source}"
            for view in range(rng.integers(1, 4))
        ]
    (place / "data").mkdir()
    write_metadata(place / "data", rows)
    (place / "protocols").mkdir()
    for path in (ROOT / "protocols").glob("*.toml"):
        text = path.read_text().partition("[roles.")[0]
        (place / "protocols" / path.name).write_text(text.replace("candidates = 20", ""))
    return place


@pytest.fixture
def protocols(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_PROTOCOLS", str(place / "protocols"))
    monkeypatch.setenv("BENCH_WORKSPACE", str(place))  # its folder of protocols is this one
    return place / "protocols"


def test_every_kind_is_frozen_for_a_new_dataset(protocols, place):
    for kind in KINDS:
        done = bench("protocol", "freeze", kind, "--data", "data", cwd=place)
        assert done.returncode == 0, done.stderr
        assert f"frozen: {protocols}/{kind}/ham10000.csv" in done.stdout
    done = bench("protocol", "verify", "leakage-meter", "--data", "data", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "leaky: " in done.stdout


def test_sources_other_in_number_make_a_protocol_of_its_own(protocols, place):
    freeze = ("protocol", "freeze", "source-holdout", "--data", "data")
    refused(bench(*freeze, cwd=place), "has 3 sources: a, b, c", "--as NAME --folds 3")
    refused(bench(*freeze, "--folds", "3", cwd=place), "name it: --as NAME")
    done = bench(*freeze, "--as", "three", "--folds", "3", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "fold 2 tests all" in done.stdout
    assert "folds = 3" in (protocols / "three.toml").read_text()
    assert 'name = "three"' in (protocols / "three.toml").read_text()


def test_another_dealer_makes_a_protocol_of_its_own(protocols, place):
    freeze = ("protocol", "freeze", "holdout", "--data", "data", "--dealer")
    refused(bench(*freeze, "greedy", cwd=place), "--as NAME")
    refused(bench(*freeze, "iterative", "--as", "it", cwd=place), "iterative", "groupkfold only")
    freeze = ("protocol", "freeze", "groupkfold5", "--data", "data", "--dealer")
    for dealer in ("greedy", "iterative"):
        done = bench(*freeze, dealer, "--as", f"by-{dealer}", cwd=place)
        assert done.returncode == 0, done.stderr
        assert (protocols / f"by-{dealer}.toml").read_text().count(f'\ndealer = "{dealer}"\n') == 1
    texts = [(protocols / f"by-{d}" / "ham10000.csv").read_text() for d in ("greedy", "iterative")]
    assert texts[0] != texts[1]


@pytest.mark.parametrize("name", ["", "../x", "A b", '"'])
def test_a_name_that_no_protocol_can_bear_is_refused(protocols, place, name):
    before = sorted(protocols.iterdir())
    done = bench("protocol", "freeze", "holdout", "--data", "data", "--as", name, cwd=place)
    refused(done, f"--as {name!r}: a protocol is named by lower-case letters")
    assert sorted(protocols.iterdir()) == before


def test_list_names_the_good_and_the_broken(place, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_PROTOCOLS", str(tmp_path))
    good = (place / "protocols" / "holdout.toml").read_text()
    (tmp_path / "holdout.toml").write_text(good)
    (tmp_path / "bad.toml").write_text("name = ")
    (tmp_path / "other.toml").write_text(good)
    done = bench("protocol", "list", cwd=place)
    assert done.returncode == 1
    assert done.stdout.startswith("holdout: ")
    assert "BROKEN" in done.stderr
    assert "bad.toml: not TOML" in done.stderr
    assert "other.toml: the file has the name 'holdout'" in done.stderr
    (tmp_path / "bad.toml").unlink()
    (tmp_path / "other.toml").unlink()
    assert bench("protocol", "list", cwd=place).returncode == 0


def test_pairs_known_since_are_united_by_a_new_protocol_and_named_where_left_apart(
    protocols, place
):
    freeze = ("protocol", "freeze", "holdout", "--data", "data", "--as")
    assert bench(*freeze, "older", cwd=place).returncode == 0
    (protocols / "older").mkdir(exist_ok=True)
    listed = protocols / "older" / "ham10000_duplicates_missed.csv"
    listed.write_text("image_a,image_b,verdict\nISIC_00010,ISIC_00050,same lesion\n")
    verify = ("protocol", "verify", "--data", "data")
    done = bench(*verify, "older", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "ISIC_00010 and ISIC_00050 (same lesion; ham10000_duplicates_missed" in done.stdout
    done = bench(*freeze, "newer", cwd=place)
    assert "all 1 known duplicate pairs share a group" in done.stdout, done.stderr
    assert "ISIC_00050" not in bench(*verify, "newer", cwd=place).stdout
    listed.unlink()


def test_lists_of_other_datasets_count_for_ids_of_the_archive_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "PROTOCOLS", tmp_path)
    monkeypatch.setenv("BENCH_WORKSPACE", str(tmp_path / "none"))
    (tmp_path / "p").mkdir()
    listed = tmp_path / "p" / "one_duplicates.csv"
    listed.write_text("image_a,image_b\nISIC_1,ISIC_2\na,b\n")
    ids = ["ISIC_1", "ISIC_2", "a", "b"]
    assert frozen.known_pairs(None, "one", ids) == [("ISIC_1", "ISIC_2"), ("a", "b")]
    assert frozen.known_pairs(None, "other", ids) == [("ISIC_1", "ISIC_2")]
    assert frozen.known_pairs(None, "other", ids[1:]) == []


@needs_isic2019
def test_isic_2019_holds_the_pairs_that_ham10000_is_known_for():
    ids = open_dataset(ISIC2019.parent).manifest.image_ids.tolist()
    assert len(frozen.known_pairs(None, "isic2019", ids)) == 120
    assert len(frozen.missed_pairs("isic2019", ids)) == 4


def test_the_folds_of_arms_are_named_and_not_counted(protocols, place):
    freeze = ("protocol", "freeze", "learning-curve", "--data", "data", "--as", "curve3")
    refused(bench(*freeze, "--folds", "3", cwd=place), "the arms of this protocol name its folds")
    assert not (protocols / "curve3.toml").exists()


def test_a_committed_list_of_duplicates_joins_groups_by_itself(protocols, place):
    (protocols / "some").mkdir()
    listed = protocols / "some" / "ham10000_duplicates.csv"
    listed.write_text("image_a,image_b\nISIC_00000,ISIC_00040\nISIC_00000,ISIC_99990\n")
    freeze = ("protocol", "freeze", "holdout", "--data", "data", "--as")
    done = bench(*freeze, "joined", cwd=place)
    assert "all 1 known duplicate pairs share a group" in done.stdout, done.stderr
    lines = (protocols / "joined" / "ham10000.csv").read_text().splitlines()[1:]
    group = {row["image_id"]: row["group_id"] for row in csv.DictReader(lines)}
    assert group["ISIC_00040"] == group["ISIC_00000"] == "HAM_0000"
    own = place / "own.csv"
    own.write_text("image_a,image_b\nISIC_00000,ISIC_99990\n")
    refused(bench(*freeze, "other", "--duplicates", own, cwd=place), "does not have: ISIC_99990")
    listed.unlink()
    shutil.rmtree(listed.parent)


def test_show_tells_what_can_be_detected_and_exports_the_folds(place, monkeypatch):
    monkeypatch.setenv("BENCH_PROTOCOLS", str(ROOT / "protocols"))
    show = ("protocol", "show", "groupkfold5")
    done = bench(*show, "--disagreement", "0.1", "--export", "splits_final.json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "differ on a share of 0.1" in done.stdout.replace("\n", " ").replace(
        "a  share", "a share"
    )
    assert "| all | 1253 | 400 |" in done.stdout
    splits = json.loads((place / "splits_final.json").read_text())
    assert [set(split) for split in splits] == [{"train", "val"}] * 5
    refused(bench(*show, "--export", "splits.xml", cwd=place), "ends in .csv or .json")
    refused(bench(*show, "--export", "data/HAM10000_metadata.csv/x.csv", cwd=place), "written")
    refused(bench(*show, "--correlation", "2", cwd=place), "--correlation")
