"""Nothing that somebody hands over leads out of its folder, is calculated, or is executed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.dataset import Dataset, Record
from bench.errors import DataError, ProtocolError, ResultsError
from bench.io import safe_name, text_cell
from bench.job import parse_record, to_json
from bench.predictions import Predictions
from bench.protocol import parse_protocol
from bench.run import results
from bench.run.integrity import merge_results
from bench.train import checkpoint
from bench.train.checkpoint import read_metadata
from bench.workflows.artifacts import finished_jobs
from tests.conftest import CLASSES
from tests.hostile.parsers import SOUND_TOML
from tests.hostile.parsers import checkpoint as checkpoint_file
from tests.run.test_rows import finish, make_job

OUTSIDE = ["../x", "/etc/passwd", "a/../../x", "..", "", "a\0b", "..\\x"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_record_that_vouches_for_files_elsewhere_is_refused(tmp_path, path):
    folder = finish(tmp_path, make_job(0))
    record = json.loads((folder / "record.json").read_text())
    record["files"][path] = "0" * 64
    with pytest.raises(ResultsError, match="not a path below the job's folder"):
        parse_record(json.dumps(record), "record.json")


@pytest.mark.parametrize("field", ["protocol", "dataset", "row", "method"])
@pytest.mark.parametrize("name", ["../x", "/x", "..", ".", "", "a/b", "a\0b"])
def test_a_record_named_out_of_its_folder_is_refused(tmp_path, field, name):
    record = results.read_record(finish(tmp_path, make_job(0)))
    content = json.loads(to_json(record))
    content["job"][field] = name
    with pytest.raises(ResultsError, match="not a valid name of a folder"):
        parse_record(json.dumps(content), "record.json")


@pytest.mark.parametrize("path", [*OUTSIDE, "a//b", "./a", "a b"])
def test_roles_outside_of_the_protocols_are_refused(path):
    with pytest.raises(ProtocolError, match="roles.x.file"):
        parse_protocol(
            SOUND_TOML + f'[roles.x]\nfile = {json.dumps(path)}\nsha256 = "{"0" * 64}"\n', "p.toml"
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("unknown = 1\n", "unknown: extra inputs"),
        ('name = "again"\n', "not TOML"),
        ("title = 3\n", "not TOML"),
        ("[split.deep]\nx = 1\n", "split.deep: extra inputs"),
        ("[run]\nseeds = [1.5]\n", "run.seeds.0"),
        ("[run]\nseeds = 0\n", "run.seeds"),
        ("[interval]\nresamples = 10000000000\n", "interval.resamples"),
        ('[interval]\nlevel = "0.95"\n', "interval.level"),
    ],
)
def test_keys_that_are_unknown_doubled_or_of_a_wrong_type_are_named(change, message):
    text = change + SOUND_TOML if "[" not in change else SOUND_TOML + change
    with pytest.raises(ProtocolError) as refused:
        parse_protocol(text, "p.toml")
    assert message in str(refused.value)


@given(st.lists(st.text(max_size=300), min_size=1, max_size=3))
def test_any_names_make_one_plain_file_name(words):
    name = safe_name(words)
    assert PurePosixPath(name).name == name
    assert name not in {"", ".", ".."}
    assert not name.startswith(".")
    assert len(name) <= 120


@given(st.text(max_size=30))
def test_no_cell_of_an_export_is_a_formula(text):
    cell = text_cell(text)
    assert cell in {text, f"'{text}"}
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t=", "\uff1d"])
@pytest.mark.parametrize("column", ["image_id", "lesion_id", "patient_id"])
def test_an_id_that_is_a_formula_is_refused(sign, column):
    values = {"image_id": "a", "label": "nv"} | {column: f"{sign}cmd()"}
    with pytest.raises(DataError, match="treats as formulas"):
        Dataset.from_records("small", ("nv",), [Record(**values)])


ODD_CLASSES = ["../../owned", "a/b", "a\\b", "..", ".", "", " ", "a\x1b[2J", "a\nb", "=1+1", " @a"]


@pytest.mark.parametrize("name", ODD_CLASSES)
def test_a_class_whose_name_is_no_plain_word_is_refused_wherever_it_comes_from(tmp_path, name):
    with pytest.raises(DataError, match="names of classes: .*; rename them"):
        Dataset.from_records("small", ("nv", name), [Record("a", "nv")])
    content = json.loads(to_json(results.read_record(finish(tmp_path, make_job(0)))))
    content["job"]["classes"][1] = name
    with pytest.raises(ResultsError, match="record.json: job.classes.1: "):
        parse_record(json.dumps(content), "record.json")
    (tmp_path / "best.safetensors").write_bytes(checkpoint_file(classes=["nv", name]))
    with pytest.raises(ResultsError, match="not a lesion-bench checkpoint: classes.1: "):
        read_metadata(tmp_path / "best.safetensors")


@pytest.mark.parametrize(
    "name", ["melanoma in situ", "nævus (junctional)", "AK-1", "Bowen's, C44.9"]
)
def test_words_of_a_language_may_name_a_class(name):
    assert Dataset.from_records("small", (name,), [Record("a", name)]).classes == (name,)
    assert make_job(0, classes=(name,)).classes == (name,)


def test_gradcam_draws_no_job_of_other_classes_than_the_data_s(tmp_path):
    finish(tmp_path, make_job(0, classes=("a", "b", "c")))
    own = finish(tmp_path, make_job(1))
    dataset = SimpleNamespace(name="small", roster_sha256="roster", classes=CLASSES)
    bench = SimpleNamespace(
        dataset=dataset,
        protocol=SimpleNamespace(name="p"),
        roles_sha256="roles",
    )
    assert [folder for folder, _ in finished_jobs(bench, tmp_path, (), None)] == [own]


def test_no_cell_of_a_table_of_predictions_is_a_formula(tmp_path):
    ids = np.array(["=1+1.png", "b"], dtype=object)
    made = Predictions(ids, np.array([[0.25, 0.75], [1.0, 0.0]]), ("nv", "=cmd()"))
    path = tmp_path / "table.csv"
    results.write_table(path, results.predictions_table(made).assign(job="@a"))
    assert path.read_text().splitlines()[1:] == [
        "'=1+1.png,'=cmd(),0.25,0.75,'@a",
        "b,nv,1.0,0.0,'@a",
    ]


def test_a_results_folder_with_links_is_not_merged(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    folder = finish(tmp_path / "theirs", make_job(0))
    (folder / "notes.txt").symlink_to(secret)
    with pytest.raises(ResultsError, match="holds a link"):
        merge_results(tmp_path / "theirs", tmp_path / "mine")
    assert not list((tmp_path / "mine").glob("**/notes.txt"))


class Executed:
    """What a pickle runs when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["last.pt", "best.safetensors"])
def test_a_checkpoint_that_is_a_pickle_is_not_executed(tmp_path, name):
    mark = tmp_path / "executed"
    content = pickle.dumps({"model": Executed(mark)})
    proof = hashlib.sha256(content).digest() if name == "last.pt" else b""
    (tmp_path / name).write_bytes(proof + content)  # even where the hash is right
    assert checkpoint.load_last(tmp_path) is None
    with pytest.raises(ResultsError, match="cannot be read as a checkpoint"):
        checkpoint.read_raw_metadata(tmp_path / name)
    assert not mark.exists()
