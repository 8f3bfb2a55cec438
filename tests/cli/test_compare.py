"""`compare` as a user runs it: on references alone, on the committed rows, and with mistakes.

One process runs them all, and no row is looked at closely for its own page (`tests/report` does).
"""

from __future__ import annotations

import json
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
    monkeypatch.setattr("bench.score.closeup.closeups", lambda *_: {})

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
        (["majority", "prior", "--margin", "nan"], ["--margin", "no finite number"]),
        (["majority", "prior", "--rope", "inf"], ["--rope", "no finite number"]),
    ],
)
def test_mistakes_are_told_with_what_is_known(bench, words, said, tmp_path):
    refused(bench("compare", *words, *ASKED), *said)
    assert not list(tmp_path.rglob("*.html"))


def test_references_are_compared_and_the_leaderboard_links_to_the_page(bench, tmp_path):
    done = bench("compare", "majority", "uniform", *ASKED, "--metric", "accuracy")
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
def test_committed_rows_by_their_methods_names(bench, tmp_path):
    names = ("resnet18", "efficientnet_phase4@c5025f27", "custom_cnn")
    asked = ("compare", *names, *ASKED, "--data", HAM10000)
    done = bench(*asked)
    assert done.returncode == 0, done.stderr
    assert "conditional on the trained models" in " ".join(done.stdout.split())
    assert "* few lesions, percentile, biased" in done.stdout
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
