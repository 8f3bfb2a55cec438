"""`predict` from the command line: files and folders in, CSV or JSON out, faults in a line."""

import csv
import io
import json
import os

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from bench.errors import BenchError
from bench.method import Recipe
from bench.settings import DISCLAIMER
from bench.train import fit_predict
from bench.train.predictor import load_predictor
from tests.cli.test_bad_input import bench, refused
from tests.conftest import CLASSES, ROOT
from tests.train.conftest import make_task

__all__ = ["make_task"]


@pytest.fixture
def checkpoint(make_task):
    task = make_task(Recipe(image_size=16, epochs=2, batch_size=8, lr=5e-3))
    fit_predict(task)
    return task.folder / "best.safetensors"


def predict(*words):
    asked = ["predict", *map(str, words)]
    return CliRunner().invoke(cli, asked, catch_exceptions=False, standalone_mode=False)


def test_a_folder_becomes_rows_that_sum_to_one(checkpoint, small_source, tmp_path):
    pictures = tmp_path / "pictures"
    asked = ("--checkpoint", checkpoint, small_source.folder)
    done = predict(*asked, "--gradcam", pictures, "--uncalibrated")
    assert done.return_value == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    files = sorted(small_source.folder.iterdir())
    assert [row["image"] for row in rows] == [str(path) for path in files]
    probs = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-5)
    expected = [
        prediction.probs
        for prediction in load_predictor(checkpoint, calibrated=False).predict(files)
    ]
    assert np.allclose(probs, expected, atol=1e-5)
    assert [row["called"] for row in rows] == [CLASSES[best] for best in probs.argmax(axis=1)]
    assert sorted(path.stem for path in pictures.iterdir()) == [path.stem for path in files]
    assert DISCLAIMER in done.stderr
    assert "a second on cpu" in done.stderr


def test_no_file_name_is_a_formula_in_the_table(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("=1+1.png", np.full((40, 30, 3), 120, np.uint8))
    done = predict("--checkpoint", checkpoint, "=1+1.png")
    assert done.stdout.splitlines()[1].startswith("'=1+1.png,")


def test_json_tells_models_warnings_and_notice(checkpoint, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((40, 30, 3), 120, np.uint8))
    (tmp_path / "no.png").write_bytes(b"nothing")
    made = tmp_path / "out.json"
    twice = ("--checkpoint", checkpoint, "--checkpoint", checkpoint)
    done = predict(
        *twice, "--format", "json", "--to", made, tmp_path / "grey.png", tmp_path / "no.png"
    )
    assert done.return_value == 1  # one file cannot be read, the other is told
    assert done.stdout == ""
    found = json.loads(made.read_text())
    assert found["notice"] == DISCLAIMER
    assert len(found["models"]) == 2
    (image,) = found["images"]
    assert sum(image["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert any("not like skin" in warning for warning in image["warnings"])
    assert list(found["unreadable"]) == [str(tmp_path / "no.png")]
    assert "WARNING: 1 of 1 images have warnings" in done.stderr


def test_what_cannot_be_used_is_told_in_a_line(checkpoint, small_source, tmp_path):
    image = next(small_source.folder.iterdir())
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "no.png").write_bytes(b"nothing")
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for words, said in (
        (("--checkpoint", checkpoint, tmp_path / "x.png"), "x.png: no such file or folder"),
        (("--checkpoint", checkpoint, empty), "empty: no JPEG or PNG file below this folder"),
        (("--checkpoint", checkpoint, pipe), "pipe.png: is a named pipe"),
        (("--checkpoint", checkpoint, tmp_path / "no.png"), "no image can be read: .*no.png"),
        (("--checkpoint", image, image), "cannot be read as a checkpoint"),
        (("--checkpoint", tmp_path / "x", image), "x: no such checkpoint"),
        (("--checkpoint", empty, image), "holds no checkpoint of a finished job"),
        (
            ("--checkpoint", checkpoint, image, tmp_path / image.name, "--gradcam", tmp_path / "p"),
            "images of the same name",
        ),
    ):
        (tmp_path / image.name).write_bytes(image.read_bytes())
        with pytest.raises(BenchError, match=said):
            predict(*words)


def test_the_examples_are_what_the_synthetic_set_draws_and_a_fault_exits_2(tmp_path):
    from bench.data.synthetic import open_synthetic

    drawn = open_synthetic().folder / "images"
    kept = sorted((ROOT / "docs" / "examples" / "images").iterdir())
    assert len(kept) >= 4
    for path in kept:
        one, other = (cv2.imread(str(each)).astype(int) for each in (path, drawn / path.name))
        assert np.abs(one - other).mean() < 2  # other versions of opencv draw other last bits
    refused(bench("predict", "--checkpoint", "x", kept[0], cwd=tmp_path), "x: no such checkpoint")
