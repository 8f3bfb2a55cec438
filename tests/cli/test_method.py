"""`method`: new files run as they are written, whatever the kind; installed methods are listed."""

from __future__ import annotations

import json
import os

import pytest

from tests.cli.test_bad_input import bench, refused

PACKAGE = '''"""brown: every lesion gets the shares of its training part."""

import numpy as np

from bench.method import Recipe
from bench.predictions import Predictions

RECIPE = Recipe(image_size=16)


def fit_predict(task):
    shares = np.bincount(task.train.labels, minlength=len(task.classes)) / len(task.train)
    return Predictions(task.test.image_ids, np.tile(shares, (len(task.test), 1)), task.classes)
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package on the path of every process of the test."""
    site = tmp_path / "site"
    (site / "brown-1.0.dist-info").mkdir(parents=True)
    (site / "brown.py").write_text(PACKAGE)
    (site / "brown-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: brown\nVersion: 1.0\n"
    )
    (site / "brown-1.0.dist-info" / "entry_points.txt").write_text(
        "[bench.methods]\nbrown = brown\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    return tmp_path


def test_new_files_of_every_kind_and_an_installed_method_become_rows(installed):
    for kind in ("recipe", "model", "whole"):
        done = bench("method", "new", f"my_{kind}", "--kind", kind, cwd=installed)
        assert done.returncode == 0, done.stderr
        assert f"--method my_{kind}.py" in done.stdout
    words = [
        word for kind in ("recipe", "model", "whole") for word in ("--method", f"my_{kind}.py")
    ]
    ran = bench(
        "run", "--protocol", "groupkfold5", *words, "--method", "brown", "--folds", "0",
        "--image-size", 32, "--set", "epochs=1", "--set", "metadata=late", cwd=installed,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    board = installed / "results" / "groupkfold5" / "synthetic" / "leaderboard" / "leaderboard.json"
    rows = {row["method"]: row for row in json.loads(board.read_text())["methods"]}
    assert set(rows) == {"my_recipe", "my_model", "my_whole", "brown"} | {
        "majority",
        "prior",
        "uniform",
    }
    (record,) = (installed / "results").glob("*/*/brown@*/seed0/fold0/record.json")
    record = json.loads(record.read_text())
    assert "--method brown " in record["command"] + " "
    (record,) = (installed / "results").glob("*/*/my_model@*/seed0/fold0/record.json")
    record = json.loads(record.read_text())
    assert record["job"]["recipe"]["model"] == "build_model"
    assert record["facts"]["pretraining_data"] == "none"
    assert record["facts"]["fusion_weights"]["metadata"] > 0


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    assert bench("method", "new", "mine", cwd=tmp_path).returncode == 0
    (tmp_path / "mine.py").write_text("precious")
    refused(
        bench("method", "new", "mine", "--kind", "whole", cwd=tmp_path), "mine.py: exists already"
    )
    assert (tmp_path / "mine.py").read_text() == "precious"
    refused(bench("method", "new", "resnet18", cwd=tmp_path), "'resnet18' is taken")


def test_every_method_is_listed_with_its_passport(installed):
    done = bench("method", "list", cwd=installed)
    assert done.returncode == 0, done.stderr
    for name in ("custom_cnn", "swin_tiny", "brown"):
        assert f"{name}\n{name}: " in done.stdout
    assert "installed  brown 1.0" in done.stdout


def test_a_check_that_fails_is_told_in_a_line_and_by_the_exit_code(tmp_path):
    (tmp_path / "mine.py").write_text('"""mine."""\nimport nothing_there\n')
    done = bench("method", "check", "mine.py", "--to", "kept", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.split()[:2] == ["FAILED", "imports"]
    assert "No module named 'nothing_there'" in line
    assert (tmp_path / "kept" / "probes" / "import" / "log.txt").is_file()
    refused(bench("method", "check", "nothing.py", cwd=tmp_path), "nothing.py: no such method file")
    refused(bench("method", "check", "resnet19", cwd=tmp_path), "unknown method 'resnet19'")
