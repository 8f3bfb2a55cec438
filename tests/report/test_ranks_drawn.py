"""The diagram of mean ranks: rows in order, a bar with a point at each row that it joins."""

from __future__ import annotations

import re

import pytest

from bench.report.charts import LABELS, WIDTH, critical_difference
from tests.report import hostile
from tests.report.reading import read

THREE = {"resnet18@c5025f27": 1.4, "custom_cnn@c5025f27": 1.6, "linear_probe@04525aa7": 3.0}


def shown(ranks: dict[str, float], groups=()):
    return read(str(critical_difference(ranks, groups).svg)).one("svg")


def test_every_row_has_its_label_in_the_order_of_its_rank():
    picture = shown(dict(reversed(THREE.items())))
    labels = [one for one in picture.all("text") if one.attributes["text-anchor"] == "end"]
    assert [one.text for one in labels] == [f"{row} {rank:.2f}" for row, rank in THREE.items()]
    heights = [float(one.attributes["y"]) for one in labels]
    assert heights == sorted(heights)
    assert float(picture.attributes["height"]) > heights[-1]


@pytest.mark.parametrize("rows", [2, 8, 30])
def test_a_better_rank_is_further_left_and_nothing_leaves_the_drawing(rows):
    ranks = {f"row{at}": 1 + at * (rows - 1) / rows for at in range(rows)}
    leaders = [
        one.attributes
        for one in shown(ranks).all("line")
        if one.attributes["x1"] == one.attributes["x2"] and one.attributes["y1"] == "18.0"
    ]
    places = [float(one["x1"]) for one in leaders]
    assert len(places) == rows
    assert places == sorted(places)
    assert min(places) >= LABELS
    assert max(places) <= WIDTH


def test_a_bar_has_a_point_at_each_row_that_it_joins():
    picture = shown(THREE, [("resnet18@c5025f27", "linear_probe@04525aa7")])
    assert len(picture.all("circle")) == 2  # the row between is not one of them
    assert not shown(THREE).all("circle")
    (bar,) = [one for one in picture.all("line") if one.attributes["stroke-width"] == "3"]
    ends = {bar.attributes["x1"], bar.attributes["x2"]}
    assert ends == {one.attributes["cx"] for one in picture.all("circle")}


def test_the_label_names_ranks_and_ties():
    label = critical_difference(THREE, [tuple(THREE)[:2]]).label
    assert all(f"{row} {rank:.2f}" in label for row, rank in THREE.items())
    assert "resnet18@c5025f27 and custom_cnn@c5025f27" in label


@pytest.mark.parametrize("bad", hostile.HOSTILE)
def test_hostile_names_are_text_without_style_or_handler(bad):
    picture = critical_difference({bad: 1.0, "b": 2.0, "c": 3.0}, [(bad, "b")]).svg
    tree = read(str(picture))
    assert {one.tag for one in tree.all()} == {"svg", "line", "text", "circle"}
    names = {key for one in tree.all() for key in one.attributes}
    assert not names & {"style", "id", "class", "href"}
    assert not [key for key in names if key.startswith("on")]
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r"<text.*?</text>", "", str(picture)))
