"""`compare` as a user runs it: on references alone, on the committed rows, and with mistakes."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_bad_input import bench, refused
from tests.conftest import ROOT
from tests.real_data import HAM10000, needs_ham10000

ASKED = ("--protocol", "groupkfold5", "--results", "results")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["majority", "resnet19"], ["unknown row 'resnet19'", "majority", "prior", "uniform"]),
        (["majority"], ["compare takes two different rows or more"]),
        (["prior", "prior"], ["compare takes two different rows or more"]),
        (["majority", "prior", "--metric", "f2"], ["unknown metrics", "f2", "macro_f1"]),
        (["majority", "prior", "--margin", "-1"], ["--margin"]),
    ],
)
def test_mistakes_are_told_with_what_is_known(words, said, tmp_path):
    refused(bench("compare", *words, *ASKED, cwd=tmp_path), *said)
    assert not list(tmp_path.rglob("*.html"))


def test_references_are_compared_and_the_leaderboard_links_to_the_page(tmp_path):
    done = bench("compare", "majority", "uniform", *ASKED, "--metric", "accuracy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "On synthetic data: " in done.stdout
    assert "majority is not ranked: a reference." in done.stdout
    board = tmp_path / "results/groupkfold5/synthetic/leaderboard"
    folder = board / "compare/majority-vs-uniform"
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        "comparison.json",
        "disagreements.csv",
    }
    told = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert told["metric"] == "accuracy"
    assert told["headline"] in " ".join(done.stdout.split())


@needs_ham10000
def test_committed_rows_by_their_methods_names(tmp_path):
    names = ("resnet18", "efficientnet_phase4@c5025f27", "custom_cnn")
    asked = ("compare", *names, *ASKED, "--data", HAM10000)
    done = bench(*asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    board = tmp_path / "results/groupkfold5/ham10000/leaderboard"
    (path,) = board.glob("compare/*/comparison.json")
    told = json.loads(path.read_text(encoding="utf-8"))
    leaderboard = json.loads((board / "leaderboard.json").read_text(encoding="utf-8"))
    theirs = {frozenset((one["a"], one["b"])): one for one in leaderboard["comparisons"]}
    for pair in told["pairs"]:
        one = pair["comparison"]
        same = theirs[frozenset((one["a"], one["b"]))]
        assert abs(one["difference"]) == pytest.approx(abs(same["difference"]))
        assert one["p_adjusted"] == pytest.approx(same["p_adjusted"])
    assert "compare/" in (board / "index.html").read_text(encoding="utf-8")
    assert (ROOT / "baselines/results/groupkfold5/ham10000/resnet18@c5025f27").is_dir()
