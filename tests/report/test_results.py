"""Results as objects: JSON both ways, tables, short representations, verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from bench.errors import ResultsError
from bench.leaderboard import ComparisonReport, Estimate, Leaderboard, RowReport
from tests.report import boards, hostile, reported_rows
from tests.report.comparisons import compared


@pytest.fixture(scope="module")
def report() -> ComparisonReport:
    return compared("a", "b", "<i>c")


@pytest.fixture(scope="module")
def looks():
    world = reported_rows.world()
    rows = reported_rows.rows(world)
    return reported_rows.board(world, rows), reported_rows.looks(world, rows)


@pytest.mark.parametrize("board", [boards.leaderboard(), hostile.worst()])
def test_a_leaderboard_reads_back_as_it_was_written(board):
    text = board.to_json()
    again = Leaderboard.from_json(text)
    assert again.to_json() == text
    assert [row.name for row in again.rows] == [row.name for row in board.rows]
    assert again.metrics[: len(again.rows[0].table.metrics)] == tuple(again.rows[0].table.metrics)
    assert again.dataset == board.dataset


def test_undefined_numbers_are_null_in_json_and_nan_again():
    board = boards.with_row(boards.leaderboard(), 0, seed_sd={"macro_f1": math.nan})
    assert json.loads(board.to_json())["methods"][0]["seed_sd"] == {"macro_f1": None}
    again = Leaderboard.from_json(board.to_json())
    assert math.isnan(again.rows[0].seed_sd["macro_f1"])


def test_a_comparison_reads_back_without_its_discordant_images(report):
    text = report.to_json()
    again = ComparisonReport.from_json(text)
    assert [pair.comparison for pair in again.pairs] == [pair.comparison for pair in report.pairs]
    assert (again.verdict, again.rope, again.margin) == (report.verdict, report.rope, report.margin)
    images = [len(pair.disputed) for pair in report.pairs]
    assert [pair["disputed"] for pair in json.loads(text)["pairs"]] == images


def test_a_row_report_reads_back_from_the_row_s_file(looks):
    board, reports = looks
    row = next(row for row in board.rows if row.name == "Plain")
    report = reports["Plain"]
    text = report.to_json(board, row)
    again = RowReport.from_json(text)
    assert again.to_json(board, row) == text
    assert again.gaps == report.gaps


@pytest.mark.parametrize("kind", [Leaderboard, ComparisonReport, RowReport])
def test_other_json_is_refused_by_the_name_of_the_first_wrong_field(kind):
    with pytest.raises(ResultsError, match=r"not the JSON of a .*: \w+"):
        kind.from_json('{"protocol": "groupkfold5"}')


def test_a_number_out_of_range_is_refused_by_its_place():
    content = json.loads(boards.leaderboard().to_json())
    content["interval"]["level"] = 1.5
    with pytest.raises(ResultsError, match=r"interval\.level"):
        Leaderboard.from_json(json.dumps(content))


def test_frames_have_a_line_per_metric_with_the_interval(report, looks):
    board = boards.leaderboard()
    frame = board.to_frame()
    row = board.rows[0]
    line = frame[(frame.row == row.name) & (frame.metric == "macro_f1") & (frame["class"] == "")]
    estimate = row.table.metrics["macro_f1"]
    assert line[["value", "low", "high", "n", "method"]].values.tolist() == [
        [estimate.value, estimate.low, estimate.high, estimate.n, estimate.method]
    ]
    assert len(frame) == sum(len(row.table.to_frame()) for row in board.rows)
    assert len(report.to_frame()) == sum(len(pair.differences.to_frame()) for pair in report.pairs)
    assert {"lesion", "extra", "malignant"} <= set(looks[1]["Plain"].to_frame().part)
    assert Estimate(0.5, 0.4, 0.6, 10, "bca").to_frame().values.tolist() == [
        [0.5, 0.4, 0.6, 10, "bca"]
    ]


def test_representations_are_short_and_html_escapes_names(report, looks):
    board = boards.with_row(boards.leaderboard(), 0, name="<script>x</script>")
    table = board.rows[0].table
    for result in (board, report, table, looks[1]["Plain"], table.metrics["macro_f1"]):
        assert len(repr(result).splitlines()) <= 2
        assert len(repr(result)) < 500
        page = result._repr_html_()
        assert "<table" in page
        assert "<script>" not in page
        assert "<i>c" not in page
    assert repr(Estimate(0.742, 0.725, 0.754, 10015, "bca")) == (
        "Estimate(0.742 [0.725, 0.754], n=10,015, bca)"
    )


def test_the_verdict_of_a_result_is_the_page_s(report):
    board = boards.leaderboard()
    assert board.rows[0].name in board.verdict
    assert "0.628 [0.590, 0.661]" in board.verdict
    assert replace(board, control=True).verdict == "A control: no row is ranked."
    assert json.loads(report.to_json())["headline"] == report.verdict
