"""A job's id is the hash of what could change its predictions, and of nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import ResultsError
from bench.job import (
    ENGINE,
    Job,
    JobFile,
    JobLocation,
    engine_sha256,
    parse_job_file,
    to_json,
)
from bench.method import Recipe
from bench.settings import PACKAGE
from tests.conftest import ROOT


def some_job(**changes):
    values = {
        "protocol": "p", "dataset": "d", "row": "m", "method": "m", "recipe": Recipe(),
        "method_source": "aa", "roles_sha256": "bb", "classes": ("x", "y"), "roster_sha256": "cc",
        "pixels_sha256": "dd", "seed": 0, "repeat": 0, "fold": 1, "column": 1, "threads": 1,
    }  # fmt: skip
    return Job(**(values | changes))


def job_file(job: Job) -> JobFile:
    place = JobLocation(
        method_file="m.py", store="s", fold_table="t", weights=None, folder="f", device="cpu"
    )
    return JobFile(id=job.id, command="python bench.py run", job=job, place=place)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Recipe(epochs=3)}, {"method_source": "ab"}, {"roles_sha256": "x"},
        {"roster_sha256": "x"}, {"pixels_sha256": "x"}, {"weights_sha256": "x"}, {"threads": 2},
        {"protocol": "q"}, {"classes": ("y", "x")}, {"metadata_sha256": "x"},
        {"inputs_sha256": "x"},
    ],
)  # fmt: skip
def test_whatever_changes_predictions_changes_job_and_row(change):
    assert some_job(**change).id != some_job().id
    assert some_job(**change).row_id != some_job().row_id


@pytest.mark.parametrize("change", [{"seed": 1}, {"fold": 2, "column": 2}])
def test_seed_and_fold_change_the_job_but_not_the_row(change):
    assert some_job(**change).id != some_job().id
    assert some_job(**change).row_id == some_job().row_id


def test_a_name_changes_nothing():
    assert some_job(row="other", variant={"files": "x"}).id == some_job().id


def test_an_id_is_the_same_in_every_version():
    """Committed rows are found by it: a change of this constant orphans them."""
    assert some_job().id == "9117325abb039a1f"


def test_a_job_file_reads_back_and_a_changed_one_is_refused():
    text = to_json(job_file(some_job()))
    assert parse_job_file(text, "job.json").job == some_job()
    with pytest.raises(ResultsError, match="does not match its content"):
        parse_job_file(text.replace('"seed": 0', '"seed": 1'), "job.json")
    with pytest.raises(ResultsError, match=r"job.json: job.seed"):
        parse_job_file(text.replace('"seed": 0', '"seed": "x"'), "job.json")


def test_the_source_of_the_engine_covers_what_a_job_imports_to_compute():
    """Every module of bench.train and bench.data that a training loads, and the worker."""
    code = (
        "import sys, bench.run.worker, bench.train.fit, bench.train.contrastive, "
        "bench.train.features, bench.train.pseudo_labels, bench.train.tensorboard\n"
        "print(*[module.__file__ for name, module in sys.modules.items() if "
        "name.startswith(('bench.train', 'bench.data')) and module.__file__])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    covered = {path for pattern in ENGINE for path in PACKAGE.glob(pattern)}
    assert all(any(PACKAGE.glob(pattern)) for pattern in ENGINE)
    loaded = {Path(path).relative_to(PACKAGE).as_posix() for path in run.stdout.split()}
    # planning reads the dataset with these; what they read is part of the job id
    readers = {name for name in loaded if name.startswith("data/readers/")}
    readers |= {"data/__init__.py", "data/open.py", "data/issues.py"}
    assert loaded - readers <= {path.relative_to(PACKAGE).as_posix() for path in covered}


def test_the_hash_of_the_engine_follows_its_source_and_nothing_else(tmp_path, monkeypatch):
    package = tmp_path / "bench"
    for path in PACKAGE.rglob("*.py"):
        place = package / path.relative_to(PACKAGE)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    monkeypatch.setattr("bench.job.PACKAGE", package)
    known = engine_sha256.__wrapped__()
    assert known == engine_sha256()
    for name, changes in (("train/evaluate.py", True), ("report/charts.py", False)):
        file = package / name
        before = file.read_text()
        file.write_text(f"{before}\n")
        assert (engine_sha256.__wrapped__() != known) is changes
        file.write_bytes(before.replace("\n", "\r\n").encode())
        assert engine_sha256.__wrapped__() == known
