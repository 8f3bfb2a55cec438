"""The critical-difference diagram.

Laid out as in Demšar 2006: the better half of the rows is named to the left of the line, the rest
to the right, each at the height of its own leader, the outermost highest; so no leader meets a
label or another leader. He draws it for many data sets; here the ranks are means over folds, and
what a bar joins is said by the bench's own verdicts, not by a rank test that would take folds for
independent. A bar has a point at each row that it joins, for it may pass over one that it does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.report.charts import INK, LABEL, PAD, RULE, SOFT, WIDTH, Drawing, drawing
from bench.report.format import fixed, name, pieces, said

if TYPE_CHECKING:
    import altair as alt

INNER = WIDTH - 2 * PAD
NARROW, WIDE = frozenset("fijlrtI.,:;'|!-() "), frozenset("mwMW@%…")
ROOM, LINE = 104, 13
"""Pixels: the width of a label at most, and from one of its lines to the next."""
MOST_LINES = 3
GAP, STUB = 5, 6
"""Pixels: between a label and its leader, and of the shortest leader across."""
AXIS, TICK, TICK_LABEL = 22, 5, 16
"""Pixels: where the line lies, the height of its marks, and the width that their labels need."""
BARS, BAR = 10, 9
"""Pixels: from the line to the first bar, and from one bar to the next."""
BELOW = 8
"""Pixels between two labels."""


@dataclass(frozen=True, slots=True)
class Place:
    """A row in the diagram, in pixels: where its leader leaves the line and turns, and its label.

    end  where the leader meets the label; sign: -1 for labels to the left of it, 1 to the right
    """

    row: str
    lines: tuple[str, ...]
    x: float
    y: float
    end: float
    sign: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The diagram in pixels: the line from low to high, the last rank on it, rows, bars, height."""

    low: float
    high: float
    last: int
    places: tuple[Place, ...]
    bars: tuple[tuple[str, ...], ...]
    height: float

    def at(self, rank: float) -> float:
        """Where a mean rank lies."""
        return self.low + (rank - 1) / (self.last - 1) * (self.high - self.low)


def critical_difference(ranks: Mapping[str, float], groups: Sequence[Sequence[str]]) -> Drawing:
    """Mean rank of every row (1 is best), and the sets of rows that are not told apart."""
    import altair as alt

    laid = layout(ranks, groups)
    layers = (*_axis(laid), *_leaders(laid), *_bars(laid), *_names(laid))
    chart = alt.layer(*layers).properties(width=WIDTH, height=laid.height + 2 * PAD)
    ordered = sorted(ranks, key=lambda row: ranks[row])
    told = ", ".join(f"{said(row)} {fixed(ranks[row], 2)}" for row in ordered)
    tied = "; ".join(" and ".join(said(row) for row in group) for group in groups)
    return drawing(chart, f"Mean ranks: {told}. Not told apart: {tied or 'none'}.")


def layout(ranks: Mapping[str, float], groups: Sequence[Sequence[str]]) -> Layout:
    """Where everything lies: the line takes what the labels leave of the width."""
    ordered = sorted(ranks, key=lambda row: ranks[row])
    half = math.ceil(len(ordered) / 2)
    sides = ordered[:half], ordered[half:][::-1]
    labels = {row: _label(row, ranks[row]) for row in ordered}
    taken = [
        max((_width(line) for row in side for line in labels[row]), default=0) for side in sides
    ]
    low, high = (taken[0] + GAP + STUB, INNER - taken[1] - GAP - STUB)
    bare = Layout(low, high, max(2, len(ordered)), (), tuple(map(tuple, groups)), 0.0)
    tallest = LINE * max(map(len, labels.values()))
    step, top = tallest + BELOW, AXIS + BARS + BAR * len(groups) + tallest / 2
    places = tuple(
        Place(row, labels[row], bare.at(ranks[row]), top + step * at, end, sign)
        for side, end, sign in zip(sides, (low - STUB, high + STUB), (-1, 1), strict=True)
        for at, row in enumerate(side)
    )
    return replace(bare, places=places, height=top + step * (half - 1) + tallest / 2)


def _label(row: str, rank: float) -> tuple[str, ...]:
    """A name and its mean rank in three lines at most, broken where names may break."""
    lines = [""]
    for piece in (*pieces(name(row).short), f" {fixed(rank, 2)}"):
        if _width(lines[-1] + piece) > ROOM:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    if len(lines) > MOST_LINES:
        lines = [lines[0], "".join(lines[1:-1]), lines[-1]]
    return tuple(_cut(line) for line in lines if line)


def _cut(line: str) -> str:
    """A line that fits its room, with an ellipsis where it was longer."""
    while _width(line) > ROOM:
        line = f"{line.removesuffix('…')[:-1]}…"
    return line


def _width(text: str) -> float:
    """Pixels that a text takes, rather more than less: no font is at hand to ask."""
    shares = (
        0.33
        if char in NARROW
        else 0.57
        if char.isascii() and char not in WIDE and not char.isupper()
        else 1.0
        for char in text
    )
    return LABEL * sum(shares)


def _drawn(records: Iterable[Mapping[str, Any]], laid: Layout) -> alt.Chart:
    """A chart of records at x and y in pixels."""
    import altair as alt

    x = alt.Scale(domain=[0, INNER], nice=False, zero=False)
    y = alt.Scale(domain=[laid.height, 0], nice=False, zero=False)
    return alt.Chart({"values": list(records)}).encode(
        x=alt.X("x:Q", axis=None, scale=x), y=alt.Y("y:Q", axis=None, scale=y)
    )


def _axis(laid: Layout) -> tuple[alt.Chart, ...]:
    """The line with its whole ranks, as many of them named as have room."""
    room = (laid.high - laid.low) / (laid.last - 1)
    every = math.ceil(TICK_LABEL / room)
    ranks = range(1, laid.last + 1)
    ticks = [{"x": laid.at(one), "y": AXIS, "y2": AXIS - TICK} for one in ranks]
    named = [
        {"x": laid.at(one), "y": AXIS - TICK - 2, "text": str(one)}
        for one in ranks
        if (one - 1) % every == 0
    ]
    line = [{"x": laid.low, "x2": laid.high, "y": AXIS}]
    return (
        _drawn(line, laid).mark_rule(color=RULE).encode(x2="x2:Q"),
        _drawn(ticks, laid).mark_rule(color=RULE).encode(y2="y2:Q"),
        _drawn(named, laid).mark_text(color=SOFT, baseline="bottom").encode(text="text:N"),
    )


def _leaders(laid: Layout) -> tuple[alt.Chart, ...]:
    """From the line down to a row's height, and across to its label."""
    down = [{"x": one.x, "y": AXIS, "y2": one.y} for one in laid.places]
    across = [{"x": one.x, "x2": one.end, "y": one.y} for one in laid.places]
    points = [{"x": one.x, "y": AXIS} for one in laid.places]
    return (
        _drawn(down, laid).mark_rule(color=SOFT).encode(y2="y2:Q"),
        _drawn(across, laid).mark_rule(color=SOFT).encode(x2="x2:Q"),
        _drawn(points, laid).mark_point(color=SOFT, filled=True, size=30, opacity=1),
    )


def _bars(laid: Layout) -> tuple[alt.Chart, ...]:
    """A bar over each set of rows that are not told apart, a point at each of them."""
    x = {one.row: one.x for one in laid.places}
    heights = [AXIS + BARS + BAR * at for at in range(len(laid.bars))]
    ends = [
        {"x": min(x[row] for row in group), "x2": max(x[row] for row in group), "y": y}
        for group, y in zip(laid.bars, heights, strict=True)
    ]
    points = [
        {"x": x[row], "y": y} for group, y in zip(laid.bars, heights, strict=True) for row in group
    ]
    return (
        _drawn(ends, laid).mark_rule(color=INK, strokeWidth=3).encode(x2="x2:Q"),
        _drawn(points, laid).mark_point(color=INK, filled=True, size=36, opacity=1),
    )


def _names(laid: Layout) -> tuple[alt.Chart, ...]:
    """The labels beside the ends of their leaders."""
    return (_side(laid, -1, "right"), _side(laid, 1, "left"))


def _side(laid: Layout, sign: int, align: Literal["left", "right"]) -> alt.Chart:
    lines = [
        {
            "x": one.end + sign * GAP,
            "y": one.y + LINE * (at - (len(one.lines) - 1) / 2),
            "text": line,
        }
        for one in laid.places
        if one.sign == sign
        for at, line in enumerate(one.lines)
    ]
    drawn = _drawn(lines, laid).encode(text="text:N")
    made: alt.Chart = drawn.mark_text(
        align=align, baseline="middle", fontSize=LABEL, color=INK, limit=ROOM + GAP
    )
    return made
