"""`data preprocess` and `data cache`: what they show, write and remove."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench.cli.data import data
from bench.data.cache import build_cache, caches_folder
from bench.data.preprocess import Resize
from bench.errors import DataError
from tests.data.test_preprocess import skin, with_hair


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def said(*words: object, exit_code: int = 0) -> str:
    done = CliRunner().invoke(data, [str(w) for w in words], standalone_mode=False)
    if done.exception:
        raise done.exception
    assert (done.return_value or 0) == exit_code
    return done.output


def test_a_demo_shows_before_mask_after_and_the_cost_of_every_step(tmp_path):
    for name, picture in (("bare", skin(0)), ("hairy", with_hair(skin(0), 0))):
        Image.fromarray(picture).save(tmp_path / f"{name}.jpg", quality=95)
    out = said("preprocess", tmp_path / "bare.jpg", tmp_path / "hairy.jpg", "--to", tmp_path / "to")
    for step in ("decode", "remove_hair", "balance_colour", "clahe", "resize"):
        assert step in out
    assert "bare.png  hair on 0.0%" in out
    assert "hairy.png  hair on 0.0%" not in out
    panel = np.asarray(Image.open(tmp_path / "to" / "hairy.png"))
    assert panel.shape[0] == 330
    assert panel.shape[1] == 5 * 408 + 308  # five stages at 4:3, the last square


def test_a_demo_takes_the_switches_of_a_recipe(tmp_path):
    Image.fromarray(skin(0)).save(tmp_path / "a.png")
    words = ["preprocess", tmp_path / "a.png", "--to", tmp_path, "--set", "clahe=none"]
    assert "clahe" not in said(*words)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="a.jpg: cannot identify"):
        said("preprocess", tmp_path / "a.jpg", "--to", tmp_path / "to")


def test_the_cache_is_shown_verified_and_cleared(small_source):
    assert "0 caches" in said("cache")
    made = build_cache(small_source, (Resize(8),))
    shown = said("cache", "--verify")
    assert made.folder.name in shown
    assert "resize 8" in shown
    assert "sound" in shown
    content = bytearray((made.folder / "pixels.npy").read_bytes())
    content[-1] ^= 1
    (made.folder / "pixels.npy").write_bytes(content)
    assert "DAMAGED" in said("cache", "--verify", exit_code=1)
    (caches_folder() / "x.building").mkdir()
    assert "removed" in said("cache", "--clear", "--unfinished")
    assert made.folder.exists()
    assert not (caches_folder() / "x.building").exists()
    said("cache", "--clear")
    assert not made.folder.exists()
