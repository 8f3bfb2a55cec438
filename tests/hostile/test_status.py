"""`status` and `verify-results` on anyone's folder: they end, tell all, steer no terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from bench.cli.run import _print_failures
from bench.cli.terminal import LineProgress
from bench.run.status import _seconds_silent, read_status
from bench.run.supervisor import Outcome
from tests.run.test_rows import finish, make_job

STEERS = "\x1b]0;owned\x07\x1b[2J\x9b"


def output_of(*words: object) -> str:
    asked = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    return asked.stdout + asked.stderr


def undone(root: Path, fold: int = 0) -> Path:
    """The folder of a job that has begun and is not done."""
    folder = finish(root, make_job(fold))
    (folder / "record.json").unlink()
    return folder


def test_a_file_that_goes_while_a_running_job_is_looked_at_stops_nothing(tmp_path, monkeypatch):
    look, looks = Path.stat, []

    def goes(path: Path, **how: bool) -> os.stat_result:
        if path.name == "going":
            looks.append(path)
            if len(looks) % 2 == 0:
                raise FileNotFoundError(path)
        return look(path, **how)

    for name in ("going", "stays"):
        (tmp_path / name).touch()
    (tmp_path / "gone").symlink_to("nowhere")
    monkeypatch.setattr(Path, "stat", goes)
    assert [_seconds_silent(tmp_path) < 60 for _ in range(2)] == [True, True]
    assert len(looks) == 2


def make_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [Path.mkdir, make_pipe])
def test_a_log_that_is_no_file_loses_no_status(tmp_path, make):
    make(undone(tmp_path) / "log.txt")
    (undone(tmp_path, 1) / "log.txt").write_text("ValueError: no such luck\n")
    assert "failed: m seed 0 fold 1: ValueError: no such luck" in output_of(
        "status", "--results", tmp_path
    )
    (row,) = read_status(tmp_path, {})
    assert [job.state for job in row.jobs] == ["interrupted", "failed"]


@pytest.mark.timeout(20)
def test_a_pipe_in_a_job_file_s_place_keeps_status_waiting_no_more(tmp_path):
    make_pipe(finish(tmp_path, make_job(0)) / "job.json")
    make_pipe(undone(tmp_path, 1) / "job.json")
    (row,) = read_status(tmp_path, {})
    assert [job.state for job in row.jobs] == ["done", "damaged"]
    assert "is a named pipe" in row.jobs[1].detail


def test_nothing_that_stands_in_a_results_folder_steers_a_terminal(tmp_path, capsys):
    root = tmp_path / "results"
    (undone(root) / "log.txt").write_text(f"ValueError: {STEERS}\n")
    for fold, name in ((1, "job.json"), (2, "record.json")):
        folder = finish(root, make_job(fold))
        (folder / name).write_text('{"\\u001b]0;owned\\u0007": 1}')
    (root / "p" / "small" / "m").rename(root / "p" / "small" / f"m[red]{STEERS}")
    failed = Outcome(make_job(0), root, ok=False, fault=f"ValueError: {STEERS}")
    assert _print_failures([failed]) == 1
    LineProgress([failed.job]).ended(failed)
    text = "".join(capsys.readouterr())
    text += output_of("status", "--results", root) + output_of("verify-results", "--results", root)
    assert "owned" in text
    assert "m[red]" in text
    assert all(mark.isprintable() or mark == "\n" for mark in text)
