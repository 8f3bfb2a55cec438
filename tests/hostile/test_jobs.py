"""A job.json, a job list, a fold table from anywhere: each is a sound one, or refused in a line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from bench.data.fold_task import read_fold
from bench.errors import DataError, ResultsError
from bench.job import to_json
from bench.run.results import open_job
from bench.run.slurm import listed_job
from tests.hostile.parsers import sound_job

TABLE = (
    "image_id,age,sex,localization,part,label,group_id\na,,,,train,0,g\nb,,,,val,1,h\nc,,,,test,,\n"
)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("place", "timeout_seconds", -1), ("place", "timeout_seconds", 0),
        ("place", "timeout_seconds", float("nan")), ("place", "memory_gib", float("inf")),
        ("place", "disk_gib", -0.5), ("place", "checkpoint_seconds", -1),
        ("place", "device", "tpu"), ("place", "weights", "a\0b"),
        ("place", "fold_table", "\ud800"), ("job", "threads", 0), ("job", "devices", -1),
        ("job", "seed", -1), ("job", "seed", 2**70), ("job", "column", 10**30),
        ("job", "fold", -1), ("job", "classes", []), ("job", "recipe", {"epochs": 0}),
    ],
)  # fmt: skip
def test_a_job_file_of_no_sense_is_refused_and_the_value_named(tmp_path, part, name, value):
    content = json.loads(to_json(sound_job()))
    content[part][name] = value
    path = tmp_path / "job.json"
    path.write_text(json.dumps(content))
    with pytest.raises(
        ResultsError, match=f"job.json: ({part}.{name}|invalid json: .* hex escape)"
    ):
        open_job(path)


def test_a_job_file_that_is_no_text_is_told_in_a_line(tmp_path):
    path = tmp_path / "job.json"
    path.write_bytes(to_json(sound_job()).encode().replace(b'"command": "', b'"command": "\xff'))
    asked = CliRunner().invoke(cli, ["job", str(path)], standalone_mode=False)
    assert isinstance(asked.exception, ResultsError)
    assert "job.json: not UTF-8 text" in str(asked.exception)


@pytest.mark.parametrize("folder", ["/x\0", "\ud800"])
def test_a_job_list_that_names_no_folder_is_refused(tmp_path, folder):
    (tmp_path / "run.jobs").write_text(json.dumps({"id": "x", "folder": folder}))
    with pytest.raises(ResultsError, match="line 1: not a line of a job list"):
        listed_job(tmp_path / "run.jobs", 0)


@pytest.mark.parametrize("content", [b"\xff\xfe", to_json(sound_job()).encode()[:-9], None])
def test_a_listed_job_that_cannot_be_read_is_to_be_planned_again(tmp_path, content):
    (tmp_path / "run.jobs").write_text(json.dumps({"id": "x", "folder": str(tmp_path)}))
    if content is not None:
        (tmp_path / "job.json").write_bytes(content)
    with pytest.raises(ResultsError, match=r"job.json: .*; plan again"):
        listed_job(tmp_path / "run.jobs", 0)


def fold(path: Path, content: bytes) -> list[int]:
    index = SimpleNamespace(image_ids=["a", "b", "c"])
    path.write_bytes(content)
    pixels = np.zeros((3, 2, 2, 3), np.uint8)
    parts = read_fold(path, SimpleNamespace(folder="store", index=index, pixels=pixels))
    return [len(part) for part in parts]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a fold table"),
        (b"\xff\xfe" * 9, "cannot be read as a fold table"),
        (b"PAR1,\0\n1", "columns are missing"),
        (b"image_id,dx\na,nv\n", "missing: age, sex, localization, part, label, group_id"),
        (TABLE.replace("train,0", "train,mel").encode(), "labels are not class numbers"),
        (TABLE.replace("train,0", "train,").encode(), "labels are not class numbers"),
        (TABLE.replace("train,0", "train,-1").encode(), "labels are not class numbers"),
        (TABLE.replace("train,0", "train,1e40").encode(), "labels are not class numbers"),
        (TABLE.replace("c,,", "z,,").encode(), "images that are not in store: z"),
    ],
)
def test_a_file_that_is_no_fold_table_is_refused(tmp_path, content, message):
    assert fold(tmp_path / "fold.csv", TABLE.encode()) == [1, 1, 1]
    with pytest.raises(DataError, match=message):
        fold(tmp_path / "fold.csv", content)
