"""What is drawn lies where the numbers say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.leaderboard import NAN, Estimate
from bench.report.charts import Scale, scale_of, scale_of_estimates, swatches
from bench.report.tables import metric_table
from tests.report import boards


def test_an_interval_lies_between_its_ends():
    bar = Scale(0.0, 2.0).bar(Estimate(1.0, 0.5, 1.5))
    assert bar is not None
    assert (bar.low, bar.at, bar.high) == ("25.0%", "50.0%", "75.0%")


def test_undefined_is_not_drawn():
    assert Scale(0, 1).bar(Estimate(NAN)) is None
    bar = Scale(0, 1).bar(Estimate(0.5))
    assert bar is not None
    assert bar.low == ""


@given(st.lists(st.floats(0, 1), min_size=1))
def test_a_scale_holds_every_value_and_keeps_its_bounds(values):
    scale = scale_of(values, (0.0, 1.0))
    assert scale.low < scale.high
    assert scale.low <= min(values)
    assert max(values) <= scale.high


def test_a_scale_of_nothing_is_a_scale():
    assert scale_of_estimates([Estimate(NAN), Estimate(math.inf)], (0, 1)) == Scale(0.0, 1.0)


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (Scale(0.05, 0.68), ["0.2", "0.4", "0.6"]),
        (Scale(-0.004, 0.23), ["0.0", "0.1", "0.2"]),
        (Scale(0.0, 1.0), ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (Scale(0.7, 0.83), ["0.70", "0.75", "0.80"]),
    ],
)
def test_ticks_are_round_numbers(scale, labels):
    assert [tick.label for tick in scale.ticks] == labels


@given(st.floats(-100, 100), st.floats(1e-4, 100))
def test_ticks_are_few_and_differ(low, width):
    labels = [tick.label for tick in Scale(low, low + width).ticks]
    assert 2 <= len(labels) <= 6
    assert len(set(labels)) == len(labels)


def test_a_class_has_the_same_colour_whatever_stands_beside_it():
    assert swatches(("mel", "nv")) == swatches(("akiec", "mel", "nv"))[1:]
    assert swatches(("NV", "MEL")) == swatches(("nv", "mel"))
    assert len(set(swatches(("one", "two", "nv", "mel", "three")))) == 5


def test_what_lies_beyond_a_scale_is_a_sign_at_its_edge():
    bar = Scale(0.0, 2.0).bar(Estimate(31.0, 30.0, 32.0))
    assert bar is not None
    assert (bar.off, bar.low, Scale(0.0, 2.0).at(31.0)) == ("right", "", "")


def test_a_reference_of_any_loss_does_not_flatten_the_methods(board):
    far = replace(board.rows[4].table.metrics["log_loss"], value=31.0, low=30.0, high=32.0)
    table = board.rows[4].table
    changed = replace(table, metrics={**table.metrics, "log_loss": far})
    lines = metric_table(boards.with_row(board, 4, table=changed), ("log_loss",)).lines
    assert [line.cells[0].bar.off for line in lines] == ["", "", "", "", "right", ""]
