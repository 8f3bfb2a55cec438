"""Results folders from elsewhere: nothing in them keeps a command waiting or breaks it, and nothing
that is not the bench's own is removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.errors import PredictionError, ResultsError
from bench.files import MOST_TEXT
from bench.job import JobFile, Place
from bench.run import results
from bench.run.integrity import verify_results
from bench.run.merging import merge_results
from bench.run.submissions import MAX_BYTES, all_submissions
from bench.run.survey import survey
from tests.hostile.test_large_files import grown
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
    assert "is a named pipe" in results.unreadable_records(root, "p", "small")[0]
    assert any("is a named pipe" in each.what for each in verify_results(root, {}, root).findings)
    assert merge_results(root, tmp_path / "mine").copied == 1
    assert [job.state for row in survey(root, {}) for job in row.jobs] == ["done", "waiting"]
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
    assert "is larger than 64 MiB" in results.unreadable_records(tmp_path, "p", "small")[0]
    large = grown(tmp_path / "large.csv", MAX_BYTES)
    with pytest.raises(PredictionError, match="is larger than 1024 MiB"):
        read_submission(large, wanted())


def prepare(job, folder: Path) -> str:
    place = Place(
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
