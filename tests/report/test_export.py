"""leaderboard.json is the contract to the letter; a CSV cell is never a formula."""

from __future__ import annotations

import csv
import io
import json
import math

import jsonschema
import pytest

from bench.io import FORMULA, text_cell
from bench.report.render import render
from tests.report import boards

NUMBER = {"type": ["number", "null"]}
RANK = {"type": ["integer", "null"]}
ESTIMATE = {
    "type": "object",
    "required": ["value", "low", "high", "n"],
    "properties": {"value": NUMBER, "low": NUMBER, "high": NUMBER, "n": {"type": "integer"}},
}
ESTIMATES = {"type": "object", "additionalProperties": ESTIMATE}
METHOD = {
    "type": "object",
    "required": [
        "name",
        "method",
        "kind",
        "seeds",
        "folds",
        "complete",
        "rank",
        "metrics",
        "per_class",
        "cost",
    ],
    "properties": {
        "name": {"type": "string"},
        "method": {"type": "string"},
        "kind": {"enum": ["trained", "submitted", "reference"]},
        "seeds": {"type": "array", "items": {"type": "integer"}},
        "folds": {"type": "array", "items": {"type": "integer"}},
        "complete": {"type": "boolean"},
        "rank": {
            "type": "object",
            "required": ["best", "low", "high"],
            "properties": {"best": RANK, "low": RANK, "high": RANK},
        },
        "metrics": ESTIMATES,
        "per_class": {"type": "object", "additionalProperties": ESTIMATES},
        "cost": {"type": "object", "additionalProperties": NUMBER},
    },
}
COMPARISON = {
    "type": "object",
    "required": [
        *("a", "b", "metric", "difference", "low", "high"),
        *("models", "methods", "p", "p_adjusted", "trainings"),
    ],
    "properties": {
        **dict.fromkeys(("difference", "low", "high", "p", "p_adjusted"), NUMBER),
        "models": {"enum": ["better", "worse", "no difference shown"]},
        "methods": {"enum": ["better", "worse", "no difference shown", "not tested"]},
        "trainings": {"type": "integer", "minimum": 0},
        "verdict": False,
    },
}
CONTRACT = {
    "type": "object",
    "required": ["protocol", "unit", "dataset", "classes", "interval", "methods", "comparisons"],
    "properties": {
        "protocol": {"type": "string"},
        "unit": {"type": "string"},
        "dataset": {
            "type": "object",
            "required": ["name", "roster_sha256", "images", "groups", "synthetic"],
            "properties": {
                "images": {"type": "integer"},
                "groups": {"type": "integer"},
                "synthetic": {"type": "boolean"},
            },
        },
        "classes": {"type": "array", "items": {"type": "string"}},
        "interval": {"type": "object", "required": ["level", "resamples", "unit", "method"]},
        "methods": {"type": "array", "items": METHOD},
        "comparisons": {"type": "array", "items": COMPARISON},
    },
}


def strict(text: str):
    def refuse(constant: str):
        pytest.fail(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", ["files", "worst_files"])
def test_json_keeps_the_contract_and_is_strict(name, request):
    jsonschema.validate(strict(request.getfixturevalue(name)["leaderboard.json"]), CONTRACT)


def test_json_holds_the_numbers_unrounded(board, files):
    content = strict(files["leaderboard.json"])
    for row, written in zip(board.rows, content["methods"], strict=True):
        assert written["name"] == row.name
        for key, estimate in row.table.metrics.items():
            assert written["metrics"][key]["value"] == estimate.value
        assert written["confusion"] == row.confusion.tolist()
    assert content["classes"] == list(board.classes)
    assert content["unit"] == "lesion"
    assert content["interval"] == {
        "level": 0.95,
        "resamples": 10_000,
        "unit": "lesion",
        "method": "bca",
    }


def test_undefined_is_null_with_its_n(worst_files):
    content = strict(worst_files["leaderboard.json"])
    unsure = content["methods"][1]["metrics"]
    assert unsure["macro_f1"]["value"] is None
    assert unsure["macro_f1"]["n"] == 10_015
    assert unsure["log_loss"]["value"] is None, "infinity is no JSON number"
    assert content["methods"][1]["rank"]["best"] is None
    assert content["comparisons"][0]["p"] is None


def test_csv_has_a_line_a_method_and_every_metric(board, files):
    lines = table(files["leaderboard.csv"])
    assert [line["name"] for line in lines] == [row.name for row in board.rows]
    for row, line in zip(board.rows, lines, strict=True):
        assert line["kind"] == row.kind
        assert line["rank"] == ("" if row.rank.best is None else str(row.rank.best))
        for key, estimate in row.table.metrics.items():
            assert float(line[key]) == estimate.value
            assert float(line[f"{key}_low"]) == estimate.low
            assert float(line[f"{key}_high"]) == estimate.high
            assert int(line[f"{key}_n"]) == estimate.n


def test_csv_leaves_undefined_cells_empty(worst_files):
    line = table(worst_files["leaderboard.csv"])[1]
    assert (line["macro_f1"], line["macro_f1_n"]) == ("", "10015")


def test_per_class_csv_has_every_estimate(board, files):
    lines = table(files["per_class.csv"])
    assert len(lines) == len(board.rows) * len(board.classes) * len(board.class_metrics)


def test_a_number_of_a_csv_is_a_number_even_below_zero(board):
    shifted = boards.metric_table("resnet18", board.rows[1].confusion)
    estimate = boards.estimate(-0.25, 100, 50, -1, 1)
    table_ = type(shifted)({**shifted.metrics, "mcc": estimate}, shifted.per_class)
    text = render(boards.with_row(board, 1, table=table_))["leaderboard.csv"]
    assert table(text)[1]["mcc"] == "-0.25"


@pytest.mark.parametrize("name", ["leaderboard.csv", "per_class.csv"])
def test_no_text_of_a_csv_is_a_formula(worst_files, name):
    for line in csv.reader(io.StringIO(worst_files[name])):
        for cell in line:
            try:
                assert math.isfinite(float(cell))
            except ValueError:
                assert not cell.startswith(FORMULA), cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\uff1d1", "\n=1"])
def test_a_text_that_looks_like_a_formula_gets_an_apostrophe(text):
    assert text_cell(text) == f"'{text}"


def test_an_ordinary_name_is_left_alone():
    assert text_cell("resnet18@3f9ac0d1") == "resnet18@3f9ac0d1"
