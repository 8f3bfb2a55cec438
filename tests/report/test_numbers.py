"""Numbers are written with as many digits as their interval supports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import format as formatting


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.7418, 0.7251, 0.7539, "0.742 [0.725, 0.754]"),
        (0.5231, 0.37, 0.671, "0.52 [0.37, 0.67]"),
        (0.5, 0.0, 1.0, "0.5 [0.0, 1.0]"),
        (-0.00001, -0.02, 0.02, "0.000 [\N{MINUS SIGN}0.020, 0.020]"),
        (0.9987, 0.9981, 0.9991, "0.999 [0.998, 0.999]"),
    ],
)
def test_digits_follow_the_interval(value, low, high, text):
    places = formatting.decimals(low, high)
    assert f"{formatting.fixed(value, places)} {formatting.interval(low, high, places)}" == text


@given(st.floats(0, 1), st.floats(1e-6, 1))
def test_no_digit_is_finer_than_a_hundredth_of_the_interval(low, width):
    high = low + width
    places = formatting.decimals(low, high)
    assert places == 1 or 10.0**-places >= (high - low) / 100 * (1 - 1e-9)


def test_few_images_without_interval_give_few_digits():
    assert formatting.decimals(math.nan, math.nan, n=20) == 2
    assert formatting.decimals(math.nan, math.nan, n=10_000) == 3


def test_undefined_is_neither_zero_nor_one():
    for write in (
        formatting.count,
        formatting.percent,
        formatting.duration,
        formatting.size,
        formatting.brief,
    ):
        assert write(math.nan) == "n/a"
    assert formatting.fixed(math.nan, 3) == "n/a"
    assert formatting.interval(math.nan, 0.5, 3) == ""
    assert formatting.p_value(math.nan) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.21, "3.2 s"),
        (9.97, "10.0 s"),
        (59.7, "1 min 00 s"),
        (750, "12 min 30 s"),
        (3599.6, "1 h 00 min"),
        (21_900, "6 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert formatting.duration(seconds) == text


def test_sizes_and_counts():
    assert formatting.size(0) == "0 bytes"
    assert formatting.size(2_040_109_466) == "1.90 GiB"
    assert formatting.count(10_015) == "10,015"
    assert formatting.counted(1, "image") == "1 image"
    assert formatting.brief(11_180_103) == "11.2 million"
    assert formatting.brief(23_456) == "23,500"


def test_shares_do_not_round_to_none_or_all():
    assert formatting.percent(0.001) == "<1%"
    assert formatting.percent(0.999) == ">99%"
    assert (formatting.percent(0), formatting.percent(1)) == ("0%", "100%")


def test_differences_carry_their_sign():
    assert formatting.signed(0.0121, 3) == "+0.012"
    assert formatting.signed(-0.0121, 3) == "\N{MINUS SIGN}0.012"
    assert formatting.signed(0.0001, 3) == "0.000"


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.00012, "p < 0.001"), (0.0312, "p = 0.031"), (0.214, "p = 0.21"), (1.0, "p > 0.99")],
)
def test_p_values(p, text):
    assert formatting.p_value(p) == text
