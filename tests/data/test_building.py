"""Building a store: killed and gone on with, damaged, on a full disk, of odd image files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from bench.data import cache
from bench.data.cache import build_cache, caches_folder, list_caches, open_cache, remove
from bench.data.open import OpenDataset, open_dataset
from bench.data.preprocess import Resize, preprocessing
from bench.errors import DataError
from bench.job import digest
from bench.recipe import Recipe
from tests.conftest import ROOT, draw_image, small_records
from tests.real_data import HAM10000, needs_ham10000

SLOW_BUILD = """
import sys, time
from pathlib import Path
from bench.data import cache
from bench.data.open import OpenDataset
from bench.data.preprocess import Resize
from bench.dataset import Dataset
from tests.conftest import CLASSES, small_records

cache.BLOCK_IMAGES = 10
prepare = cache._prepare
def slowly(*args):
    time.sleep(0.05)
    return prepare(*args)
cache._prepare = slowly
dataset = Dataset.from_records("small", CLASSES, small_records())
cache.build_cache(OpenDataset(dataset, Path(sys.argv[1])), (Resize(int(sys.argv[2])),))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "BLOCK_IMAGES", 10)
    return tmp_path / "cache"


def partial_builds() -> list[Path]:
    return list(caches_folder().glob("*.building"))


def kill_a_build(source: OpenDataset, size: int) -> Path:
    """Build an image cache in another process, and kill -9 it after three blocks."""
    words = [sys.executable, "-c", SLOW_BUILD, str(source.folder), str(size)]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        while True:
            assert process.poll() is None
            journals = list(caches_folder().glob("*.building/journal.jsonl"))
            if journals and journals[0].read_text().count("\n") >= 3:
                break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return partial_builds()[0]


def test_a_killed_build_goes_on_and_ends_in_the_same_bytes(
    small_source, monkeypatch: pytest.MonkeyPatch
):
    left = kill_a_build(small_source, 8)
    assert not (left / "index.json").exists()
    made = []
    make = cache._prepare
    monkeypatch.setattr(
        cache, "_prepare", lambda path, *rest: made.append(path) or make(path, *rest)
    )
    advanced = []
    resumed = build_cache(small_source, (Resize(8),), lambda: advanced.append(1))
    assert 0 < len(made) <= 30
    assert len(advanced) == 60
    assert partial_builds() == []
    shutil.rmtree(resumed.folder)
    fresh = build_cache(small_source, (Resize(8),))
    assert len(made) > 60
    assert fresh.index == resumed.index
    assert fresh.index.file_sizes == {"32x24": 60}


def test_damaged_or_incomplete_blocks_of_a_partial_build_are_repeated(
    small_source, monkeypatch: pytest.MonkeyPatch
):
    left = kill_a_build(small_source, 9)
    pixels = left / "pixels.npy"
    content = bytearray(pixels.read_bytes())
    content[128 + 12 * 9 * 9 * 3] ^= 1  # in the second block of ten
    pixels.write_bytes(content)
    with (left / "journal.jsonl").open("a") as journal:
        journal.write('{"first": 50, "sha')
    made = []
    make = cache._prepare
    monkeypatch.setattr(
        cache, "_prepare", lambda path, *rest: made.append(path.stem) or make(path, *rest)
    )
    resumed = build_cache(small_source, (Resize(9),))
    assert "IMG_006_0" in made
    assert "IMG_000_0" not in made
    shutil.rmtree(resumed.folder)
    assert build_cache(small_source, (Resize(9),)).index == resumed.index


def test_the_identity_of_plain_pixels_is_what_committed_rows_bear(small_source):
    """sha256 of [sha256 of `image_id,sha256 of file` lines, the chain], as it always was."""
    made = build_cache(small_source, (Resize(8),))
    lines = ""
    for image_id in sorted(record.image_id for record in small_records()):
        content = (small_source.folder / f"{image_id}.png").read_bytes()
        lines += f"{image_id},{hashlib.sha256(content).hexdigest()}\n"
    files = hashlib.sha256(lines.encode()).hexdigest()
    chain = [{"step": "resize", "size": 8, "interpolation": "area"}]
    assert made.index.pixels_sha256 == digest([files, chain])


@needs_ham10000
def test_real_pixels_are_those_of_the_committed_rows():
    """The rows in baselines/results stay what they are: HAM10000 at 200x150, resized to 64."""
    made = build_cache(open_dataset(HAM10000), preprocessing(Recipe(image_size=64)))
    if made.index.file_sizes != {"200x150": 10015}:
        pytest.skip("the committed rows are of another resolution")
    rows = ROOT / "baselines" / "results" / "groupkfold5" / "ham10000"
    records = rows.glob("*@c5025f27/*/*/record.json")
    committed = {json.loads(path.read_text())["job"]["pixels_sha256"] for path in records}
    assert committed == {made.index.pixels_sha256}


def test_a_store_is_mapped_and_nobody_can_write_into_it(small_source):
    made = build_cache(small_source, (Resize(8),))
    assert isinstance(made.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        made.pixels[0] = 0


def test_a_chain_of_its_own_is_a_store_of_its_own(small_source):
    plain = build_cache(small_source, preprocessing(Recipe(image_size=8)))
    other = build_cache(small_source, preprocessing(Recipe(image_size=8, clahe=2)))
    assert plain.folder != other.folder
    assert plain.index.pixels_sha256 != other.index.pixels_sha256
    assert (np.asarray(plain.pixels) != np.asarray(other.pixels)).any()
    assert [step["step"] for step in other.index.chain] == ["clahe", "resize"]


def test_a_full_disk_is_refused_before_any_work(small_source, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr(cache, "_prepare", lambda *_: pytest.fail("no image must be read"))
    with pytest.raises(
        DataError, match=r"too little space for 60 images of 8 px.*0\.07 GB are needed"
    ):
        build_cache(small_source, (Resize(8),))
    assert partial_builds() == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="nothing can be set aside here")
def test_a_disk_that_cannot_set_the_room_aside_is_refused(
    small_source, monkeypatch: pytest.MonkeyPatch
):
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="could not be reserved"):
        build_cache(small_source, (Resize(8),))
    assert partial_builds() == []


def test_abandoned_partial_builds_are_removed_and_fresh_or_locked_ones_kept(small_source):
    root = caches_folder()
    names = ("old.building", "busy.building", "fresh.building")
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "pixels.npy").write_bytes(b"x")
    for name in ("old.building", "busy.building"):
        for path in (root / name / "pixels.npy", root / name):
            os.utime(path, (0, 0))
    with FileLock(root / "busy.lock"):
        build_cache(small_source, (Resize(8),))
    kept = {name for name in names if (root / name).exists()}
    assert kept == {"busy.building", "fresh.building"}


def test_a_file_that_changes_under_the_build_is_named(
    small_source, monkeypatch: pytest.MonkeyPatch
):
    path = small_source.folder / "IMG_004_0.png"
    hashes = cache._hash

    def hashed(files: dict[str, Path]) -> dict[str, str]:
        known = hashes(files)
        cv2.imwrite(str(path), np.zeros((24, 32, 3), np.uint8))
        return known

    monkeypatch.setattr(cache, "_hash", hashed)
    with pytest.raises(DataError, match="IMG_004_0.png .changed during the build"):
        build_cache(small_source, (Resize(8),))


def one_image(source: OpenDataset, image_id: str) -> np.ndarray:
    made = build_cache(source, (Resize(8),))
    return np.asarray(made.pixels[made.index.image_ids.index(image_id)])


def test_exif_rotation_is_undone_and_counted(small_source):
    upright = draw_image(small_records()[0])
    plain = build_cache(small_source, (Resize(8),)).index
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    turned.save(small_source.folder / "IMG_000_0.png", exif=exif)
    made = build_cache(small_source, (Resize(8),)).index
    assert (one_image(small_source, "IMG_000_0") == Resize(8)(upright)).all()
    assert (plain.turned, made.turned) == (0, 1)
    assert made.file_sizes == {"32x24": 60}
    assert made.pixels_sha256 != digest([made.files_sha256, made.chain])


def test_transparent_parts_become_black_and_opaque_alpha_changes_nothing(small_source):
    picture = draw_image(small_records()[0])
    path = small_source.folder / "IMG_000_0.png"
    opaque = np.dstack([picture, np.full((24, 32), 255, np.uint8)])
    Image.fromarray(opaque).save(path)
    assert (one_image(small_source, "IMG_000_0") == Resize(8)(picture)).all()
    assert build_cache(small_source, (Resize(8),)).index.flattened == 0
    cut = opaque.copy()
    cut[:12, :, 3] = 0
    Image.fromarray(cut).save(path)
    expected = picture.copy()
    expected[:12] = 0
    assert (one_image(small_source, "IMG_000_0") == Resize(8)(expected)).all()
    assert build_cache(small_source, (Resize(8),)).index.flattened == 1


def test_the_cache_tells_what_is_in_it_and_removes_it(small_source):
    whole = build_cache(small_source, (Resize(8),))
    (caches_folder() / "abc.building").mkdir()
    older = caches_folder() / "older"
    older.mkdir()
    (older / "index.json").write_text(json.dumps({"format": 1}))
    states = {cached.folder.name: cached.state for cached in list_caches()}
    assert states == {
        whole.folder.name: "whole", "abc.building": "unfinished", "older": "unreadable",
    }  # fmt: skip
    (entry,) = [cached for cached in list_caches() if cached.state == "whole"]
    assert entry.index == whole.index
    assert entry.size > 60 * 8 * 8 * 3
    with cache.lock_if_free(whole.folder) as free:
        assert free
        assert not remove(entry)
    assert open_cache(whole.folder).index == whole.index
    assert all(remove(cached) for cached in list_caches())
    assert list_caches() == []
