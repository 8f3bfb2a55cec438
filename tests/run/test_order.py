"""Longest first: by the row's own records, else by the method's, in proportion."""

from __future__ import annotations

from bench.job import JobFile
from bench.method import Recipe
from bench.run import results
from bench.run.planner import longest_first
from tests.run.test_rows import finish, make_job


def job_file(folder, job) -> JobFile:
    record = results.read_record(finish(folder, job))
    return JobFile.model_construct(id=job.id, command="", job=record.job, place=None)


def test_unknown_first_then_by_expected_time(tmp_path):
    small, large = (Recipe(image_size=size, epochs=2) for size in (32, 64))
    jobs = {
        "short": make_job(0, row="a", method="a", recipe=small),
        "long": make_job(1, row="b", method="b", recipe=small),
        "scaled": make_job(2, row="a@larger", method="a", recipe=large),
        "unknown": make_job(0, row="c", method="c", recipe=small),
        "short, too": make_job(2, row="a", method="a", recipe=small),
    }
    seconds = {"short": 10.0, "long": 30.0}
    known = [
        results.read_record(finish(tmp_path, jobs[name])).model_copy(update={"wall_seconds": time})
        for name, time in seconds.items()
    ]
    files = {name: job_file(tmp_path / "other", job) for name, job in jobs.items()}
    order = [file.id for file in longest_first(list(files.values()), known)]
    names = {file.id: name for name, file in files.items()}
    assert [names[each] for each in order] == ["unknown", "scaled", "long", "short", "short, too"]
    assert longest_first(list(files.values()), []) == list(files.values())
