"""`compare` as a user runs it: on references alone, on the committed rows, and with mistakes.

One process runs them all, and no row is looked at closely for its own page (`tests/report` does).
"""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.cli.test_bad_input import refused
from tests.conftest import ROOT
from tests.real_data import HAM10000, needs_ham10000

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ASKED = ("--protocol", "groupkfold5", "--results", "results")


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """The command line in this process, run in an empty folder."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.score.row_report.row_reports", lambda *_: {})

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        asked = ["bench.py", *map(str, words)]
        monkeypatch.setattr(sys, "argv", asked)
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        told = capsys.readouterr()
        return subprocess.CompletedProcess(asked, int(ended.value.code or 0), told.out, told.err)

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["majority", "resnet19"], ["unknown row 'resnet19'", "majority", "prior", "uniform"]),
        (["majority"], ["compare takes two different rows or more"]),
        (["prior", "prior"], ["compare takes two different rows or more"]),
        (
            ["majority", "prior", "--metric", "f2"],
            ["unknown metrics in --metric", "f2", "macro_f1"],
        ),
        (["majority", "prior", "--margin", "-1"], ["--margin"]),
        (["majority", "prior", "--margin", "nan"], ["--margin", "not a finite number"]),
        (["majority", "prior", "--rope", "inf"], ["--rope", "not a finite number"]),
        (
            ["majority", "prior", "--margin", "2"],
            ["margin 2: macro-F1 is between 0 and 1; 2 points are 0.02"],
        ),
        (["majority", "prior", "--rope", "1"], ["rope 1: macro-F1 is between 0 and 1"]),
        (
            ["majority", "prior", "--metric", "log_loss", "--margin", "1e300"],
            ["margin 1e+300: log loss is between 0 and about 100"],
        ),
    ],
)
def test_mistakes_are_told_with_what_is_known(bench, words, said, tmp_path):
    refused(bench("compare", *words, *ASKED), *said)
    assert not list(tmp_path.rglob("*.html"))


def test_references_are_compared_and_the_leaderboard_links_to_the_page(bench, tmp_path):
    done = bench("compare", "majority", "uniform", *ASKED, "--metric", "accuracy")
    assert done.returncode == 0, done.stderr
    assert "On synthetic data. These models: " in done.stdout
    assert "trained again: not tested; majority is a reference row." in done.stdout
    assert "majority is not ranked: a reference." in done.stdout
    board = tmp_path / "results/groupkfold5/synthetic/leaderboard"
    folder = board / "compare/majority-vs-uniform~accuracy"
    assert {path.name for path in folder.iterdir()} == {
        "index.html",
        "comparison.json",
        "disagreements.csv",
    }
    told = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert told["metric"] == "accuracy"
    assert told["headline"] in " ".join(done.stdout.split())


def test_margin_and_rope_are_those_that_were_asked_for(bench, tmp_path):
    done = bench("compare", "majority", "uniform", *ASKED, "--margin", "0.02", "--rope", "0.05")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results").rglob("comparison.json")
    (pair,) = json.loads(path.read_text())["pairs"]
    assert pair["non_inferiority"]["margin"] == 0.02
    assert pair["belief"]["rope"] == 0.05


def test_an_image_on_which_several_rows_disagree_counts_once(bench, tmp_path):
    done = bench("compare", "majority", "prior", "uniform", *ASKED)
    (path,) = (tmp_path / "results").rglob("disagreements.csv")
    with path.open(newline="") as stream:
        images = [line["image_id"] for line in csv.DictReader(stream)]
    assert len(set(images)) < len(images)
    assert f"images on which rows differ: {len(set(images))}, in" in done.stdout


def test_a_comparison_is_made_again_with_the_board_where_its_rows_have_changed(bench, tmp_path):
    bench("compare", "majority", "uniform", *ASKED, "--margin", "0.02")
    (path,) = (tmp_path / "results").rglob("comparison.json")
    made = path.read_text()
    told = json.loads(made)
    assert told["family"].keys() == {"majority", "uniform"}
    mark = "what an earlier version said"
    path.write_text(json.dumps({**told, "headline": mark}))
    assert bench("report", *ASKED).returncode == 0
    assert json.loads(path.read_text())["headline"] == mark  # nothing has changed for it
    other = {**told["family"], "majority": 0.5}
    for family in (other, {**told["family"], "gone": 0.5}):
        path.write_text(json.dumps({**told, "headline": mark, "family": family}))
        assert bench("report", *ASKED).returncode == 0
        assert path.read_text() == made


def test_costs_stay_with_the_leaderboard_until_they_are_removed(bench, tmp_path):
    classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    lines = [",".join(["truth", *classes])]
    lines += [",".join([c, *("01"[c != other] for other in classes)]) for c in classes]
    costs = tmp_path / "mine.csv"
    costs.write_text("\n".join(lines))
    refused(bench("report", *ASKED, "--costs", tmp_path / "no.csv"), "no.csv: No such file")
    good = bench("report", *ASKED, "--costs", costs)
    assert good.returncode == 0, good.stderr
    (kept,) = (tmp_path / "results").rglob("costs.csv")
    assert kept.read_text() == costs.read_text()
    kept.write_text("truth,a\n")
    refused(bench("compare", "majority", "prior", *ASKED), str(kept.relative_to(tmp_path)))
    kept.unlink()
    assert bench("compare", "majority", "prior", *ASKED).returncode == 0


@needs_ham10000
def test_committed_rows_by_their_methods_names(bench, tmp_path):
    names = ("resnet18", "ensemble_of_three", "custom_cnn")
    asked = ("compare", *names, *ASKED, "--data", HAM10000)
    done = bench(*asked)
    assert done.returncode == 0, done.stderr
    assert "conditional on the trained models" in " ".join(done.stdout.split())
    assert "¹ few lesions, ² bias-corrected, ³ biased" in done.stdout
    assert re.search(r"│ ECE +│ [^│]*\] ² ³ +│", done.stdout)
    assert "Nadeau" not in done.stdout
    assert re.search(r"│ Macro AUC +│ [^│]*\] ¹ +│", done.stdout)
    board = tmp_path / "results/groupkfold5/ham10000/leaderboard"
    (path,) = board.glob("compare/*/comparison.json")
    told = json.loads(path.read_text(encoding="utf-8"))
    leaderboard = json.loads((board / "leaderboard.json").read_text(encoding="utf-8"))
    theirs = {frozenset((one["a"], one["b"])): one for one in leaderboard["comparisons"]}
    assert told["baseline"] == leaderboard["baseline"] == "ensemble_of_three"
    assert len(told["pairs"]) == 2
    for pair in told["pairs"]:
        one = pair["comparison"]
        same = theirs[frozenset((one["a"], one["b"]))]
        assert abs(one["difference"]) == pytest.approx(abs(same["difference"]))
        assert one["p"] == pytest.approx(same["p"])
        assert {one["methods"], same["methods"]} <= {"better", "worse"}
        assert one["trainings"] == 5
    assert "compare/" in (board / "index.html").read_text(encoding="utf-8")
    assert (ROOT / "baselines/results/groupkfold5/ham10000/resnet18@c5025f27").is_dir()
