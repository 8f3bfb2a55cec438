"""The critical-difference diagram: mean ranks on a line, bars over rows that are not told apart.

Demšar 2006 draws it for many data sets; here the ranks are means over folds, and what a bar joins
is said by the bench's own verdicts, not by a rank test that would take folds for independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.names import name, said
from bench.report.numbers import fixed
from bench.report.vega import INK, RULE, SOFT, WIDTH, Drawing, drawing, haloed

LINE = 22
"""Pixels from one row to the next."""
LETTER, GAP = 5.8, 7
"""Pixels: the width of a label's letters on average, and its distance from the point."""


def critical_difference(ranks: Mapping[str, float], groups: Sequence[Sequence[str]]) -> Drawing:
    """Mean rank of every row (1 is best), and the sets of rows that are not told apart."""
    import altair as alt

    ordered = sorted(ranks, key=lambda row: ranks[row])
    last = max(2, len(ordered))
    rows = [
        {"rank": ranks[row], "place": -at - 1, "label": _label(row, ranks[row], last)}
        for at, row in enumerate(ordered)
    ]
    bars = [
        {
            "low": min(ranks[row] for row in group),
            "high": max(ranks[row] for row in group),
            "place": 0.35 + 0.4 * at,
        }
        for at, group in enumerate(groups)
    ]
    top = 0.4 * len(groups) + 0.3
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-len(rows) - 0.6, top], nice=False))
    axis = alt.Axis(orient="top", format="d", grid=False, values=list(range(1, last + 1)))
    x = alt.X("rank:Q", title="mean rank over folds", axis=axis, scale=alt.Scale(domain=[1, last]))
    base = alt.Chart({"values": rows}).encode(x=x)
    middle = (1 + last) / 2
    good, poor = (base.transform_filter(f"datum.rank {sign} {middle}") for sign in ("<=", ">"))
    sides = (*haloed(good, y, "left", GAP), *haloed(poor, y, "right", -GAP))
    stems = base.mark_rule(color=RULE).encode(y=y, y2=alt.datum(top))
    points = base.mark_point(color=SOFT, filled=True, size=30, opacity=1).encode(y=y)
    joined = (
        alt.Chart({"values": bars})
        .mark_rule(color=INK, strokeWidth=4)
        .encode(x=alt.X("low:Q", title="mean rank over folds"), x2="high:Q", y=y)
    )
    chart = alt.layer(stems, joined, *sides, points).properties(
        width=WIDTH, height=int(LINE * (len(rows) + 1 + top))
    )
    told = ", ".join(f"{said(row)} {fixed(ranks[row], 2)}" for row in ordered)
    tied = "; ".join(" and ".join(said(row) for row in group) for group in groups)
    return drawing(chart, f"Mean ranks: {told}. Not told apart: {tied or 'none'}.")


def _label(row: str, rank: float, last: int) -> str:
    """Name and mean rank, as much of the name as the roomier side of its point holds."""
    share = (rank - 1) / (last - 1)
    room = int((max(share, 1 - share) * WIDTH - GAP) / LETTER)
    shown = fixed(rank, 2)
    return f"{name(row, max(8, room - len(shown) - 1)).short} {shown}"
