"""The sizes of image files, read without decoding them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.data.images import decode, find_images, read_picture, with_image_sizes
from bench.data.open import OpenDataset, open_dataset
from bench.dataset import Dataset, Record
from bench.errors import DataError
from tests.real_data import HAM10000, needs_ham10000

TURNED_BY_90 = 6


@pytest.fixture
def source(tmp_path: Path) -> OpenDataset:
    """A JPEG, one that its EXIF turns, and a PNG below a folder."""
    Image.new("RGB", (60, 45)).save(tmp_path / "A.jpg")
    exif = Image.Exif()
    exif[0x0112] = TURNED_BY_90
    Image.new("RGB", (60, 45)).save(tmp_path / "B.jpg", exif=exif)
    (tmp_path / "more").mkdir()
    Image.new("RGB", (32, 64)).save(tmp_path / "more" / "C.PNG")
    records = [Record(image_id, "nv") for image_id in "CAB"]
    return OpenDataset(Dataset.from_records("sizes", ("nv",), records), tmp_path)


def test_sizes_are_those_that_decoding_gives(source):
    told = with_image_sizes(source).manifest.table.set_index("image_id")["image_size"].to_dict()
    assert told == {"A": "60x45", "B": "45x60", "C": "32x64"}
    for image_id, path in find_images(source).items():
        height, width = decode(read_picture(path)).shape[:2]
        assert told[image_id] == f"{width}x{height}"


def test_who_is_in_the_dataset_stays(source):
    sized = with_image_sizes(source)
    assert sized.manifest.roster_sha256 == source.manifest.roster_sha256
    assert source.manifest.table["image_size"].isna().all()


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_a_file_that_is_no_image_is_named(source, content):
    (source.folder / "B.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"B\.jpg: cannot identify image file; download it again"):
        with_image_sizes(source)


def test_a_file_whose_text_swells_is_named(source):
    text = PngInfo()
    text.add_text("comment", "x" * 2**24, zip=True)
    Image.new("RGB", (32, 64)).save(source.folder / "more" / "C.PNG", pnginfo=text)
    with pytest.raises(DataError, match=r"C\.PNG: Decompressed data too large .*download it again"):
        with_image_sizes(source)


def test_a_missing_file_is_named(source):
    (source.folder / "A.jpg").unlink()
    with pytest.raises(DataError, match="1 of 3 image files are missing below .*: A;"):
        with_image_sizes(source)


@needs_ham10000
def test_all_of_ham10000_is_of_one_size():
    sized = with_image_sizes(open_dataset(HAM10000))
    assert sized.manifest.table["image_size"].unique().tolist() == ["200x150"]
