"""`ensemble`: rows of the results joined as a row of their own, by weights from val alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from bench.data.synthetic import synthetic_manifest
from tests.cli.test_bad_input import bench, refused
from tests.conftest import ROOT
from tests.real_data import HAM10000, needs_ham10000

PROTOCOL = ("--protocol", "groupkfold5")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two cheap rows on two folds, and their ensemble."""
    folder = tmp_path_factory.mktemp("ensemble")
    words = ("--method", "metadata_logistic", "--method", "colour_neighbours", "--folds", "0,1")
    done = bench("run", *PROTOCOL, *words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    joined = bench("ensemble", *ROWS, "--name", "both", *PROTOCOL, cwd=folder)
    assert joined.returncode == 0, joined.stdout + joined.stderr
    return folder


ROWS = ("metadata_logistic", "colour_neighbours")


def read(place, row, fold, part=""):
    (folder,) = (place / "results" / "groupkfold5" / "synthetic").glob(f"{row}*")
    table = pd.read_parquet(folder / "seed0" / f"fold{fold}" / f"{part}predictions.parquet")
    return table.set_index("image_id")


def test_weights_are_the_best_of_each_folds_val_and_are_used_on_its_test(place):
    manifest = synthetic_manifest()
    labels = pd.Series(manifest.labels, index=manifest.image_ids)
    for fold in (0, 1):
        one, other = (read(place, row, fold, "val_") for row in ROWS)
        other, wanted = other.loc[one.index], labels.loc[one.index].to_numpy()
        given = [np.asarray(each)[np.arange(len(wanted)), wanted] for each in (one, other)]
        best = minimize_scalar(
            lambda w, given=given: -np.log(w * given[0] + (1 - w) * given[1]).mean(),
            bounds=(0, 1), method="bounded", options={"xatol": 1e-8},
        ).x  # fmt: skip
        test = best * read(place, ROWS[0], fold) + (1 - best) * read(place, ROWS[1], fold)
        np.testing.assert_allclose(read(place, "both", fold).loc[test.index], test, atol=1e-4)


def test_an_ensemble_is_a_row_that_names_its_members(place):
    board = place / "results" / "groupkfold5" / "synthetic" / "leaderboard"
    rows = {
        row["name"]: row for row in json.loads((board / "leaderboard.json").read_text())["methods"]
    }
    assert rows["both"]["folds"] == [0, 1]
    assert "nothing was trained" in (board / "index.html").read_text()
    checked = bench("verify-results", cwd=place)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    again = bench(
        "ensemble", *ROWS, "--name", "both", "--pool", "log", *PROTOCOL, "--replace", cwd=place
    )
    assert again.returncode == 0, again.stderr
    record = (
        place / "results" / "groupkfold5" / "synthetic" / "both" / "seed0" / "fold0" / "record.json"
    )
    job = json.loads(record.read_text())["job"]
    assert job["variant"] == {"ensemble of": " + ".join(ROWS), "pool": "log"}
    assert job["recipe"]["pretraining_data"] == "none"


@needs_ham10000
def test_the_readmes_command_gives_the_committed_ensemble_again(tmp_path):
    row = "groupkfold5/ham10000/ensemble_of_three"
    asked = ("resnet18", "custom_cnn", "linear_probe", "--name", "ensemble_of_three", *PROTOCOL)
    done = bench("ensemble", *asked, "--data", HAM10000, "--results", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "seeds 1, 2" in done.stdout
    committed = ROOT / "baselines" / "results" / row
    paths = sorted(path.relative_to(committed) for path in committed.glob("**/*.parquet"))
    made = tmp_path / "results" / row
    assert paths == sorted(path.relative_to(made) for path in made.glob("**/*.parquet"))
    for path in paths:
        own, theirs = (pd.read_parquet(root / path) for root in (made, committed))
        pd.testing.assert_frame_equal(own, theirs, rtol=0, atol=1e-6)


def test_what_makes_no_ensemble_is_refused(place):
    asked = ("ensemble", *ROWS, *PROTOCOL)
    refused(bench(*asked, "--name", "both", cwd=place), "holds an ensemble already; give --replace")
    refused(bench(*asked, "--name", ROWS[0], cwd=place), "is the name of a row of the bench")
    one = bench("ensemble", ROWS[0], ROWS[0], *PROTOCOL, "--name", "x", cwd=place)
    refused(one, "two different rows or more")
    prior = bench("ensemble", ROWS[0], "prior", *PROTOCOL, "--name", "x", cwd=place)
    refused(prior, "prior: is a reference row")


def test_the_name_of_a_submission_is_refused_whether_replace_is_given_or_not(place):
    mark = place / "results" / "groupkfold5" / "synthetic" / "theirs" / "submission.json"
    mark.parent.mkdir()
    mark.touch()
    for words in ([], ["--replace"]):
        done = bench("ensemble", *ROWS, *PROTOCOL, "--name", "theirs", *words, cwd=place)
        refused(done, "theirs holds a submission; take another name")
    mark.unlink()
