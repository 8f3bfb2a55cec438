"""`publish` as a user runs it: whole, again the same, and never over anything of anyone else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.cli.report import publish
from bench.errors import DataError, ResultsError
from bench.io import sha256_of
from bench.run.submissions import Submission, keep_submission, row_folder
from tests.real_data import HAM10000, needs_ham10000
from tests.report import sites, dataset_reports


def hand_in(results: Path, row: str, seed: int) -> None:
    """A row of random predictions, as `submit` keeps it."""
    bench = dataset_reports.opened()
    file = sites.handed_in(results.parent / f"{row}.csv", seed)
    submission = Submission(
        name=row,
        protocol="groupkfold5",
        dataset="synthetic",
        roster_sha256=bench.source.manifest.roster_sha256,
        roles_sha256=bench.roles_sha256,
        file="submission.csv",
        sha256=sha256_of(file),
        original=file.name,
        origin="<b>a paper</b>",
        licence="none",
        pretraining_data="none",
        accepted=datetime(2026, 1, 1 + seed, tzinfo=UTC).isoformat(),
    )
    keep_submission(row_folder(results, "groupkfold5", "synthetic", row), file, submission)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publish") / "results"
    for seed, row in enumerate(("theirs", "others")):
        hand_in(folder, row, seed)
    return folder


def run(to: Path, results: Path, *more: str) -> None:
    publish.main(
        ["--to", str(to), "--results", str(results), *more], standalone_mode=False, prog_name="p"
    )


def state(folder: Path) -> dict[str, tuple[str, int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): (
            sha256_of(path),
            path.stat().st_mtime_ns,
            path.stat().st_ino,
        )
        for path in files
    }


@pytest.fixture(scope="module")
def site(results: Path) -> Path:
    folder = results.parent / "site"
    run(folder, results)
    return folder


def test_a_site_has_pages_tables_predictions_feed_and_sums(site, results):
    board = site / "groupkfold5" / "synthetic"
    for name in ("index.html", "dataset.html", "predictions.html", "leaderboard.csv"):
        assert (board / name).is_file()
    rows = json.loads((board / "leaderboard.json").read_text())["methods"]
    assert {"theirs", "others"} < {row["name"] for row in rows}
    kept = site / "results" / "groupkfold5" / "synthetic" / "theirs" / "submission.csv"
    own = row_folder(results, "groupkfold5", "synthetic", "theirs") / "submission.csv"
    assert kept.read_bytes() == own.read_bytes()
    sums = (site / "SHA256SUMS").read_text().splitlines()
    assert len(sums) == len(state(site)) - 1
    for line in sums:
        told, _, name = line.partition("  ")
        assert sha256_of(site / name) == told
    assert "ham10000: its metadata was not given" in (site / "index.html").read_text()


def test_publishing_again_leaves_every_file_as_it_is(site, results, capsys):
    before = state(site)
    run(site, results)
    assert state(site) == before
    assert "0 files new, 0 changed, 0 removed" in capsys.readouterr().out


def test_the_published_results_are_a_results_folder(site, tmp_path):
    run(tmp_path / "again", site / "results")
    first, second = state(site), state(tmp_path / "again")
    assert {name: found[0] for name, found in first.items()} == {
        name: found[0] for name, found in second.items()
    }


def test_files_of_others_are_refused_by_name_and_left_alone(results, tmp_path):
    run(tmp_path / "mine", results)
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ResultsError, match=r"not the site's: notes\.txt"):
        run(tmp_path / "mine", results)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("other")
    with pytest.raises(ResultsError, match="neither empty nor a site"):
        run(tmp_path / "other", results)
    assert (tmp_path / "other" / "index.html").read_text() == "other"


@pytest.mark.parametrize("where", ["results", "results/site", "."])
def test_a_site_neither_lies_in_the_results_nor_holds_them(results, where):
    with pytest.raises(ResultsError, match="results folder"):
        run(results.parent / where, results)


def test_rows_of_ones_own_whose_data_is_not_given_are_not_lost_in_silence(tmp_path):
    kept = tmp_path / "results" / "groupkfold5" / "ham10000" / "mine"
    kept.mkdir(parents=True)
    (kept / "submission.json").write_text("{}")
    with pytest.raises(DataError, match="rows of ham10000, but no --data"):
        run(tmp_path / "site", tmp_path / "results")
    assert not (tmp_path / "site").exists()


@needs_ham10000
def test_committed_rows_are_published_where_there_are_no_results_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultsError, match="--results gone: no such folder"):
        run(tmp_path / "site", Path("gone"), "--data", str(HAM10000), "--protocol", "holdout")
    words = ["--to", "site", "--data", str(HAM10000), "--protocol", "holdout"]
    publish.main(words, standalone_mode=False, prog_name="p")
    assert "HAM10000" in (tmp_path / "site" / "index.html").read_text()
