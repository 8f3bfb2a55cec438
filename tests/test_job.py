"""A job's id is the hash of what could change its predictions, and of nothing else."""

import pytest

from bench.errors import ResultsError
from bench.job import Job, JobFile, JobLocation, parse_job_file, to_json
from bench.method import Recipe


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
        {"protocol": "q"}, {"classes": ("y", "x")},
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
