"""A protocol with arms from the command line: planned, run, resumed, scored, shown."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.test_bad_input import bench, write_metadata

METHOD = '''"""remembers: knows the colours it has seen; a sibling gives the label away."""

import numpy as np

from bench.method import Method, Recipe
from bench.predictions import Predictions


def fit_predict(task):
    known = task.train.images.take(np.arange(len(task.train))).mean(axis=(1, 2))

    def predict(part):
        seen = part.images.take(np.arange(len(part))).mean(axis=(1, 2))
        nearest = np.abs(seen[:, None] - known[None]).sum(axis=2).argmin(axis=1)
        probs = np.eye(len(task.classes))[task.train.labels[nearest]]
        return Predictions(part.image_ids, probs, task.classes)

    task.journal.val_predictions(predict(task.val))
    return predict(task.test)


METHOD = Method("remembers", Recipe(image_size=16), fit_predict)
'''
PROTOCOL = """name = "meter"
title = "Meter"
[split]
kind = "leakage-meter"
folds = 2
seed = 1
val = 0.1
control = true
[split.arms]
clean = ["fold0", "fold1"]
leaky = ["fold2", "fold3"]
[interval]
resamples = 200
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lesions of one or three views; a lesion has a colour of its own, whatever its class."""
    (tmp_path / "data").mkdir()
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "meter.toml").write_text(PROTOCOL)
    (tmp_path / "remembers.py").write_text(METHOD)
    monkeypatch.setenv("BENCH_PROTOCOLS", str(tmp_path / "protocols"))
    rng = np.random.default_rng(0)
    rows = []
    for lesion in range(90):
        colour = rng.integers(0, 256, 3)
        for view in range(1 + 2 * (lesion % 3 == 0)):
            image_id = f"ISIC_{lesion:03d}{view}"
            dx = ("nv", "mel", "bkl")[lesion // 3 % 3]
            rows.append(f"HAM_{lesion:03d},{image_id},{dx},histo,50,male,back,rosendahl")
            pixels = np.clip(colour + rng.integers(-2, 3, (15, 20, 3)), 0, 255)
            cv2.imwrite(str(tmp_path / "data" / f"{image_id}.png"), pixels.astype(np.uint8))
    write_metadata(tmp_path / "data", rows)
    return tmp_path


def test_the_meter_finds_a_method_that_remembers_groups(place: Path) -> None:
    done = bench("protocol", "freeze", "meter", "--data", "data", cwd=place)
    assert done.returncode == 0, done.stderr
    run = ("run", "--protocol", "meter", "--data", "data", "--method", "remembers.py", "--jobs", 2)
    first = bench(*run, "--folds", "0,1,2", cwd=place)
    assert first.returncode == 0, first.stderr
    assert "arm leaky: folds 2, 3" in first.stdout
    done = bench(*run, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "4 jobs, 3 of them done already" in done.stdout
    row = next((place / "results" / "meter" / "ham10000").glob("remembers*"))
    assert sorted(path.name for path in (row / "seed0").iterdir()) == [
        "fold0",
        "fold1",
        "fold2",
        "fold3",
    ]
    folder = place / "results" / "meter" / "ham10000" / "leaderboard"
    board = json.loads((folder / "leaderboard.json").read_text())
    assert all(method["rank"]["best"] is None for method in board["methods"])
    clean, leaky = board["arms"]["rows"]
    assert leaky["metrics"]["accuracy"]["value"] == 1.0
    assert clean["metrics"]["accuracy"]["value"] < 0.7
    assert leaky["difference"]["metrics"]["accuracy"]["low"] > 0
    assert "Leakage meter" in (folder / "index.html").read_text()
