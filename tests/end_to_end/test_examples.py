"""The examples as a user runs them: whole methods of every sort, and a protocol in scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from bench.data.synthetic import open_synthetic
from tests.cli.test_bad_input import bench
from tests.conftest import ROOT

EXAMPLES = sorted(path.stem for path in (ROOT / "baselines" / "examples").glob("*.py"))


def rows(folder):
    board = folder / "results" / "groupkfold5" / "synthetic" / "leaderboard" / "leaderboard.json"
    return {row["method"]: row for row in json.loads(board.read_text())["methods"]}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Every example on two folds of the synthetic set, its images at 32 px."""
    folder = tmp_path_factory.mktemp("examples")
    words = [word for name in EXAMPLES for word in ("--method", name)]
    done = bench("run", "--protocol", "groupkfold5", *words, "--folds", "0,1", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_example_is_a_row_well_above_the_references(ran):
    assert len(EXAMPLES) >= 4
    found = rows(ran)
    majority = found["majority"]["metrics"]["macro_f1"]["value"]
    for name in EXAMPLES:
        assert found[name]["folds"] == [0, 1]
        assert found[name]["metrics"]["macro_f1"]["value"] > majority + 0.05


def test_features_are_computed_once_for_all_folds_of_a_seed(ran, cache):
    assert len(list((cache / "features").glob("*.npy"))) == 1
    records = (ran / "results").glob("*/*/linear_probe/seed0/fold*/record.json")
    assert {json.loads(r.read_text())["facts"]["initial_weights"] for r in records} == {"random"}


def test_folds_exported_to_scikit_learn_come_back_as_a_submission(ran, tmp_path):
    metadata = open_synthetic().folder / "metadata.csv"
    exported = bench("protocol", "show", "groupkfold5", "--export", "folds.csv", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    script = ROOT / "docs" / "examples" / "predefined_split.py"
    words = [str(script), "folds.csv", str(metadata), "preds.csv"]
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, timeout=600)
    labels = pd.read_csv(metadata).set_index("image_id")["dx"]
    made = pd.read_csv(tmp_path / "preds.csv").set_index("image_id")
    submitted = bench(
        "submit", tmp_path / "preds.csv", "--name", "forest", "--protocol", "groupkfold5",
        "--pretraining-data", "none", cwd=ran,
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stderr
    chosen = made.idxmax(axis=1).str.removeprefix("p_")
    found = rows(ran)["forest"]
    assert found["kind"] == "submitted"
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(
        (chosen == labels.loc[chosen.index]).mean()
    )
