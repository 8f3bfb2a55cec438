"""`data duplicates`: what it names, what it writes, and how it ends."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bench.cli.data import data
from bench.errors import DataError
from tests.data.duplicates.skin import again, skin

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight skins; A0 is a copy of I0 under another lesion, B1 another photograph of I1."""
    pictures = {f"I{at}": skin(40 + at) for at in range(8)}
    pictures["A0"] = pictures["I0"][:, ::-1]
    pictures["B1"] = again(pictures["I1"], 30, 1.2, 0.9)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.jpg", quality=90)
    rows = [f"L{name},{name},nv,histo,50,male,back,here" for name in pictures]
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return tmp_path


def run(*words: object) -> Result:
    done = CliRunner().invoke(data, ["duplicates", *map(str, words)], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done


def test_copies_are_named_and_end_in_failure(folder):
    done = run("--data", folder)
    assert done.return_value == 1
    assert "own groups keep 1 pairs apart, 1 of them sure" in done.output
    assert "sure  A0 (LA0)  I0 (LI0)" in done.output
    assert "B1" not in done.output


def test_the_thorough_search_finds_further_photographs_and_writes_the_list(folder, tmp_path):
    done = run("--data", folder, "--thorough", "--to", tmp_path / "pairs.csv")
    assert done.return_value == 1
    with (tmp_path / "pairs.csv").open(newline="") as stream:
        pairs = {(row["image_a"], row["image_b"]) for row in csv.DictReader(stream)}
    assert pairs == {("A0", "I0"), ("B1", "I1")}


def test_a_dataset_without_copies_ends_well(folder):
    text = (folder / "HAM10000_metadata.csv").read_text()
    (folder / "HAM10000_metadata.csv").write_text(text.replace("LA0,", "LI0,"))
    done = run("--data", folder)
    assert done.return_value == 0
    assert "1 near pairs within groups" in done.output


def test_an_unreadable_image_is_named(folder):
    (folder / "I3.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="I3.jpg: cannot identify"):
        run("--data", folder)
