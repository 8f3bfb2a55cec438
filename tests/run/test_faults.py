"""Faults that happen to a run: what was finished stays, what is found is whole, and going on gives
the numbers of an undisturbed run. The table of them all is docs/faults.md."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.errors import BenchError, ResultsError
from bench.job import JobFile
from bench.report import render
from bench.run import results, supervisor, worker
from bench.run.local import run_local
from bench.run.status import read_status
from bench.run.supervisor import SilentWatcher
from bench.run.worker import run_job
from tests.conftest import ROOT
from tests.run.small_disk import SmallDisk, mounted, small_disk, unmount
from tests.run.small_jobs import BENCH, plan, predicted, verified, write_method

__all__ = ["small_disk"]


def do_all(files: list[JobFile]) -> None:
    """Do jobs here, those that are done already excepted."""
    for file in files:
        if results.prepare(file) == "ready":
            run_job(file)


@pytest.fixture
def undisturbed(small_source, tmp_path) -> list[bytes]:
    files = plan(
        small_source, tmp_path / "undisturbed" / "results", write_method(tmp_path, "m"), folds=2
    )
    do_all(files)
    return predicted(files)


def times_written(files: list[JobFile]) -> list[int]:
    return [Path(file.place.folder, "predictions.parquet").stat().st_mtime_ns for file in files]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (worker, "history.csv"),
        (results, "predictions.parquet"),
        (results, "val_predictions.parquet"),
        (worker, "record.json"),
        (results, "job.json"),
    ],
)
def test_a_full_disk_loses_nothing_that_was_finished(
    small_source, tmp_path, small_disk: SmallDisk, undisturbed, monkeypatch, module, name
):
    root = small_disk.folder / "results"
    files = plan(small_source, root, tmp_path / "m.py", folds=2)
    do_all(files[:1])
    before = times_written(files[:1])
    with monkeypatch.context() as context, pytest.raises(OSError) as raised:  # noqa: PT011
        write = small_disk.fills_at(module.write_atomically, name)
        context.setattr(module, "write_atomically", write)
        do_all(files)
    assert raised.value.errno in {errno.ENOSPC, errno.EFBIG}
    assert raised.value.filename == str(Path(files[1].place.folder) / name)
    assert not list(root.glob("**/.*.tmp"))
    checked = verified(root)
    assert (checked.sound, checked.records) == (True, 1)
    do_all(files)
    assert predicted(files) == undisturbed
    assert times_written(files[:1]) == before
    assert verified(root).findings == ()


def test_a_page_on_a_full_disk_is_the_old_one_whole(small_disk: SmallDisk):
    page = small_disk.folder / "leaderboard"
    render.write({"index.html": "old" * 1000}, page)
    with small_disk.full(), pytest.raises(ResultsError, match="cannot write the page"):
        render.write({"index.html": "new" * 1000}, page)
    assert (page / "index.html").read_text() == "old" * 1000
    assert [path.name for path in page.iterdir()] == ["index.html"]
    render.write({"index.html": "new"}, page)
    assert (page / "index.html").read_text() == "new"


def test_results_that_can_only_be_read_are_read_and_refused_for_writing(small_source, tmp_path):
    folder = tmp_path / "disk"
    if not mounted(folder, "size=4m"):
        pytest.skip("needs root, to mount a file system")
    try:
        root = folder / "results"
        files = plan(small_source, root, write_method(tmp_path, "m"), folds=2)
        do_all(files[:1])
        results.prepare(files[1])
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(ResultsError, match=r"cannot be written .Read-only file system"):
            results.refuse_unwritable(root)
        (row,) = read_status(root, {})
        assert (row.count("done"), row.count("waiting")) == (1, 1)
        assert verified(root).sound
        with pytest.raises(OSError, match="Read-only"):
            run_job(files[1])
    finally:
        unmount(folder)


TRIES = 'with open({tries!r}, "a") as file: file.write(f"{{task.column}}\\n")\ntime.sleep(0.5)'


def test_two_runners_on_one_folder_do_each_job_once(small_source, tmp_path):
    tries = tmp_path / "tries.txt"
    method = write_method(tmp_path, "m", TRIES.format(tries=str(tries)))
    files = plan(small_source, tmp_path / "results", method, folds=5)
    code = (
        "import sys; from pathlib import Path; from bench.job import parse_job_file\n"
        "from bench.run.local import run_local; from bench.run.supervisor import SilentWatcher\n"
        "files = [parse_job_file(line, 'stdin') for line in sys.stdin]\n"
        "ended = run_local(files, Path('bench.py'), [''], SilentWatcher())\n"
        "assert len(ended) == 5 and all(each.ok for each in ended), ended"
    )
    words = [sys.executable, "-c", code]
    text = "".join(file.model_dump_json() + "\n" for file in files)
    runners = [
        subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for runner in runners:
        runner.stdin.write(text)
        runner.stdin.close()
    assert [runner.wait(120) for runner in runners] == [0, 0]
    assert sorted(tries.read_text().split()) == ["0", "1", "2", "3", "4"]
    checked = verified(tmp_path / "results")
    assert (checked.records, checked.findings) == (5, ())


def test_a_clock_that_goes_backwards_changes_no_number(
    small_source, tmp_path, undisturbed, monkeypatch
):
    now = [datetime.now(UTC)]

    class Backwards(datetime):
        @classmethod
        def now(cls, tz=None):
            now[0] -= timedelta(hours=1)
            return now[0].astimezone(tz)

    for module in (supervisor, worker):
        monkeypatch.setattr(module, "datetime", Backwards)
    files = plan(small_source, tmp_path / "results", tmp_path / "m.py", folds=2)
    do_all(files)
    assert predicted(files) == undisturbed
    folder = Path(files[0].place.folder)
    record = results.read_record(folder)
    assert record.finished < record.started
    assert record.wall_seconds > 0
    assert verified(tmp_path / "results").findings == ()
    later = time.time() + 10**6  # what was written before the clock went back
    for path in folder.iterdir():
        os.utime(path, (later, later))
    results.sweep(tmp_path / "results")
    (folder / "record.json").unlink()  # a job at work has none
    with results.FileLock(folder / results.LOCK):
        (row,) = read_status(tmp_path / "results", {})
    assert {job.heartbeat for job in row.jobs} == {None, 0.0}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("name", ["record.json", "predictions.parquet", "val_predictions.parquet"])
def test_a_damaged_job_is_found_and_done_again(small_source, tmp_path, undisturbed, name, damage):
    root = tmp_path / "results"
    files = plan(small_source, root, tmp_path / "m.py", folds=2)
    do_all(files)
    before = times_written(files)
    damage(Path(files[1].place.folder) / name)
    seen = verified(root)
    lost = name == "record.json" and damage is Path.unlink  # as if it had not been finished
    harmless = name == "record.json" and results.is_done(Path(files[1].place.folder), files[1].job)
    assert seen.sound == (lost or harmless)
    do_all(files)
    assert predicted(files) == undisturbed
    assert times_written(files)[0] == before[0]
    assert verified(root).sound


def test_images_that_change_or_vanish_during_a_run_change_nothing(
    small_source, tmp_path, undisturbed
):
    files = plan(small_source, tmp_path / "results", tmp_path / "m.py", folds=2)
    do_all(files[:1])
    for path in sorted(small_source.folder.iterdir())[::2]:
        path.unlink()
    for path in small_source.folder.iterdir():
        path.write_bytes(b"other")
    do_all(files)
    assert predicted(files) == undisturbed
    with pytest.raises(BenchError, match="image files"):  # the next run sees it
        plan(small_source, tmp_path / "results", tmp_path / "m.py", folds=2)


def test_what_killed_processes_left_half_written_is_swept(small_source, tmp_path, undisturbed):
    root = tmp_path / "results"
    files = plan(small_source, root, tmp_path / "m.py", folds=2)
    do_all(files[:1])
    folder = Path(files[1].place.folder)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / ".last.pt.123.tmp").write_bytes(b"half")
    board = root / "p" / "small" / "leaderboard"
    board.mkdir()
    old, new = board / ".index.html.1.tmp", board / ".index.html.2.tmp"
    full, half = (folder.with_name(f".fold{fold}.7.tmp") for fold in (3, 4))
    for copied in (full, half):
        shutil.copytree(files[0].place.folder, copied)
    cut(half / "record.json")
    for path in (old, new):
        path.write_bytes(b"half")
    for path in (old, full, half):
        os.utime(path, (0, 0))
    checked = verified(root)
    assert (checked.sound, checked.records, len(checked.findings)) == (True, 1, 5)
    (row,) = read_status(root, {})
    assert len(row.jobs) == 1
    assert len(list(results.records(root, "p", "small"))) == 1
    assert results.damaged_folds(results.scan_jobs(root, "p", "small")) == []
    results.sweep(root)
    assert [path.exists() for path in (old, full, half, new)] == [False, False, False, True]
    do_all(files)
    assert not list(folder.glob("**/.*.tmp"))
    assert predicted(files) == undisturbed


STEP = (
    "if not task.folder.exists():\n"
    "    task.folder.mkdir(parents=True)\n"
    "    print('begun'); time.sleep(600)"
)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_job_of_any_method_and_it_goes_on(
    small_source, tmp_path, undisturbed, number, code
):
    files = plan(small_source, tmp_path / "results", write_method(tmp_path, "m", STEP), folds=1)
    results.prepare(files[0])
    folder = Path(files[0].place.folder)
    words = [sys.executable, str(BENCH), "job", str(folder / "job.json")]
    job = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "begun\n"
    job.send_signal(number)
    _, message = job.communicate(timeout=60)
    assert job.returncode == code
    assert "the same command goes on from here" in message
    assert not results.is_locked(folder)
    assert verified(tmp_path / "results").sound
    assert all(each.ok for each in run_local(files, BENCH, [""], SilentWatcher()))
    assert predicted(files) == undisturbed[:1]


def test_another_folder_s_job_file_is_not_followed_out_of_its_place(small_source, tmp_path):
    """Results that were moved are done where they lie, whatever path they state."""
    (file,) = plan(small_source, tmp_path / "results", write_method(tmp_path, "m"), folds=1)
    results.prepare(file)
    moved = tmp_path / "elsewhere"
    shutil.copytree(file.place.folder, moved)
    words = [sys.executable, str(BENCH), "job", str(moved / "job.json")]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    assert (moved / "record.json").exists()
    assert not Path(file.place.folder, "record.json").exists()
