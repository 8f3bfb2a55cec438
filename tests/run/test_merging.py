"""Two results folders made one: contradictions are refused, what is damaged is never taken for
finished, and nothing that is at work is touched."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from bench.errors import ResultsError
from bench.job import RunRecord, to_json
from bench.predictions import Predictions
from bench.run import integrity, results
from bench.run.integrity import merge_results
from bench.run.status import read_status
from tests.conftest import CLASSES, ROOT
from tests.run.test_rows import finish, make_job
from tests.run.test_submissions import kept


@pytest.fixture
def here(tmp_path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path) -> Path:
    return tmp_path / "there"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != results.LOCK}


def predict_otherwise(folder: Path) -> None:
    """Leave a job as if it had given other predictions."""
    ids = np.array(["a", "b"], dtype=object)
    made = Predictions(ids, np.full((2, 3), 1 / 3), CLASSES)
    results.write_predictions(folder / results.PREDICTIONS, made)
    record = json.loads((folder / "record.json").read_text())
    record["files"] = results.files_beside_record(folder)
    (folder / "record.json").write_text(to_json(RunRecord(**record)))


def flip(folder: Path) -> None:
    path = folder / results.PREDICTIONS
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


def lose(folder: Path) -> None:
    (folder / results.PREDICTIONS).unlink()


def cut(folder: Path) -> None:
    (folder / "record.json").write_text((folder / "record.json").read_text()[:300])


def test_a_contradiction_is_refused_and_nothing_is_copied(here, there):
    finish(here, make_job(1))
    finish(there, make_job(0))
    finish(there, make_job(1, method_source="bb"))
    with pytest.raises(ResultsError, match="holds a job that differs in code of the method"):
        merge_results(there, here)
    assert not list(here.glob("**/fold0"))
    shutil.rmtree(there)
    predict_otherwise(finish(there, make_job(1)))
    with pytest.raises(ResultsError, match="the same job has other predictions"):
        merge_results(there, here)


@pytest.mark.parametrize("damage", [flip, lose, cut])
def test_a_damaged_job_is_left_out_and_never_replaces_anything(here, there, damage):
    good = finish(here, make_job(0))
    begun = finish(here, make_job(1))
    (begun / "record.json").unlink()
    before = content(good), content(begun)
    for fold in range(3):
        damage(finish(there, make_job(fold)))
    merged = merge_results(there, here)
    assert (merged.copied, merged.equal, len(merged.damaged)) == (0, 0, 3)
    assert str(there / "p" / "small" / "m" / "seed0" / "fold0") in merged.damaged[0]
    assert (content(good), content(begun)) == before


@pytest.mark.parametrize("damage", [flip, lose, cut])
def test_a_damaged_target_is_mended_by_a_whole_source(here, there, damage):
    whole, broken = finish(there, make_job(0)), finish(here, make_job(0))
    (broken / "old.txt").write_text("of the broken job")
    damage(broken)
    assert merge_results(there, here).copied == 1
    assert content(broken) == content(whole)
    assert results.is_done(broken, make_job(0))


def test_folds_of_other_code_do_not_come_into_a_row(here, there):
    finish(here, make_job(0))
    finish(there, make_job(1, method_source="bb"))
    with pytest.raises(ResultsError, match=r"fold1: differs from .*fold0 in code of the method"):
        merge_results(there, here)
    shutil.rmtree(here)
    finish(there, make_job(2))
    with pytest.raises(ResultsError, match="in 2 places"):  # nor together into an empty folder
        merge_results(there, here)
    assert list(results.job_folders(here)) == []


@pytest.mark.parametrize("place", ["other/seed0/fold0", "m/seed1/fold0", "m/seed0/fold1"])
def test_a_job_under_another_s_name_is_refused(here, there, place):
    folder = finish(there, make_job(0))
    shutil.copytree(folder, there / "p" / "small" / place)
    with pytest.raises(ResultsError, match="files of another place"):
        merge_results(there, here)
    assert list(results.job_folders(here)) == []


def test_a_running_job_is_not_merged_over(here, there):
    folder = finish(here, make_job(0))
    (folder / "record.json").unlink()
    finish(there, make_job(0))
    with FileLock(folder / results.LOCK), pytest.raises(ResultsError, match="running"):
        merge_results(there, here)
    assert merge_results(there, here).copied == 1


def meanwhile(monkeypatch, happens: Callable[[], None]) -> None:
    """Have something happen once, while the first job is copied."""
    copytree, left = shutil.copytree, [happens]

    def copy(*where: Path, **how: object) -> None:
        while left:
            left.pop()()
        copytree(*where, **how)

    monkeypatch.setattr(integrity.shutil, "copytree", copy)


def test_a_job_that_begins_while_others_are_copied_is_left_alone(here, there, monkeypatch):
    place = finish(here, make_job(1))
    (place / "record.json").unlink()
    before = content(place)
    for fold in range(2):
        finish(there, make_job(fold))
    lock = FileLock(place / results.LOCK)
    meanwhile(monkeypatch, lock.acquire)
    with pytest.raises(
        ResultsError, match="fold1: a job is running there, since the merge started"
    ):
        merge_results(there, here)
    assert lock.is_locked
    assert results.is_locked(place)  # the file is still the one that the job has locked
    assert content(place) == before
    lock.release()
    again = merge_results(there, here)
    assert (again.copied, again.equal) == (1, 1)


def test_a_job_that_ends_while_others_are_copied_keeps_what_it_gave(here, there, monkeypatch):
    for fold in range(2):
        finish(there, make_job(fold))
    meanwhile(monkeypatch, lambda: predict_otherwise(finish(here, make_job(1))))
    with pytest.raises(ResultsError, match="has other predictions there, since the merge started"):
        merge_results(there, here)
    assert results.is_done(here / "p" / "small" / "m" / "seed0" / "fold1", make_job(1))


def test_the_job_that_is_being_copied_cannot_begin(here, there, monkeypatch):
    finish(there, make_job(0))
    place = here / "p" / "small" / "m" / "seed0" / "fold0"
    seen = []
    meanwhile(monkeypatch, lambda: seen.append(results.is_locked(place)))
    merge_results(there, here)
    assert seen == [True]
    assert not results.is_locked(place)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from bench.run import integrity
copytree = shutil.copytree
def killed(source, target, **how):
    copytree(source, target, **how)
    if sys.argv[3] == "half":
        (target / "predictions.parquet").unlink()
    os.kill(os.getpid(), signal.SIGKILL)
integrity.shutil.copytree = killed
integrity.merge_results(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("copied", ["half", "full"])
def test_what_a_killed_merge_has_copied_is_no_job(here, there, copied):
    finish(here, make_job(0))
    for fold in (1, 2):
        finish(there, make_job(fold))
    words = [sys.executable, "-c", KILLED, str(there), str(here), copied]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert len(list(here.glob("**/.*.tmp/record.json"))) == 1
    (row,) = read_status(here, {})
    assert len(row.jobs) == 1
    assert len(list(results.records(here, "p", "small"))) == 1
    again = merge_results(there, here)
    assert (again.copied, again.equal) == (2, 0)
    assert not list(here.glob("**/.*.tmp"))


def test_submissions_are_mended_refused_and_left_out_as_jobs_are(tmp_path, here, there):
    (tmp_path / "x").mkdir()
    mine = kept(tmp_path / "x")
    (tmp_path / "x" / "results").rename(there)
    shutil.copytree(there, here)
    place = here / mine.relative_to(tmp_path / "x" / "results")
    whole = content(place)
    assert merge_results(there, here).equal == 1
    (place / "submission.csv").write_text("other")
    assert merge_results(there, here).copied == 1
    assert content(place) == whole
    shutil.copytree(there / place.relative_to(here), there / "p" / "small" / "copied")
    with pytest.raises(ResultsError, match="files of another place"):
        merge_results(there, here)
    shutil.rmtree(there / "p" / "small" / "copied")
    (there / place.relative_to(here) / "submission.csv").write_text("other")
    assert len(merge_results(there, here).damaged) == 1
    assert content(place) == whole
    finish(tmp_path / "third", make_job(0, row=place.name))
    with pytest.raises(ResultsError, match="another row has this name"):
        merge_results(tmp_path / "third", here)
