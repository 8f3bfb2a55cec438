"""Results folders: how far they are, whether they are whole, and two made one."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from bench.job import RunRecord, to_json
from bench.predictions import Predictions
from bench.protocol import PARTS, Protocol, Roles, format_roles, load_protocols
from bench.run import results
from bench.run.integrity import merge_results, verify_results
from bench.run.status import read_status
from bench.run.submissions import Submission, keep_submission
from bench.run.supervisor import ResourceMeter, usage_file
from tests.conftest import CLASSES
from tests.run.test_rows import finish, make_job

IDS = np.array([f"i{fold}{n}" for fold in range(3) for n in range(4)], dtype=object)


@pytest.fixture
def protocols(tmp_path: Path) -> Path:
    """A protocol `p` of three folds whose test images are those that `finish` predicts."""
    parts = np.full((12, 3), PARTS.index("train"), dtype=np.uint8)
    for fold in range(3):
        parts[fold * 4 : fold * 4 + 4, fold] = PARTS.index("test")
    text = format_roles(Roles("roster", IDS, IDS, parts)).encode()
    folder = tmp_path / "protocols"
    (folder / "p").mkdir(parents=True)
    (folder / "p" / "small.csv").write_bytes(text)
    (folder / "p.toml").write_text(
        'name = "p"\ntitle = "P"\n[split]\nkind = "groupkfold"\nfolds = 3\nseed = 0\nval = 0.1\n'
        f'[roles.small]\nfile = "p/small.csv"\nsha256 = "{roles_sha256(text)}"\n'
    )
    return folder


def roles_sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@pytest.fixture
def known(protocols: Path) -> dict[str, Protocol]:
    return load_protocols(protocols)


@pytest.fixture
def job(known: dict[str, Protocol]):
    """Makes a job of the protocol."""
    sha256 = known["p"].roles["small"].sha256
    return lambda fold, **changes: make_job(fold, roles_sha256=sha256, **changes)


def test_status_tells_done_running_failed_interrupted_waiting_and_missing(tmp_path, known, job):
    root = tmp_path / "results"
    folders = {name: finish(root, job(0, row=name)) for name in ("a", "b", "c", "d")}
    for name in ("b", "c", "d"):
        (folders[name] / "record.json").unlink()
    (folders["b"] / "log.txt").write_text("epoch 1\nValueError: no such luck\n")
    (folders["c"] / "log.txt").write_text("epoch 1\n")
    rows = {row.row: row for row in read_status(root, known)}
    states = {name: row.jobs[0].state for name, row in rows.items()}
    assert states == {"a": "done", "b": "failed", "c": "interrupted", "d": "waiting"}
    assert rows["b"].jobs[0].detail == "ValueError: no such luck"
    assert rows["a"].missing == ("seed 0 fold 1", "seed 0 fold 2")
    assert rows["a"].seconds_left == pytest.approx(2 * 2.0)
    assert rows["d"].seconds_left is None
    with FileLock(folders["d"] / results.LOCK), ResourceMeter(usage_file(folders["d"])):
        wait_for(usage_file(folders["d"]))
        (running,) = [row for row in read_status(root, known) if row.row == "d"]
        assert running.jobs[0].state == "running"
        assert running.jobs[0].heartbeat < 60
        assert running.jobs[0].worker == f"{platform.node()} process {os.getpid()}"


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_file_that_cannot_be_read_is_damaged(tmp_path, known, job):
    folder = finish(tmp_path, job(0))
    (folder / "job.json").write_text("{")
    (folder / "record.json").unlink()
    ((row,),) = [read_status(tmp_path, known)]
    assert row.jobs[0].state == "damaged"


def test_a_damaged_record_is_counted_once_and_named(tmp_path, known, job):
    for fold in range(3):
        cut_record(finish(tmp_path, job(fold)))
    (tmp_path / "p" / "small" / "m" / "seed0" / "fold2" / "job.json").unlink()  # as committed
    ((row,),) = [read_status(tmp_path, known)]
    assert row.missing == ()
    assert [each.state for each in row.jobs] == ["damaged"] * 3
    assert all("record.json" in each.detail for each in row.jobs)
    assert not any("job.json" in each.detail for each in row.jobs)


def test_a_done_job_that_lost_predictions_is_damaged(tmp_path, known, job):
    lose_predictions(finish(tmp_path, job(0)))
    ((row,),) = [read_status(tmp_path, known)]
    assert row.jobs[0].state == "damaged"
    assert "predictions.parquet: is missing; run again" in row.jobs[0].detail


def test_a_whole_folder_is_sound(tmp_path, known, protocols, job):
    root = tmp_path / "results"
    for fold in range(3):
        finish(root, job(fold))
    checked = verify_results(root, known, protocols)
    assert (checked.records, checked.findings) == (3, ())
    assert checked.sound


def test_files_are_counted_where_they_are_and_told_where_they_are_not(
    tmp_path, known, protocols, job
):
    root = tmp_path / "results"
    (finish(root, job(0)) / "job.json").unlink()
    finish(root, job(1))
    checked = verify_results(root, known, protocols)
    assert (checked.records, checked.files, checked.absent) == (2, 3, {"job.json": 1})
    assert (checked.sound, checked.findings) == (True, ())


def test_files_that_no_job_owns_are_named(tmp_path, known, protocols, job):
    root = tmp_path / "results"
    folder = finish(root, job(0))
    (finish(root, job(1)) / "record.json").unlink()
    for name in ("job.json", "record.json"):
        (folder / name).unlink()
    (folder.with_name("fold2")).mkdir()
    (folder.with_name("fold2") / results.LOCK).touch()
    found = {each.path.name: each for each in verify_results(root, known, protocols).findings}
    assert found.keys() == {"fold0", "fold1"}
    assert "neither record.json nor job.json" in found["fold0"].what
    assert not found["fold0"].grave


def damage_predictions(folder):
    content = bytearray((folder / "predictions.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "predictions.parquet").write_bytes(content)


def lose_predictions(folder):
    (folder / "predictions.parquet").unlink()


def cut_record(folder):
    (folder / "record.json").write_text((folder / "record.json").read_text()[:300])


def flip_record(folder):
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(text.replace('"seed": 0', '"seed": 1', 1))


def other_images(folder):
    """Predictions of other images, with a record that agrees: only the roles know better."""
    ids = np.array(["i10", "i11", "i12", "x"], dtype=object)
    made = Predictions(ids, np.full((4, 3), 1 / 3), CLASSES)
    results.write_predictions(folder / "predictions.parquet", made)
    record = json.loads((folder / "record.json").read_text())
    record["files"] = results.files_beside_record(folder)
    (folder / "record.json").write_text(to_json(RunRecord(**record)))


def another_fold(folder):
    shutil.copytree(folder, folder.with_name("fold2"))


def another_seed(folder):
    shutil.copytree(folder, folder.parents[1] / "seed1" / folder.name)


def another_row(folder):
    shutil.copytree(folder, folder.parents[2] / "theirs" / "seed0" / folder.name)


def another_repeat(folder):
    """The protocol has one repeat, so a run looks for no folder of its number."""
    shutil.copytree(folder, folder.parent / "r0" / folder.name)


DAMAGES = [
    damage_predictions,
    lose_predictions,
    cut_record,
    flip_record,
    other_images,
    another_fold,
    another_seed,
    another_row,
    another_repeat,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_found(tmp_path, known, protocols, job, damage):
    root = tmp_path / "results"
    finish(root, job(0))
    damage(finish(root, job(1)))
    checked = verify_results(root, known, protocols)
    assert not checked.sound
    assert all("fold0" not in str(finding.path) for finding in checked.findings)


def test_orphans_are_named_and_put_no_number_in_doubt(tmp_path, known, protocols, job):
    root = tmp_path / "results"
    folder = finish(root, job(0))
    (folder / "notes.txt").write_text("mine")
    (folder / ".record.json.1.tmp").write_text("half")
    begun = finish(root, job(1))
    (begun / "record.json").unlink()
    checked = verify_results(root, known, protocols)
    assert checked.sound
    assert {finding.path.name for finding in checked.findings} == {
        "notes.txt", ".record.json.1.tmp", "fold1",
    }  # fmt: skip


def test_merging_brings_what_is_missing_and_again_changes_nothing(tmp_path, known, protocols, job):
    here, there = tmp_path / "here", tmp_path / "there"
    finish(here, job(0))
    finish(there, job(0))
    finish(there, job(1))
    (finish(there, job(2)) / "record.json").unlink()
    merged = merge_results(there, here)
    assert (merged.copied, merged.equal, merged.unfinished) == (1, 1, 1)
    assert verify_results(here, known, protocols).records == 2
    again = merge_results(there, here)
    assert (again.copied, again.equal) == (0, 2)


def hand_in(root: Path, known: dict[str, Protocol], table: pd.DataFrame, **changes) -> Path:
    """A submission as `submit` leaves it, its file taken as it is."""
    file = root.parent / "handed.csv"
    table.to_csv(file, index=False)
    values = {
        "name": "theirs", "protocol": "p", "dataset": "small", "roster_sha256": "roster",
        "roles_sha256": known["p"].roles["small"].sha256, "file": "submission.csv",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "original": "handed.csv",
        "origin": "", "licence": "", "accepted": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    folder = root / "p" / "small" / "theirs"
    keep_submission(folder, file, Submission(**(values | changes)))
    return folder


def uniform(columns: tuple[str, ...]) -> pd.DataFrame:
    """Every test image once, all classes alike probable."""
    table = pd.DataFrame(1 / 3, index=range(len(IDS)), columns=list(columns))
    table.insert(0, "image" if columns[0].isupper() else "image_id", IDS)
    return table


@pytest.mark.parametrize("columns", [("p_a", "p_b", "p_c"), ("A", "B", "C")])
def test_a_submission_is_read_against_the_roles(tmp_path, known, protocols, columns):
    root = tmp_path / "results"
    sound = uniform(columns)
    hand_in(root, known, sound)
    checked = verify_results(root, known, protocols)
    assert (checked.submissions, checked.findings) == (1, ())
    for table in (sound.iloc[1:], sound.replace({"i00": "x"}), sound.replace({1 / 3: 0.5})):
        hand_in(root, known, table)
        assert not verify_results(root, known, protocols).sound
    folder = hand_in(root, known, sound)
    shutil.copytree(folder, folder.with_name("mine"))
    (finding,) = verify_results(root, known, protocols).findings
    assert (finding.path.name, finding.grave) == ("mine", True)
    assert "p/small/theirs" in finding.what


def test_a_submission_for_other_roles_is_named_and_stands_on_no_board(tmp_path, known, protocols):
    root = tmp_path / "results"
    hand_in(root, known, uniform(("p_a", "p_b", "p_c")), roles_sha256="0" * 64)
    checked = verify_results(root, known, protocols)
    assert checked.sound
    assert "other roles" in checked.findings[0].what
