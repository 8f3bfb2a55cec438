"""`plan` and `job`: the jobs of a run, and one of them by hand."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_bad_input import bench, folder, own_protocol, refused

__all__ = ["folder", "own_protocol"]  # fixtures

METHOD = '''"""peeks: notes where the data lie, if it is told.

licence  MIT
"""

import os

import numpy as np

from bench.method import Recipe
from bench.predictions import Predictions

RECIPE = Recipe(image_size=16, pretraining_data="none")


def fit_predict(task):
    """Chance."""
    task.journal.fact("peeks", os.environ.get("BENCH_DATA", "nowhere"))
    classes = len(task.classes)
    probs = np.full((len(task.test), classes), 1 / classes)
    return Predictions(task.test.image_ids, probs, task.classes)
'''


@pytest.mark.usefixtures("own_protocol")
def test_a_planned_job_is_done_by_its_number_and_never_told_where_labels_lie(
    folder, tmp_path, monkeypatch
):
    (tmp_path / "peeks.py").write_text(METHOD)
    refused(bench("job", "--index", "0", cwd=tmp_path), "results/plan.jobs: no such file")
    words = ("--protocol", "own", "--data", folder, "--method", "peeks.py")
    assert bench("plan", *words, "--dry-run", cwd=tmp_path).returncode == 0
    planned = tmp_path / "results" / "plan.jobs"
    assert not planned.exists()
    done = bench("plan", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"2 jobs: {planned}" in done.stdout
    monkeypatch.setenv("BENCH_DATA", str(folder))
    done = bench("job", "--index", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    second = json.loads(planned.read_text().splitlines()[1])["folder"]
    done = bench("job", f"{second}/job.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    assert [record["facts"]["peeks"] for record in records] == ["nowhere"] * 2
    refused(bench("job", "--index", "2", cwd=tmp_path), "no job 2; the list has the jobs 0 to 1")


def test_a_metric_that_nobody_knows_is_refused_before_anything_is_trained(
    own_protocol, folder, tmp_path
):
    toml = own_protocol / "own.toml"
    toml.write_text(toml.read_text() + '\n[metrics]\nprimary = "f2"\n')
    said = "unknown metrics in [metrics] of protocol own: f2"
    run = bench("run", "--protocol", "own", "--data", folder, "--dry-run", cwd=tmp_path)
    refused(run, said)
    refused(bench("protocol", "verify", "own", "--data", folder, cwd=tmp_path), said)
    listed = bench("protocol", "list", cwd=tmp_path)
    assert (listed.returncode, said in listed.stderr) == (1, True)


@pytest.mark.usefixtures("own_protocol")
def test_a_protocol_says_what_its_groups_are_here_and_one_of_other_folds_what_it_is(
    folder, tmp_path, own_protocol
):
    shown = bench("protocol", "show", "own", "--data", folder, cwd=tmp_path)
    assert shown.stdout.startswith("own: Own; here lesion-level\n"), shown.stderr
    toml = own_protocol / "own.toml"
    toml.write_text("# Two folds.\n# No more.\n" + toml.read_text())
    asked = ("protocol", "freeze", "own", "--data", folder, "--as", "three", "--folds", "3")
    assert bench(*asked, cwd=tmp_path).returncode == 0
    made = (own_protocol / "three.toml").read_text()
    assert 'title = "3 folds, by the rules of own"' in made
    assert "Two folds" not in made
