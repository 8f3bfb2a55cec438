"""`report`: what is damaged is told, and everything else is shown."""

from __future__ import annotations

import json

from tests.cli.test_bad_input import bench

PROTOCOL = ("--protocol", "groupkfold5")


def test_a_damaged_fold_leaves_its_row_unranked_and_all_others_as_they_are(tmp_path):
    words = ("--method", "metadata_logistic", "--method", "colour_neighbours")
    done = bench("run", *PROTOCOL, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "results" / "groupkfold5" / "synthetic"
    assert bench("report", *PROTOCOL, cwd=tmp_path).returncode == 0
    before = rows(root)
    (lost,) = root.glob("metadata_logistic*/seed0/fold1/val_predictions.parquet")
    lost.unlink()
    done = bench("report", *PROTOCOL, cwd=tmp_path)
    assert done.returncode == 1
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("warning: damaged file, its fold counts as missing: ")
    assert "fold1/val_predictions.parquet: is missing; run again" in warning
    after = rows(root)
    named = lost.parents[2].name
    assert after[named]["folds"] == [0, 2, 3, 4]
    assert (after[named]["complete"], after[named]["rank"]["best"]) == (False, None)
    (other,) = before.keys() - {named, "majority", "prior", "uniform"}
    assert after[other]["metrics"] == before[other]["metrics"]
    assert "fold1/val_predictions.parquet: is missing" in (
        root / "leaderboard" / "index.html"
    ).read_text(encoding="utf-8")  # fmt: skip


def rows(root):
    board = json.loads((root / "leaderboard" / "leaderboard.json").read_text(encoding="utf-8"))
    return {row["name"]: row for row in board["methods"]}
