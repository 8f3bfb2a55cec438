"""The folder of synthetic images: whole or drawn anew, whoever was killed, whoever came first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from bench.data import synthetic, synthetic_cohort
from bench.data.images import find_images
from bench.data.readers.ham10000 import parse_metadata
from bench.data.synthetic import draw_images, open_synthetic, synthetic_manifest, version
from bench.errors import DataError

FEW = 24


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A cohort small enough to be drawn in every test."""
    some = synthetic_cohort.cohort_table().head(FEW)
    monkeypatch.setattr(synthetic_cohort, "cohort_table", lambda: some)
    return some


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_metadata_alone_draws_and_writes_nothing(tmp_path):
    source = open_synthetic(tmp_path / "cache", images=False)
    assert source.manifest.roster_sha256 == synthetic_manifest().roster_sha256
    assert not (tmp_path / "cache").exists()


def test_folder_is_an_ordinary_one(tmp_path, few):
    source = open_synthetic(tmp_path)
    assert list(find_images(source)) == few["image_id"].tolist()
    image = cv2.imread(str(source.folder / "images" / f"{few['image_id'][0]}.png"))
    assert image.shape == (96, 128, 3)
    manifest = parse_metadata((source.folder / "metadata.csv").read_text(), "metadata.csv")
    assert manifest.roster_sha256 == source.manifest.roster_sha256
    assert manifest.table["age"].equals(source.manifest.table["age"])


@pytest.mark.usefixtures("few")
def test_a_whole_folder_is_not_drawn_again(tmp_path, monkeypatch):
    folder = open_synthetic(tmp_path).folder
    monkeypatch.setattr(synthetic, "draw_images", None)
    assert open_synthetic(tmp_path).folder == folder


@pytest.mark.usefixtures("few")
def test_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "elsewhere"))
    assert open_synthetic().folder.is_relative_to(tmp_path / "elsewhere")


def truncate(folder: Path) -> None:
    path = sorted((folder / "images").iterdir())[3]
    path.write_bytes(path.read_bytes()[:100])


def lose_an_image(folder: Path) -> None:
    sorted((folder / "images").iterdir())[3].unlink()


def add_an_image(folder: Path) -> None:
    (folder / "images" / "SYN_9999999.png").write_bytes(b"")


def relabel(folder: Path) -> None:
    path = folder / "metadata.csv"
    path.write_text(path.read_text().replace(",nv,", ",mel,"))


def lose_the_marker(folder: Path) -> None:
    (folder / "sha256").unlink()


def lose_it_all(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "damage",
    [truncate, lose_an_image, add_an_image, relabel, lose_the_marker, lose_it_all],
    ids=lambda damage: damage.__name__,
)
@pytest.mark.usefixtures("few")
def test_a_damaged_folder_is_drawn_anew(tmp_path, damage):
    folder = open_synthetic(tmp_path).folder
    before = content(folder)
    damage(folder)
    assert open_synthetic(tmp_path).folder == folder
    assert content(folder) == before


@pytest.mark.usefixtures("few")
def test_a_killed_drawing_is_never_trusted(tmp_path):
    killed = tmp_path / "synthetic" / f"drawing-{version()}-killed"
    (killed / "images").mkdir(parents=True)
    (killed / "images" / "SYN_0000001.png").write_bytes(b"half")
    folder = open_synthetic(tmp_path).folder
    assert len(list((folder / "images").iterdir())) == FEW
    assert not killed.exists()


@pytest.mark.usefixtures("few")
def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
        yield from draw_images(table.head(2))
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "draw_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_synthetic(tmp_path)
    assert [path for path in (tmp_path / "synthetic").iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("few")
def test_two_at_once_draw_once(tmp_path, monkeypatch):
    drawn: list[int] = []

    def counted(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
        drawn.append(len(table))
        yield from draw_images(table)

    monkeypatch.setattr(synthetic, "draw_images", counted)
    with ThreadPoolExecutor(4) as pool:
        sources = list(pool.map(lambda _: open_synthetic(tmp_path), range(4)))
    assert drawn == [FEW]
    assert len({source.folder for source in sources}) == 1


@pytest.mark.usefixtures("few")
def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="BENCH_CACHE"):
        open_synthetic(tmp_path / "file")
