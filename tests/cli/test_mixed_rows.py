"""Runs that continue after code, metadata, helper modules or input files have changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_bad_input import bench, folder, own_protocol, refused

__all__ = ["folder", "own_protocol"]  # fixtures

METHOD = '''"""guesses: the same answer for all images.

licence  MIT
"""

from pathlib import Path

import numpy as np

from bench.method import Recipe
from bench.predictions import Predictions
from constants import LARGEST

RECIPE = Recipe(image_size=16, pretraining_data="none")
INPUTS = ["table.txt"]


def fit_predict(task):
    """One class is likelier than the others."""
    probs = np.full((len(task.test), len(task.classes)), 0.1)
    probs[:, LARGEST] = 1
    probs /= probs.sum(axis=1, keepdims=True)
    return Predictions(task.test.image_ids, probs, task.classes)
'''


@pytest.fixture
def run(own_protocol, folder, tmp_path):
    assert own_protocol.is_dir()
    (tmp_path / "guesses.py").write_text(METHOD)
    (tmp_path / "constants.py").write_text("LARGEST = 0\n")
    (tmp_path / "table.txt").write_text("old")
    words = ("run", "--protocol", "own", "--data", folder, "--method", "guesses.py")
    return lambda *more: bench(*words, *more, cwd=tmp_path)


def rows(root: Path) -> dict[str, dict]:
    (board,) = root.glob("results/own/*/leaderboard/leaderboard.json")
    methods = json.loads(board.read_text())["methods"]
    # the files have another size than HAM10000's, so all rows are a variant: guesses@<hash>
    names = [(row["name"].partition("@")[2].partition("~")[2], row) for row in methods]
    return {f"guesses~{n}" if n else row["method"]: row for n, row in names}


def test_a_changed_helper_module_makes_a_row_beside_the_old_one(run, tmp_path):
    done = run("--folds", "0")
    assert done.returncode == 0, done.stderr
    (tmp_path / "constants.py").write_text("LARGEST = 1\n")
    done = run()
    assert done.returncode == 0, done.stderr
    assert "its code has changed since row guesses@" in done.stderr
    assert "2 jobs, 0 of them done already" in done.stdout
    found = rows(tmp_path)
    assert {"guesses", "guesses~2"} <= set(found)
    assert (found["guesses"]["complete"], found["guesses~2"]["complete"]) == (False, True)
    assert "2 jobs, 2 of them done already" in run().stdout
    (tmp_path / "constants.py").write_text("LARGEST = 0\n")
    assert "2 jobs, 1 of them done already" in run("--dry-run").stdout  # the first version again
    page = next(tmp_path.glob("results/own/*/leaderboard/index.html")).read_text()
    assert found["guesses~2"]["name"] in page


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [("data/HAM10000_metadata.csv", ",male,", ",female,", "metadata (age, sex, site)"),
     ("table.txt", "old", "new", "input files of the method")],
)  # fmt: skip
def test_changed_metadata_or_inputs_are_refused_by_name(run, tmp_path, file, old, new, part):
    assert run("--folds", "0").returncode == 0
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    refused(run(), f"1 finished jobs differ from this run in {part} (first: ", "--replace")
    assert "2 jobs, 0 of them done already" in run("--replace", "--dry-run").stdout
    (tmp_path / file).write_text(text)
    assert "2 jobs, 1 of them done already" in run("--dry-run").stdout


def test_other_code_of_the_bench_is_refused_replaced_or_marked(run, tmp_path):
    assert run("--folds", "0").returncode == 0
    (path,) = tmp_path.glob("results/own/*/guesses*/seed0/fold0/record.json")
    record = json.loads(path.read_text())
    assert len(record["engine_sha256"]) == 64
    path.write_text(
        json.dumps(
            record | {"engine_sha256": "ab" * 32, "git_commit": "44734cae51", "git_dirty": False}
        )
    )
    refused(run(), "other code of the bench (commit 44734cae5;", "--replace", "--mix-code")
    assert "2 jobs, 0 of them done already" in run("--replace", "--dry-run").stdout
    done = run("--mix-code")
    assert done.returncode == 0, done.stderr
    assert "2 jobs, 1 of them done already" in done.stdout
    row = rows(tmp_path)["guesses"]
    assert row["complete"]
    assert "mixed code" in row["badges"]
    (mark,) = [note for note in row["notes"] if "different code of the bench" in note]
    assert "44734cae5, source abababab (seed 0 fold 0)" in mark
    assert record["git_commit"][:9] in mark
    board = path.parents[3] / "leaderboard"
    assert "mixed code" in (board / "index.html").read_text()
    pages = [page.read_text() for page in (board / "methods").glob("guesses*.html")]
    assert any("44734cae5" in page for page in pages)
    done = run("--replace")
    assert "2 jobs, 1 of them done already" in done.stdout, done.stderr
    row = rows(tmp_path)["guesses"]
    assert "mixed code" not in row["badges"]
    assert not [note for note in row["notes"] if "code of the bench" in note]
