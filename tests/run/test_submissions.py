"""A sound submission is a row with its numbers; a broken one is refused with the reason."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pandas as pd
import pytest

from bench.errors import PredictionError, ResultsError
from bench.predictions import TrainingKey
from bench.protocol import PARTS, Roles
from bench.run.submissions import (
    Submission,
    SubmissionSpec,
    declared_models,
    keep_submission,
    read_submission,
    refuse_committed,
    refuse_name,
    submitted_rows,
)

CLASSES = ("mel", "nv", "vasc")
IDS = np.array([f"I{n}" for n in range(12)], dtype=object)


def wanted(repeats: int = 1) -> SubmissionSpec:
    """Three folds of four images each; a second repeat deals them otherwise."""
    parts = np.full((12, 3 * repeats), PARTS.index("train"), dtype=np.uint8)
    for column in range(3 * repeats):
        start = column % 3 * 4 + column // 3
        parts[np.arange(start, start + 4) % 12, column] = PARTS.index("test")
    return SubmissionSpec(Roles("roster", IDS, IDS, parts), CLASSES, folds=3, seed=0)


def table() -> pd.DataFrame:
    probs = np.random.default_rng(0).dirichlet(np.ones(3), 12)
    frame = pd.DataFrame(probs, columns=[f"p_{name}" for name in CLASSES])
    frame.insert(0, "image_id", IDS)
    return frame.sample(frac=1, random_state=1)


def read(frame: pd.DataFrame, tmp_path, repeats: int = 1, name: str = "preds.csv"):
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return read_submission(path, wanted(repeats))


@pytest.mark.parametrize("name", ["preds.csv", "preds.parquet"])
def test_every_fold_gets_the_rows_of_its_test_images(tmp_path, name):
    frame = table()
    slots = read(frame, tmp_path, name=name)
    assert set(slots) == {TrainingKey(0, 0, fold) for fold in range(3)}
    expected = frame.set_index("image_id")
    for fold in range(3):
        ids = IDS[fold * 4 : fold * 4 + 4]
        np.testing.assert_allclose(slots[TrainingKey(0, 0, fold)].for_ids(ids), expected.loc[ids])


def test_isics_header_is_read_by_name_in_any_order(tmp_path):
    frame = table()
    isic = frame.rename(
        columns={"image_id": "image", "p_mel": "MEL", "p_nv": "NV", "p_vasc": "VASC"}
    )
    slots = read(isic[["image", "VASC", "NV", "MEL"]], tmp_path)
    ours = read(frame, tmp_path)
    for slot, predictions in ours.items():
        np.testing.assert_allclose(slots[slot].for_ids(predictions.image_ids), predictions.probs)


def test_isic_2019s_empty_column_of_unknowns_is_passed_over(tmp_path):
    isic = table().rename(
        columns={"image_id": "image", "p_mel": "MEL", "p_nv": "NV", "p_vasc": "VASC"}
    )
    assert len(read(isic.assign(UNK=0.0), tmp_path)) == 3
    with pytest.raises(PredictionError, match="unknown columns: UNK"):
        read(isic.assign(UNK=0.1), tmp_path)


def test_several_repeats_ask_for_a_fold_column_and_use_it(tmp_path):
    with pytest.raises(PredictionError, match="add a column `fold`"):
        read(table(), tmp_path, repeats=2)
    parts = []
    for column in range(6):
        ids = set(IDS[wanted(2).roles.rows(column, "test")])
        parts.append(table().loc[lambda f, ids=ids: f["image_id"].isin(ids)].assign(fold=column))
    slots = read(pd.concat(parts), tmp_path, repeats=2)
    assert set(slots) == {TrainingKey(0, repeat, fold) for repeat in range(2) for fold in range(3)}
    with pytest.raises(PredictionError, match="I0 is not tested in fold 1"):
        read(pd.concat(parts).assign(fold=1).drop_duplicates("image_id"), tmp_path, repeats=2)


def no_sum(frame):
    frame.loc[frame["image_id"] == "I3", "p_nv"] += 0.1
    return frame


def not_a_number(frame):
    return frame.astype({"p_nv": object}).replace({"p_nv": {frame["p_nv"].iloc[0]: "high"}})


def negative(frame):
    return frame.assign(p_mel=-0.5, p_nv=1.0, p_vasc=0.5)


def infinite(frame):
    return frame.assign(p_mel=np.inf)


BROKEN = {
    "a class is missing": (lambda f: f.drop(columns="p_nv"), "missing columns: p_nv"),
    "an unknown column": (lambda f: f.assign(p_scc=0.0), "unknown columns: p_scc"),
    "an image is missing": (lambda f: f[f["image_id"] != "I5"], "I5 is missing"),
    "an image twice": (lambda f: pd.concat([f, f.iloc[:1]]), "occurs twice"),
    "an unknown image": (lambda f: f.replace("I7", "X7"), "X7 is not in this dataset"),
    "file names": (lambda f: f.replace("I7", "I7.jpg"), "'I7.jpg' for I7; give ids without .jpg"),
    "white space": (lambda f: f.replace("I7", "I7 "), "(1 of 12): 'I7 ' for I7; give ids without"),
    "letter case": (lambda f: f.replace("I7", "i7"), "'i7' for I7; give ids in the dataset's"),
    "half a fold": (lambda f: f.assign(fold=0.5), "`fold` is none of 0 to 2: row 2 has '0.5', row"),
    "no such fold": (lambda f: f.assign(fold=7), "row 4 has '7' and 9 more; give the column"),
    "an id that is empty": (lambda f: f.replace("I4", ""), "no image id in row 4; give it"),
    "sums": (no_sum, "I3 has probabilities that sum to 1.1"),
    "no number": (not_a_number, "not finite"),
    "negative": (negative, "give probabilities, not logits"),
    "infinite": (infinite, "not finite"),
    "empty": (lambda f: f.iloc[:0], "no rows below a header"),
    "a formula for an id": (lambda f: f.replace("I7", "=1+1"), "=1+1 is not in this dataset"),
    "a control character": (lambda f: f.replace("I7", "I7\x1b[31m"), r"I7\\x1b[31m"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_refused_with_the_offender_and_the_cure(tmp_path, fault):
    damage, message = BROKEN[fault]
    with pytest.raises(PredictionError) as refusal:
        read(damage(table()), tmp_path)
    assert message.replace("\\\\", "\\") in str(refusal.value)
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"\xff\xfe\x00", "is UTF-16 text, not UTF-8; save it as UTF-8"),
        ("image_id,p_mel".encode("utf-16-be"), "holds zero bytes, as UTF-16 does; save it as"),
        (b"image_id,p_m\xe9l\n", "not UTF-8 text .byte 12.; save it as UTF-8"),
        (gzip.compress(b"image_id,p_mel\nI0,1\n", mtime=0), "is packed by gzip; unpack it"),
        (b"PK\x03\x04rest of a workbook", "a zip archive or a workbook; unpack it, or save"),
        (b"image_id;p_mel\nI0;0,5\n", "is separated by semicolons; write commas, and points"),
        (b'"image_id";"p_mel"\n"I0";"0,5"\n', "is separated by semicolons"),
        (b"\nimage_id\tp_mel\nI0\t0.5\n", "is separated by tabs"),
        (b"image_id,p_mel,p_nv,p_vasc\nI0,1,0,0,0\n", "row 2 has 5 cells, the header has 4"),
        (b"image_id,p_mel,p_nv,p_vasc\nI0,1,0\n", "row 2 has 3 cells"),
        (b'image_id,p_mel\n"I0,1\n', "not a CSV table: row 2 has a quote .*not closed"),
        (b'image_id,p_mel\n\nI0,1\n"I1,1\n' + b"I2,1\n" * 40_000, "row 4 has a quote .*not closed"),
        (b"image_id,p_mel\n" + b"I" * 200_000, "row 2 has a cell of more than 131072 characters"),
        (b'image_id,p_mel\n"I0"x,1\n', "row 2 has a quote in a wrong place"),
        (b"image_id,p_mel,p_mel,p_nv,p_vasc\nI0,1,0,0,0\n", "twice: p_mel"),
        (b"PAR1 is no such file", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "preds.csv"
    path.write_bytes(content)
    with pytest.raises(PredictionError, match=message) as refusal:
        read_submission(path, wanted())
    assert len(str(refusal.value).splitlines()) == 1


def test_ids_as_the_index_of_a_parquet_file_are_told_to_be_written_as_a_column(tmp_path):
    with pytest.raises(PredictionError, match=r"image_id is the table's index.*reset_index\(\)"):
        read(table().set_index("image_id"), tmp_path, name="preds.parquet")


def test_a_row_of_a_parquet_file_without_an_id_is_named_by_its_number(tmp_path):
    frame = table().reset_index(drop=True)
    frame.loc[[2, 4, 5, 7], "image_id"] = None
    with pytest.raises(PredictionError, match="no image id in row 3, row 5, row 6 and 1 more; "):
        read(frame, tmp_path, name="preds.parquet")


def test_sums_are_told_with_the_digits_that_make_them_wrong(tmp_path):
    rounded = table().assign(p_mel=0.3, p_nv=0.699, p_vasc=0.0)  # adds up to a trifle below 0.999
    assert len(read(rounded, tmp_path)) == 3
    with pytest.raises(PredictionError) as refusal:
        read(rounded.assign(p_nv=0.69899), tmp_path)
    assert "sum to 0.99899, not 1 within 0.001; divide them by their sum" in str(refusal.value)


def test_one_fault_is_told_in_one_line(tmp_path):
    with pytest.raises(PredictionError) as refusal:
        read(table().loc[lambda f: f["image_id"] != "I5"], tmp_path)
    message = "preds.csv: I5 is missing; every test image needs a row"
    assert str(refusal.value).endswith(message)
    assert len(str(refusal.value).splitlines()) == 1


def test_an_image_that_no_fold_tests_is_not_told_to_be_of_a_fold_that_nobody_gave(tmp_path):
    asked = wanted()
    asked.roles.parts[5] = PARTS.index("train")
    path = tmp_path / "preds.csv"
    table().to_csv(path, index=False)
    with pytest.raises(PredictionError, match="I5 is not tested in any fold of this protocol"):
        read_submission(path, asked)


def test_the_first_twenty_faults_are_told_and_the_rest_counted(tmp_path):
    with pytest.raises(PredictionError) as refusal:
        read(table().assign(p_mel=5.0, image_id=[f"X{n}" for n in range(12)]), tmp_path)
    assert str(refusal.value).count("\n  - ") == 20
    assert "36 faults" in str(refusal.value)
    assert "and 16 more" in str(refusal.value)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-x", "majority", "mine", "x" * 65, "a\nb"])
def test_a_name_that_is_taken_or_no_name_is_refused(tmp_path, name):
    with pytest.raises(PredictionError, match="--name"):
        refuse_name(name, tmp_path / "none", ["mine"], replace=False)


def test_a_name_that_a_committed_row_has_is_refused(tmp_path):
    refuse_committed("theirs", tmp_path / "theirs")
    (tmp_path / "theirs").mkdir()
    with pytest.raises(PredictionError, match="--name theirs: is the name of a committed row"):
        refuse_committed("theirs", tmp_path / "theirs")


def kept(tmp_path, **changes):
    """A submission accepted into a results folder."""
    path = tmp_path / "preds.csv"
    table().to_csv(path, index=False)
    folder = tmp_path / "results" / "p" / "small" / "theirs"
    values = {
        "name": "theirs", "protocol": "p", "dataset": "small", "roster_sha256": "roster",
        "roles_sha256": "roles", "file": "submission.csv", "sha256": sha256(path),
        "original": "preds.csv", "origin": "a paper", "licence": "CC0",
        "pretraining_data": "none", "accepted": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    keep_submission(folder, path, Submission(**(values | changes)))
    return folder


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows(tmp_path, roles_sha256="roles", taken=frozenset()):
    return submitted_rows([tmp_path / "results"], "p", "small", wanted(), roles_sha256, taken)


def test_an_accepted_file_is_a_row_that_says_where_it_is_from(tmp_path):
    kept(tmp_path)
    ((row, facts),) = rows(tmp_path)
    assert (row.name, row.kind, row.folds) == ("theirs", "submitted", (0, 1, 2))
    assert facts.unranked == ""
    assert "submitted: training not verified" in facts.notes
    assert {"origin: a paper", "licence of the predictions: CC0"} < set(facts.notes)
    assert rows(tmp_path, "other roles") == []


def test_a_submission_named_like_a_trained_row_is_named_with_what_to_remove(tmp_path):
    folder = kept(tmp_path)
    with pytest.raises(ResultsError) as refusal:
        rows(tmp_path, taken={"theirs"})
    assert f"remove {folder / 'submission.*'}" in str(refusal.value)
    assert rows(tmp_path, "other roles", taken={"theirs"}) == []


@pytest.mark.parametrize(
    ("declared", "why"), [("undeclared", "not declared"), ("ISIC 2019", "overlaps")]
)
def test_undeclared_or_overlapping_pretraining_is_shown_unranked(tmp_path, declared, why):
    kept(tmp_path, pretraining_data=declared)
    ((_, facts),) = rows(tmp_path)
    assert why in facts.unranked


def test_a_kept_file_that_changed_is_refused_not_dropped(tmp_path):
    folder = kept(tmp_path)
    (folder / "submission.csv").write_text("other")
    with pytest.raises(ResultsError, match="submit it again"):
        rows(tmp_path)


def test_a_second_submission_of_one_name_needs_to_be_asked_for(tmp_path):
    folder = kept(tmp_path)
    with pytest.raises(PredictionError, match="--replace"):
        refuse_name("theirs", folder, [], replace=False)
    refuse_name("theirs", folder, [], replace=True)


def with_models(tmp_path, names):
    path = tmp_path / "models.csv"
    frame = table()
    fold = wanted().test_rows().set_index("image_id")["fold"]
    frame.assign(model=[names[fold[image]] for image in frame["image_id"]]).to_csv(
        path, index=False
    )
    return path


def test_a_model_column_declares_separately_trained_models(tmp_path):
    separate = with_models(tmp_path, ["x", "y", "z"])
    assert declared_models(separate, wanted(), None) == 3
    assert len(read_submission(separate, wanted())) == 3
    shared = with_models(tmp_path, ["x", "y", "x"])
    assert declared_models(shared, wanted(), None) == 1
    with pytest.raises(PredictionError, match="--models 3: the column `model` of .* shows 1"):
        declared_models(shared, wanted(), 3)


def test_the_number_of_models_is_one_or_at_least_one_for_each_fold(tmp_path):
    path = tmp_path / "preds.csv"
    table().to_csv(path, index=False)
    stated = [declared_models(path, wanted(), models) for models in (None, 1, 3, 6)]
    assert stated == [0, 1, 3, 6]
    with pytest.raises(PredictionError, match="--models 2: the protocol has 3 folds"):
        declared_models(path, wanted(), 2)


def test_a_declared_number_of_models_is_kept_and_shown(tmp_path):
    kept(tmp_path, models=3)
    ((_, facts),) = rows(tmp_path)
    assert facts.models == 3
    assert "separately trained models, as declared: 3" in facts.notes
