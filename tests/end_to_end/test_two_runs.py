"""Two `run` commands at once on one results folder, as users may start them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.test_bad_input import bench
from tests.conftest import ROOT

METHOD = '''"""alike: takes all classes for alike probable, and notes that it was asked."""
import time
import numpy as np
from bench.method import Method, Recipe
from bench.predictions import Predictions

def fit_predict(task):
    with open({tries!r}, "a") as file:
        file.write(f"{{task.column}}\\n")
    time.sleep(0.5)
    alike = np.full((len(task.test), len(task.classes)), 1 / len(task.classes))
    return Predictions(task.test.image_ids, alike, task.classes)

METHOD = Method("alike", Recipe(image_size=8, epochs=1), fit_predict)
'''


@pytest.mark.slow
def test_two_runs_on_one_folder_do_each_job_once(tmp_path):
    tries = tmp_path / "tries.txt"
    (tmp_path / "alike.py").write_text(METHOD.format(tries=str(tries)))
    run = (
        "run", "--protocol", "groupkfold5", "--method", "alike.py", "--folds", "0,1,2",
        "--jobs", "1",
    )  # fmt: skip
    words = [sys.executable, str(ROOT / "bench.py"), *run]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    runs = [subprocess.Popen(words, cwd=tmp_path, **pipes) for _ in range(2)]
    said = [each.communicate(timeout=200)[0] for each in runs]
    assert [each.returncode for each in runs] == [0, 0], said
    assert sorted(tries.read_text().split()) == ["0", "1", "2"]
    checked = bench("verify-results", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    assert "results: 3 records" in checked.stdout
    assert "note" not in checked.stdout
    assert "FAULT" not in checked.stdout
