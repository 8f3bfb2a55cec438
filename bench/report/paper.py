"""LaTeX tables, figures and references for a paper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from bench.leaderboard import REFERENCE, Estimate, Leaderboard
from bench.leaderboard.text import metric
from bench.report.charts import ACCENT, RULE, SOFT, class_colours, standalone
from bench.report.dataset_report import DatasetReport
from bench.report.format import name
from bench.report.paper_text import bibliography, cited, paragraphs, render_tex, tables

if TYPE_CHECKING:
    import altair as alt


SIDE = 420
LINE = 20
TICK = 40
"""Pixels that a tick and its label take."""
PANELS = 4
MOST_ROWS = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: the name of its files, its caption, its SVG."""

    label: str
    caption: str
    svg: str


def figures(study: DatasetReport) -> Iterator[Figure]:
    """Ranking, classes, pairs, detectable differences, as far as there is something to draw."""
    board = study.board
    yield _ranking(board)
    if any(row.kind != REFERENCE for row in board.rows):
        yield _classes(board)
    if any(one.metric == board.primary for one in board.comparisons):
        yield _pairs(board)
    yield _detectable(study)


def _ends(one: Estimate) -> dict[str, float | None]:
    """A value and its ends, the value itself where it has no interval."""
    if math.isnan(one.value):
        return {"value": None, "low": None, "high": None}
    known = not (math.isnan(one.low) or math.isnan(one.high))
    return {
        "value": one.value,
        "low": one.low if known else one.value,
        "high": one.high if known else one.value,
    }


def _labels(names: Sequence[str]) -> list[str]:
    """Short names, told apart by their place where two are cut alike."""
    short = [name(one, 32).short for one in names]
    return [
        f"{text} ({at + 1})" if short.count(text) > 1 else text for at, text in enumerate(short)
    ]


def _forest(
    records: list[dict[str, Any]],
    title: str,
    order: Sequence[str],
    width: int = SIDE,
    *,
    named: bool = True,
) -> alt.LayerChart:
    """Points with intervals, a line a record: keys who, value, low, high, colour."""
    import altair as alt

    axis = alt.Axis(labelLimit=SIDE, labels=named, ticks=named)

    base = alt.Chart(
        alt.InlineData(values=records), width=width, height=LINE * (len(order) + 1)
    ).encode(
        y=alt.Y("who", type="nominal", sort=list(order), title=None, axis=axis),
        color=alt.Color("colour", type="nominal", scale=None),
    )
    across = alt.X(
        "low",
        type="quantitative",
        title=title,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=max(2, width // TICK), labelOverlap=True),
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=across, x2="high")
    point = base.mark_circle(size=50, opacity=1).encode(x=alt.X("value", type="quantitative"))
    return cast("alt.LayerChart", alt.layer(rule, point))


def _ranking(board: Leaderboard) -> Figure:
    rows = board.rows[:MOST_ROWS]
    order = _labels([row.name for row in rows])
    records = [
        {"who": who, "colour": RULE if row.kind == REFERENCE else ACCENT}
        | _ends(row.table.metrics[board.primary])
        for who, row in zip(order, rows, strict=True)
    ]
    about = metric(board.primary)
    level = f"{board.interval.level:.0%}"
    return Figure(
        "ranking",
        f"{about.title} of every row with its {level} interval over {board.interval.unit}s.",
        standalone(_forest(records, about.label, order)),
    )


def _classes(board: Leaderboard) -> Figure:
    """F1 by class, a panel a class, in the class's colour."""
    import altair as alt

    rows = [row for row in board.rows if row.kind != REFERENCE][:MOST_ROWS]
    order = _labels([row.name for row in rows])
    key = "f1" if "f1" in board.class_metrics else board.class_metrics[0]
    panels: list[alt.LayerChart] = []
    for label, colour in zip(board.classes, class_colours(board.classes), strict=True):
        records = [
            {"who": who, "colour": colour} | _ends(row.table.per_class[label][key])
            for who, row in zip(order, rows, strict=True)
            if key in row.table.per_class.get(label, {})
        ]
        first = len(panels) % PANELS == 0
        chart = _forest(records, metric(key).label, order, SIDE // PANELS, named=first)
        panels.append(chart.properties(title=name(label, 20).short))
    width = min(PANELS, max(1, len(panels)))
    beside = alt.concat(*panels, columns=width)
    return Figure(
        "classes",
        f"{metric(key).title} of every method by class, with its interval.",
        standalone(beside),
    )


def _pairs(board: Leaderboard) -> Figure:
    import altair as alt

    found = [one for one in board.comparisons if one.metric == board.primary][:MOST_ROWS]
    order = [
        f"{at + 1}. {name(one.a, 32).short} \N{MINUS SIGN} {name(one.b, 32).short}"
        for at, one in enumerate(found)
    ]
    records = [
        {"who": who, "colour": ACCENT if one.verdict in ("better", "worse") else SOFT}
        | _ends(Estimate(one.difference, one.low, one.high))
        for who, one in zip(order, found, strict=True)
    ]
    zero = (
        alt.Chart(alt.InlineData(values=[{"zero": 0}]))
        .mark_rule(color=RULE)
        .encode(x=alt.X("zero", type="quantitative"))
    )
    about = metric(board.primary)
    chart = alt.layer(zero, _forest(records, f"difference in {about.label}", order))
    return Figure(
        "pairs",
        f"Differences in {about.label} between methods, paired, with their intervals; grey where "
        "interval and test do not both tell them apart.",
        standalone(chart),
    )


def _detectable(study: DatasetReport) -> Figure:
    import altair as alt

    classes = study.manifest.classes
    colours = dict(zip(classes, class_colours(classes), strict=True))
    records = [
        {
            "who": name(str(row["class"]), 20).short,
            "value": row["detectable"],
            "colour": colours.get(row["class"], SOFT),
        }
        for row in study.detectable.to_dict("records")
    ]
    chart = (
        alt.Chart(alt.InlineData(values=records), width=SIDE, height=LINE * (len(records) + 1))
        .mark_bar(height=12)
        .encode(
            y=alt.Y("who", type="nominal", sort=[one["who"] for one in records], title=None),
            x=alt.X("value", type="quantitative", title="smallest difference in recall that shows"),
            color=alt.Color("colour", type="nominal", scale=None),
        )
    )
    return Figure(
        "detectable",
        "The smallest difference in recall by class (all: in accuracy) that the paired interval "
        f"finds with {study.assumed['power']:.0%} power.",
        standalone(chart),
    )


FOLDER = "paper"


def render_paper(study: DatasetReport) -> dict[str, str | bytes]:
    """The files of a paper about a leaderboard, by name, `main.tex` of all parts among them.

    The same study gives the same bytes, except for the order of objects in the PDF files.
    """
    import vl_convert

    made: dict[str, str | bytes] = {}
    labels = []
    for table in tables(study):
        labels.append(f"table-{table.label}")
        made[f"table-{table.label}.tex"] = render_tex("table.tex.j2", table=table)
    drawn = list(figures(study))
    for one in drawn:
        made[f"figures/{one.label}.svg"] = one.svg
        made[f"figures/{one.label}.pdf"] = vl_convert.svg_to_pdf(one.svg)
    methods = render_tex("methods.tex.j2", paragraphs=paragraphs(study))
    captions = [(one.label, one.caption) for one in drawn]
    return made | {
        "methods.tex": methods,
        "references.bib": bibliography(cited(methods), study.board.dataset),
        "main.tex": render_tex("main.tex.j2", tables=labels, figures=captions),
    }
