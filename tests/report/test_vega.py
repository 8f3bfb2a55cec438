"""Charts drawn into the page: its colours, no style of their own, names harmless."""

from __future__ import annotations

import altair as alt
import pytest

from bench.report.charts import WIDTH, class_colours, drawing
from tests.report import hostile
from tests.report.reading import read


def chart(names: list[str]) -> alt.Chart:
    values = [{"class": name, "images": 10 * at} for at, name in enumerate(names, start=1)]
    colours = alt.Scale(domain=names, range=class_colours(names))
    return (
        alt.Chart(alt.Data(values=values), width=WIDTH, height=120)
        .mark_bar()
        .encode(
            x=alt.X("images", type="quantitative"),
            y=alt.Y("class", type="nominal"),
            color=alt.Color("class", type="nominal", scale=colours, legend=None),
        )
    )


def test_a_drawing_has_the_colours_of_the_page():
    made = drawing(chart(["mel", "nv"]), "Images of each class").svg
    assert "var(--k4)" in made
    assert "var(--k5)" in made
    assert "#" not in made, "a colour of its own would not follow the theme"


@pytest.mark.parametrize("text", hostile.HOSTILE[:4])
def test_a_drawing_is_one_picture_without_style_or_handler(text):
    tree = read(drawing(chart([text, "nv"]), text).svg)
    picture = tree.one("svg")
    assert picture.attributes["role"] == "img"
    assert picture.attributes["aria-label"] == text
    assert picture.attributes["width"] == str(WIDTH)
    for element in tree.all():
        names = set(element.attributes)
        assert not names & {"style", "id", "class", "href"}, "the policy or another drawing"
        assert not [name for name in names if name.startswith("on")]
        assert element.tag in {"svg", "g", "path", "line", "text", "rect"}
