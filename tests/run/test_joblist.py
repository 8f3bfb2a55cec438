"""Job lists: what a task finds there is the job that was planned, or a clear refusal."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.errors import ResultsError
from bench.run import results
from bench.run.slurm import array_script, listed_job, log_pattern, write_job_list
from bench.run.status import read_status
from tests.conftest import ROOT
from tests.run.small_jobs import plan, write_method


@pytest.fixture
def files(small_source, tmp_path):
    method = write_method(tmp_path, "m")
    return plan(small_source, tmp_path / "results", method, folds=2, timeout_seconds=90.0)


def test_every_line_is_a_job_and_status_says_that_it_waits(files, tmp_path):
    job_list = tmp_path / "run.jobs"
    assert write_job_list(job_list, files) == files
    assert [listed_job(job_list, index) for index in (0, 1)] == files
    (row,) = read_status(tmp_path / "results", {})
    assert row.count("waiting") == 2
    with pytest.raises(ResultsError, match="no job 2; the list has the jobs 0 to 1"):
        listed_job(job_list, 2)


def test_a_job_planned_anew_or_gone_is_refused(files, tmp_path):
    job_list = tmp_path / "run.jobs"
    write_job_list(job_list, files)
    job = files[0].job.model_copy(update={"threads": 2})
    results.prepare(files[0].model_copy(update={"id": job.id, "job": job}))
    with pytest.raises(ResultsError, match="not the planned job; plan again"):
        listed_job(job_list, 0)
    Path(files[1].place.folder, "job.json").unlink()
    with pytest.raises(ResultsError, match="plan again"):
        listed_job(job_list, 1)


@pytest.mark.parametrize("line", ["", "{", "[1]", '{"id": "x"}', json.dumps({"folder": 3})])
def test_a_line_that_is_none_is_refused(tmp_path, line):
    (tmp_path / "run.jobs").write_text(line + "\n")
    with pytest.raises(ResultsError, match="line 1: not a line of a job list"):
        listed_job(tmp_path / "run.jobs", 0)


def test_the_script_asks_for_what_a_job_needs_and_bash_can_read_it(files, tmp_path):
    text = array_script(tmp_path / "a 'b.jobs", files, ROOT / "bench.py", 3)
    for line in ("--array=0-1%3", "--cpus-per-task=1", "--requeue", "--time=3"):
        assert f"#SBATCH {line}" in text
    assert "--gres" not in text
    script = tmp_path / "run.sbatch"
    script.write_text(text)
    subprocess.run(["bash", "-n", str(script)], check=True)
    listing = text.splitlines()[-2]
    shown = subprocess.run(
        ["bash", "-c", f'{listing}; printf %s "$BENCH_JOBS"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout == str(tmp_path / "a 'b.jobs")


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "a\x1bb"])
def test_a_path_that_sbatch_cannot_read_is_refused(files, tmp_path, name):
    with pytest.raises(ResultsError, match="--slurm .*: sbatch cannot read"):
        array_script(tmp_path / name, files, ROOT / "bench.py", None)


def test_the_tasks_log_beside_the_list_whatever_its_path():
    assert log_pattern(Path("/home/run.jobs")) == "/home/run.jobs.%a.log"
    assert log_pattern(Path("/home/sp ace/50%a.jobs")) == "'/home/sp ace/50%%a.jobs.%a.log'"
