"""`submit` as a user runs it: a file becomes a row, a broken one leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import refusals
from tests.cli.test_bad_input import bench, refused
from tests.conftest import ROOT
from tests.real_data import HAM10000, needs_ham10000

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def predictions(path: Path) -> pd.DataFrame:
    """Random probabilities for every image of the synthetic set."""
    roles = pd.read_csv(ROOT / "protocols" / "groupkfold5" / "synthetic.csv", comment="#")
    probs = np.random.default_rng(0).dirichlet(np.ones(len(CLASSES)), len(roles))
    frame = pd.DataFrame(probs, columns=[f"p_{name}" for name in CLASSES])
    frame.insert(0, "image_id", roles["image_id"])
    frame.to_csv(path, index=False)
    return frame


def test_a_submission_stands_on_the_leaderboard_with_its_own_numbers(tmp_path):
    frame = predictions(tmp_path / "preds.csv")
    asked = ("submit", "preds.csv", "--name", "theirs", "--protocol", "groupkfold5")
    told = ("--origin", "a paper", "--pretraining-data", "none")
    done = bench(*asked, *told, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "submitted: training not verified" in done.stdout
    folder = tmp_path / "results" / "groupkfold5" / "synthetic"
    board = json.loads((folder / "leaderboard" / "leaderboard.json").read_text())
    (row,) = [row for row in board["methods"] if row["name"] == "theirs"]
    assert (row["kind"], row["complete"]) == ("submitted", True)
    assert row["rank"]["best"] == 1
    assert row["metrics"]["accuracy"]["n"] == len(frame)
    assert row["per_class"]["mel"]["sens_at_spec_90"]["value"] is None
    assert "training not verified" in (folder / "leaderboard" / "index.html").read_text()
    refused(bench(*asked, cwd=tmp_path), "holds a submission already", "--replace")
    silent = bench(*asked, "--replace", cwd=tmp_path)
    assert "unranked:" in silent.stdout


def test_a_broken_submission_leaves_nothing_behind(tmp_path):
    frame = predictions(tmp_path / "preds.csv")
    frame.iloc[1:].to_csv(tmp_path / "preds.csv", index=False)
    asked = ("submit", "preds.csv", "--name", "theirs", "--protocol", "groupkfold5")
    refused(bench(*asked, cwd=tmp_path), f"{frame['image_id'][0]} is missing")
    assert not list((tmp_path / "results").glob("**/theirs"))


@needs_ham10000
def test_a_submission_named_like_a_committed_row_is_refused_before_anything_is_written(tmp_path):
    row = ROOT / "baselines" / "results" / "groupkfold5" / "ham10000" / "ensemble_of_three"
    folds = [pd.read_parquet(path) for path in row.glob("seed0/fold*/predictions.parquet")]
    pd.concat(folds).to_csv(tmp_path / "preds.csv", index=False)
    asked = ("submit", "preds.csv", "--name", row.name, "--protocol", "groupkfold5")
    done = bench(*asked, "--data", HAM10000, "--results", "results", cwd=tmp_path)
    refused(done, "--name ensemble_of_three: is the name of a committed row", "give another name")
    assert list((tmp_path / "results").iterdir()) == []


def test_the_page_of_refusals_shows_what_is_said_today():
    assert len(refusals.BROKEN) >= 10
    told = refusals.page()
    assert (ROOT / "docs/verification/submission_errors.md").read_text(encoding="utf-8") == told
    for said in (part[1] for part in refusals.refusals().values()):
        assert ";" in said, "a refusal names the cure"
