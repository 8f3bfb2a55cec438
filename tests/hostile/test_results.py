"""Results folders from elsewhere: nothing in them keeps a command waiting or breaks it, and nothing
that is not the bench's own is removed."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import PredictionError, ResultsError
from bench.io import MOST_TEXT
from bench.job import JobFile, JobLocation
from bench.leaderboard import MetricTable
from bench.report.arms import leak
from bench.run import results
from bench.run.integrity import merge_results, verify_results
from bench.run.published import compared_pages, leakage_meters, stored_comparisons
from bench.run.status import read_status
from bench.run.submissions import MAX_BYTES, all_submissions
from tests.hostile.test_large_files import grown
from tests.report.comparisons import compared
from tests.report.test_slices import meter_file
from tests.run.test_rows import finish, make_job
from tests.run.test_submissions import kept, read_submission, wanted

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")


def instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@needs_pipes
@pytest.mark.timeout(20)
def test_a_pipe_in_a_record_s_place_keeps_nobody_waiting(tmp_path):
    root = tmp_path / "results"
    (sound, odd) = (finish(root, make_job(fold)) for fold in range(2))
    instead(odd / "record.json")
    assert [folder for folder, _ in results.records(root, "p", "small")] == [sound]
    assert "is a named pipe" in results.damaged_folds(results.scan_jobs(root, "p", "small"))[0]
    assert any("is a named pipe" in each.what for each in verify_results(root, {}, root).findings)
    assert merge_results(root, tmp_path / "mine").copied == 1
    assert [job.state for row in read_status(root, {}) for job in row.jobs] == ["done", "damaged"]
    os.mkfifo(odd / "history.csv")
    assert results.read_history(odd / "history.csv") == {}
    instead(odd / "job.json")
    prepare(make_job(1), odd)
    assert (odd / "job.json").is_file()


@needs_pipes
@pytest.mark.timeout(20)
def test_a_pipe_in_a_submission_s_place_keeps_nobody_waiting(tmp_path):
    mark = kept(tmp_path) / "submission.json"
    instead(mark)
    with pytest.raises(ResultsError, match="named pipe"):
        list(all_submissions(tmp_path / "results", "p", "small"))
    with pytest.raises(PredictionError, match="named pipe"):
        read_submission(mark, wanted())


def test_a_record_and_a_submission_of_too_many_bytes_are_not_read(tmp_path):
    folder = finish(tmp_path, make_job(0))
    grown(folder / "record.json", MOST_TEXT)
    assert (
        "is larger than 64 MiB"
        in results.damaged_folds(results.scan_jobs(tmp_path, "p", "small"))[0]
    )
    large = grown(tmp_path / "large.csv", MAX_BYTES)
    with pytest.raises(PredictionError, match="is larger than 1024 MiB"):
        read_submission(large, wanted())


def prepare(job, folder: Path) -> str:
    place = JobLocation(
        method_file="m.py", store="s", fold_table="t", weights=None, folder=str(folder),
        device="cpu",
    )  # fmt: skip
    return results.prepare(JobFile(id=job.id, command="", job=job, place=place))


OTHERS = (".notes.tmp", ".session.7.tmp/keep", "a/b/.lock.12.tmp", "a/b/c/d/.draft.3.tmp/keep")
"""Of other programs, below a folder that somebody gave as the results by mistake."""


def test_sweeping_takes_what_the_bench_has_left_and_nothing_else(tmp_path):
    folder = finish(tmp_path, make_job(0))
    theirs = [tmp_path / name for name in OTHERS] + [folder / "checkpoints" / ".scratch.tmp"]
    mine = [folder / ".record.json.12.tmp", folder.parent / ".fold2.7.tmp" / "record.json"]
    for path in [*theirs, *mine]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"kept")
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    results.sweep(tmp_path)
    assert [path.exists() for path in theirs] == [True] * len(theirs)
    assert [path.exists() for path in mine] == [False] * len(mine)


def test_a_hidden_folder_or_link_in_a_job_s_folder_stops_no_run(tmp_path):
    job = make_job(0)
    folder = finish(tmp_path / "results", job)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    (folder / "checkpoints" / ".scratch.tmp").mkdir(parents=True)
    (folder / "checkpoints" / ".last.12.tmp").mkdir()
    (folder / "checkpoints" / ".best.12.tmp").symlink_to(outside)
    (folder / "record.json").unlink()
    assert prepare(job, folder) == "ready"
    left = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert left == [".scratch.tmp"]  # a method's own
    assert (outside / "mine.txt").read_text() == "mine"


DEEP = "[" * 100_000
ODD = [None, 5, -1, 1e308, 10**400, "x", "", [], [1], [[1]], {}, {"x": 1}, True]


def comparison_json() -> str:
    """comparison.json of two rows, with one metric and one discordant class."""
    report = compared("a", "b")
    (pair,) = report.pairs
    few = {"macro_f1": pair.differences.metrics["macro_f1"]}
    table = MetricTable(few, {})
    pair = replace(pair, differences=table, disagreements=pair.disagreements[:1])
    tables = dict.fromkeys(report.tables, table)
    dataset = replace(report.dataset, images_by_class={"a": 1}, groups_by_class={})
    return replace(report, pairs=(pair,), tables=tables, dataset=dataset).to_json()


def spoilt(sound: dict) -> Iterator[dict]:
    """The JSON with each of its values replaced by each odd one, and left out."""
    for path in places(sound):
        for value in [*ODD, places]:
            made = copy.deepcopy(sound)
            inside = made
            for key in path[:-1]:
                inside = inside[key]
            if value is places:
                del inside[path[-1]]
            else:
                inside[path[-1]] = value
            yield made


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value inside a value of JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inside:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


def comparison(board: Path, text: str) -> None:
    folder = board / "compare" / "a-vs-b"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text("")
    (folder / "comparison.json").write_text(text)


def test_what_is_no_comparison_of_ours_is_passed_over(tmp_path):
    sound = comparison_json()
    comparison(tmp_path, sound)
    (asked,) = stored_comparisons(tmp_path)
    assert (asked.rows, asked.metric, asked.rope, asked.margin) == (
        ("a", "b"), "macro_f1", 0.01, 0.02,
    )  # fmt: skip
    assert len(compared_pages(tmp_path, "ab")) == 1
    for text in (
        DEEP,
        "null",
        "[]",
        *map(json.dumps, ODD),
        *map(json.dumps, spoilt(json.loads(sound))),
    ):
        comparison(tmp_path, text)
        compared_pages(tmp_path, "ab")  # listed or passed over, never an error
        assert all(len(set(asked.rows)) > 1 for asked in stored_comparisons(tmp_path))
    comparison(tmp_path, DEEP)
    assert (compared_pages(tmp_path, "ab"), stored_comparisons(tmp_path)) == ([], [])


def test_what_is_no_leakage_meter_of_ours_is_passed_over(tmp_path):
    here, there = (tmp_path / name / "small" / "leaderboard" for name in ("p", "meter"))
    there.mkdir(parents=True)
    board = there / "leaderboard.json"
    sound = json.loads(meter_file("cnn", "roster"))
    board.write_text(json.dumps(sound))
    assert [leak(*each).href for each in leakage_meters(here, "roster")] == [
        "../../../meter/small/leaderboard/index.html"
    ]
    for text in (DEEP, *map(json.dumps, ODD), *map(json.dumps, spoilt(sound))):
        board.write_text(text)
        for each in leakage_meters(here, "roster"):
            leak(*each)  # used or ignored, never an error
    board.write_text(DEEP)
    assert list(leakage_meters(here, "roster")) == []
