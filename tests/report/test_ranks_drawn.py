"""The diagram of mean ranks: every label beside its own leader, and nothing runs through one."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from bench.report.rank_diagram import AXIS, GAP, INNER, LABEL, LINE, critical_difference, layout
from bench.report.render import write
from tests.report import hostile
from tests.report.reading import read
from tests.report.test_browser import CHROMIUM, browser  # noqa: F401 - a fixture

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

THREE = {"resnet18@c5025f27": 1.4, "custom_cnn@c5025f27": 1.6, "linear_probe@04525aa7": 3.0}
EIGHT = THREE | {
    "ensemble_of_three": 1.4,
    "resnet18_late_fusion": 2.2,
    "efficientnet_phase4@c5025f27": 5.8,
    "colour_neighbours@2e49f34b": 7.0,
    "metadata_logistic@4cadbb3d": 8.0,
}


def ranks_of(seed: int) -> dict[str, float]:
    """Two to thirty rows with names of any length, some of them with the same mean rank."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(2, 31))
    words = ["resnet18", "late", "fusion", "efficientnet", "MMWW", "a", "x" * 60, "phase4"]
    names = [f"{'_'.join(rng.choice(words, rng.integers(1, 4)))}@{at:08x}" for at in range(rows)]
    return dict(zip(names, np.round(rng.uniform(1, rows, rows) * 5) / 5, strict=True))


def labels_of(laid) -> list[Box]:
    """The boxes of the labels, as wide as their side lets them be."""
    boxes = []
    for one in laid.places:
        half = LINE * len(one.lines) / 2
        near = one.end + one.sign * GAP
        far = 0.0 if one.sign < 0 else INNER
        boxes.append((min(near, far), one.y - half, max(near, far), one.y + half))
    return boxes


def leaders_of(laid) -> list[list[Box]]:
    """The two strokes of every leader."""
    return [
        [
            (one.x, AXIS, one.x, one.y),
            (min(one.x, one.end), one.y, max(one.x, one.end), one.y),
        ]
        for one in laid.places
    ]


def meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("seed", range(100))
def test_no_leader_meets_a_label_or_another_leader(seed):
    laid = layout(ranks_of(seed), ())
    labels, leaders = labels_of(laid), leaders_of(laid)
    assert not [pair for pair in combinations(labels, 2) if meet(*pair)]
    for strokes in leaders:
        for x1, y1, x2, y2 in strokes:
            thick = (x1 - 0.5, y1 - 0.5, x2 + 0.5, y2 + 0.5)
            assert not [label for label in labels if meet(thick, label)]
    for one, other in combinations(leaders, 2):
        for (x, top, _, low), (left, y, right, _) in ((one[0], other[1]), (other[0], one[1])):
            assert not (left < x < right and top < y < low)
    assert all(0 <= box[0] < box[2] <= INNER and box[3] <= laid.height for box in labels)
    assert 0 < laid.low < laid.high < INNER


def test_the_better_half_stands_to_the_left_and_the_outermost_highest():
    laid = layout(EIGHT, ())
    better = [one.row for one in laid.places if one.sign < 0]
    assert better == sorted(EIGHT, key=lambda row: EIGHT[row])[:4]
    for sign in (-1, 1):
        side = [one for one in laid.places if one.sign == sign]
        assert all(above.y < below.y for above, below in pairwise(side))
        assert all((below.x - above.x) * sign <= 0 for above, below in pairwise(side))


def test_a_name_is_shown_whole_where_three_lines_hold_it():
    for one in layout(EIGHT, ()).places:
        assert "".join(one.lines).replace(" ", "") == f"{one.row}{EIGHT[one.row]:.2f}"


@pytest.mark.parametrize("bad", hostile.HOSTILE)
def test_hostile_names_are_text_and_keep_their_side(bad):
    made = critical_difference({bad: 1.0, "b": 2.0, "c": 3.0}, [(bad, "b")])
    assert not {one.tag for one in read(made.svg).all()} & {"script", "img", "style"}
    assert layout({bad: 1.0, "b": 2.0, "c": 3.0}, ()).low < INNER / 2


def test_a_bar_has_a_point_at_each_row_that_it_joins():
    groups = [("resnet18@c5025f27", "linear_probe@04525aa7")]
    with_bar, without = (
        str(critical_difference(THREE, found).svg).count("var(--ink)") for found in (groups, ())
    )
    assert with_bar - without == 3  # the bar and two points: the row between is none of them


DRAWN = """[...document.querySelector("svg").querySelectorAll("text, line, path, rect")]
  .map(one => [one.tagName, one.textContent, one.getBoundingClientRect()])
  .map(([tag, text, box]) => [tag, text, [box.left, box.top, box.right, box.bottom]])"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("ranks", [THREE, EIGHT], ids=["three", "eight"])
def test_in_a_browser_no_stroke_runs_through_a_label_and_none_is_cut(
    browser,  # noqa: F811
    tmp_path,
    ranks,
    width,
):
    svg = critical_difference(ranks, [tuple(ranks)[:2]]).svg
    head = "<!doctype html><style>text { font-family: 'Liberation Sans', sans-serif }</style>"
    write({"index.html": f"{head}{svg}"}, tmp_path)
    visit = browser.new_page(viewport={"width": width, "height": 900})
    visit.goto((tmp_path / "index.html").as_uri())
    found = visit.evaluate(DRAWN)
    left, top, right, bottom = visit.evaluate(
        "(({left, top, right, bottom}) => [left, top, right, bottom])"
        "(document.querySelector('svg').getBoundingClientRect())"
    )
    visit.close()
    texts = [box for tag, text, box in found if tag == "text" and not text.isdigit()]
    strokes = [box for tag, _, box in found if tag == "line"]
    assert len(texts) >= len(ranks)
    assert len(strokes) > 2 * len(ranks)
    for x1, y1, x2, y2 in texts:
        middle = (x1, (y1 + y2) / 2 - LABEL / 2, x2, (y1 + y2) / 2 + LABEL / 2)
        assert not [stroke for stroke in strokes if meet(middle, stroke)]
        assert left <= x1 < x2 <= right
        assert top <= y1 < y2 <= bottom
