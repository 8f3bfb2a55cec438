"""The store: every image once, found by id, rebuilt when in doubt; bad files named together."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bench.data.cache import build_cache, open_cache
from bench.data.fold_task import fold_table, read_fold, write_fold_table
from bench.data.images import find_images
from bench.data.open import OpenDataset
from bench.data.preprocess import Resize
from bench.errors import DataError
from tests.conftest import draw_image, small_records
from tests.train.conftest import small_roles


def test_a_store_holds_every_image_resized_under_its_id(small_source):
    store = build_cache(small_source, (Resize(8),))
    assert store.pixels.shape == (60, 8, 8, 3)
    for record in small_records()[::7]:
        row = store.index.image_ids.index(record.image_id)
        expected = cv2.resize(draw_image(record), (8, 8), interpolation=cv2.INTER_AREA)
        assert (store.pixels[row] == expected).all()
    assert store.index.file_sizes == {"32x24": 60}


def test_a_store_is_built_once_and_rebuilt_when_damaged(small_source):
    calls = []
    first = build_cache(small_source, (Resize(9),), lambda: calls.append(1))
    again = build_cache(small_source, (Resize(9),), lambda: calls.append(1))
    assert len(calls) == 60
    assert again.index == first.index
    path = first.folder / "pixels.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    rebuilt = build_cache(small_source, (Resize(9),))
    assert rebuilt.index == first.index
    assert (np.asarray(rebuilt.pixels[-1]) == np.asarray(first.pixels[-1])).sum() > 0
    shutil.rmtree(first.folder)
    with pytest.raises(DataError, match="no image cache"):
        open_cache(first.folder)


def test_other_files_or_another_size_are_other_pixels(small_source):
    store = build_cache(small_source, (Resize(8),))
    assert build_cache(small_source, (Resize(10),)).index.pixels_sha256 != store.index.pixels_sha256
    image = small_source.folder / "IMG_000_0.png"
    cv2.imwrite(str(image), cv2.imread(str(image)) // 2)
    assert build_cache(small_source, (Resize(8),)).index.pixels_sha256 != store.index.pixels_sha256


def test_images_are_found_in_any_folder_with_any_case_of_suffix(small_source):
    deep = small_source.folder / "part 2" / "deeper"
    deep.mkdir(parents=True)
    (small_source.folder / "IMG_000_0.png").rename(deep / "IMG_000_0.PNG")
    assert find_images(small_source)["IMG_000_0"] == deep / "IMG_000_0.PNG"


def test_links_that_lead_round_in_circles_end(small_source):
    for name in ("one", "two"):
        (small_source.folder / name).symlink_to(small_source.folder, target_is_directory=True)
    assert len(find_images(small_source)) == 60


def test_an_image_of_more_than_eight_bits_is_refused_not_clipped(small_source):
    path = small_source.folder / "IMG_000_0.png"
    cv2.imwrite(str(path), np.full((24, 32), 30_000, np.uint16))
    with pytest.raises(DataError, match="8 bits"):
        build_cache(small_source, (Resize(8),))


def test_missing_images_are_named(small_source):
    for record in small_records()[:25]:
        (small_source.folder / f"{record.image_id}.png").unlink()
    with pytest.raises(DataError, match="25 of 60 image files are missing.*and 5 more"):
        find_images(small_source)


def test_the_same_image_twice_is_fine_unless_the_files_differ(small_source):
    (small_source.folder / "copy").mkdir()
    copy = small_source.folder / "copy" / "IMG_000_0.png"
    shutil.copy(small_source.folder / "IMG_000_0.png", copy)
    assert len(find_images(small_source)) == 60
    shutil.copy(small_source.folder / "IMG_001_0.png", copy)
    with pytest.raises(DataError, match="two different files"):
        find_images(small_source)


def _spoil(folder: Path) -> dict[str, str]:
    """Spoil some images in their own ways; what each must be called."""
    (folder / "IMG_000_0.png").write_bytes(b"")
    whole = (folder / "IMG_001_0.png").read_bytes()
    (folder / "IMG_001_0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "IMG_002_0.png").write_bytes(b"no image at all")
    jpeg = folder / "IMG_003_0.jpg"
    Image.fromarray(draw_image(small_records()[6])).resize((320, 240)).save(jpeg)
    (folder / "IMG_003_0.png").unlink()
    jpeg.write_bytes(jpeg.read_bytes()[:-400])
    return {
        "IMG_000_0.png": "empty file",
        "IMG_001_0.png": "",
        "IMG_002_0.png": "cannot identify",
        "IMG_003_0.jpg": "truncated",
    }


def test_all_unreadable_images_are_named_before_anything_is_built(small_source: OpenDataset):
    faults = _spoil(small_source.folder)
    with pytest.raises(DataError, match="4 image files cannot be read") as caught:
        build_cache(small_source, (Resize(8),))
    for name, fault in faults.items():
        assert name in str(caught.value)
        assert fault in str(caught.value)


def test_a_fold_table_tells_nothing_of_test_labels_or_groups(small_source):
    manifest = small_source.manifest
    roles = small_roles(manifest)
    table = fold_table(manifest, roles, 0)
    test = table[table["part"] == "test"]
    assert len(test) == 12
    assert test["label"].isna().all()
    assert test["group_id"].isna().all()
    assert not {"lesion_id", "patient_id", "dx_type", "source"} & set(table.columns)
    path = write_fold_table(table)
    train, val, unlabelled = read_fold(path, build_cache(small_source, (Resize(8),)))
    assert (len(train), len(val), len(unlabelled)) == (36, 12, 12)
    assert not hasattr(unlabelled, "labels")
    by_id = dict(zip(manifest.image_ids, manifest.labels, strict=True))
    for part in (train, val):
        assert [by_id[i] for i in part.image_ids] == part.labels.tolist()
    assert {r.image_id: r.age for r in train.records} == {
        r.image_id: r.age for r in small_records() if r.image_id in set(train.image_ids)
    }
    assert not set(train.group_ids) & set(val.group_ids)
