"""`status`, `verify-results` and `merge` on the committed rows, as a user calls them."""

from __future__ import annotations

import json
import shutil

from filelock import FileLock

from bench.run.results import LOCK
from bench.run.supervisor import usage_file
from tests.cli.test_bad_input import bench, refused
from tests.conftest import ROOT
from tests.run.test_rows import finish, make_job

COMMITTED = ROOT / "baselines" / "results"


def test_the_committed_rows_are_whole_and_stay_so_when_merged(tmp_path):
    done = bench("verify-results", "--results", COMMITTED, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "FAULT" not in done.stdout
    done = bench("merge", COMMITTED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = bench("status", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resnet18@c5025f27" in done.stdout
    (one, *_) = sorted((tmp_path / "results").glob("**/predictions.parquet"))
    one.write_bytes(one.read_bytes()[:-1])
    done = bench("verify-results", cwd=tmp_path)
    assert done.returncode == 1
    assert f"FAULT: {one.relative_to(tmp_path)}" in done.stdout


def test_status_names_who_is_at_work(tmp_path):
    folder = finish(tmp_path / "results", make_job(0))
    (folder / "record.json").unlink()
    spent = usage_file(folder)
    with FileLock(folder / LOCK):
        for worker, said in (
            ("node7 process 12", " by node7 process 12"),
            ("\x1b[2J", " by \ufffd[2J"),
        ):
            spent.write_text(json.dumps({"started": "", "worker": worker}))
            shown = bench("status", cwd=tmp_path).stdout
            assert f"seed 0 fold 0{said}, last sign of life" in shown


def test_nothing_there_is_told_in_a_line(tmp_path):
    refused(bench("status", cwd=tmp_path), "results")
    refused(bench("merge", "none", cwd=tmp_path), "none")
    (tmp_path / "results").mkdir()
    assert "no jobs yet" in bench("status", cwd=tmp_path).stdout
    shutil.rmtree(tmp_path / "results")
