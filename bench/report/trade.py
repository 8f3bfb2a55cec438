"""What a result costs: the primary metric against the time that training took."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.estimates import Estimate, Leaderboard, LeaderboardRow
from bench.report.catalogue import metric
from bench.report.names import name, said
from bench.report.numbers import duration
from bench.report.tables import primary_scale
from bench.report.vega import ACCENT, WIDTH, Drawing, drawing, haloed
from bench.report.words import primary_text

if TYPE_CHECKING:
    import altair as alt

TICKS = (
    (1, 10, 60, 600, 3600, 36_000, 86_400, 604_800),
    (2, 5, 30, 120, 300, 1800, 7200, 18_000, 172_800),
    (20, 45, 90, 180, 900, 1200, 2700, 5400, 10_800, 28_800),
)
"""Seconds that an axis may name, the roundest first."""
NEAREST = 0.27
"""The share of the axis that the words of a tick need."""
HEIGHT = 240


def trade_off(board: Leaderboard) -> Drawing | None:
    """Training time against the primary metric, named where no other row is better and cheaper.

    None where fewer than two rows say how long they trained.
    """
    import altair as alt

    rows = [row for row in board.rows if _seconds(row) > 0 and _known(board, row)]
    if len(rows) < 2:  # noqa: PLR2004
        return None
    best = efficient(board, rows)
    values = [
        {
            "seconds": _seconds(row),
            "value": row.table.metrics[board.primary].value,
            "low": row.table.metrics[board.primary].low,
            "high": row.table.metrics[board.primary].high,
            "top": _top(row.table.metrics[board.primary]),
            "label": name(row.name, 28).short if row.name in best else "",
        }
        for row in rows
    ]
    about, scale = metric(board.primary), primary_scale(board, rows)
    seconds = [_seconds(row) for row in rows]
    times = [min(seconds) / 1.3, max(seconds) * 1.3]
    ticks = _ticks(*times) or sorted({min(seconds), max(seconds)})
    words = " : ".join(f"datum.value == {tick!r} ? '{duration(tick)}'" for tick in ticks)
    axis = alt.Axis(values=ticks, labelExpr=f"{words} : ''", grid=False)
    base = alt.Chart({"values": values}).encode(
        x=alt.X(
            "seconds:Q",
            title="training time, all folds",
            axis=axis,
            scale=alt.Scale(type="log", domain=times, nice=False),
        )
    )
    domain = alt.Scale(domain=[scale.low, scale.high], nice=False, zero=False)
    y = alt.Y("value:Q", title=about.label, scale=domain)
    low = alt.Y("low:Q", title=about.label, scale=domain)
    chart = alt.layer(
        base.mark_rule(color=ACCENT).encode(y=low, y2="high:Q"),
        base.mark_point(color=ACCENT, filled=True, size=36, opacity=1).encode(y=y),
        *_names(base, alt.Y("top:Q", scale=domain), math.sqrt(times[0] * times[1])),
    ).properties(width=WIDTH, height=HEIGHT)
    told = "; ".join(
        f"{said(row.name)} {duration(_seconds(row))}, {primary_text(board, row)}"
        for row in rows
        if row.name in best
    )
    return drawing(chart, f"Training time against {about.label}. Best for their time: {told}.")


def _ticks(low: float, high: float) -> list[float]:
    """Round times between two, the roundest first, as many as their words leave room for."""
    found: list[float] = []
    for tick in (one for level in TICKS for one in level if low <= one <= high):
        apart = (abs(math.log(tick / other)) for other in found)
        if all(gap > NEAREST * math.log(high / low) for gap in apart):
            found.append(tick)
    return sorted(found) if len(found) > 1 else []


def _top(one: Estimate) -> float:
    """The upper end of an interval; the value itself where it has none."""
    return one.value if math.isnan(one.high) else one.high


def _names(base: alt.Chart, top: alt.Y, middle: float) -> tuple[alt.Chart, ...]:
    """Names above their interval, growing to the right in the left half, else to the left."""
    near, far = (base.transform_filter(f"datum.seconds {sign} {middle}") for sign in ("<=", ">"))
    return (*haloed(near, top, "left", -4, -7), *haloed(far, top, "right", 4, -7))


def efficient(board: Leaderboard, rows: list[LeaderboardRow]) -> set[str]:
    """The rows that no other one surpasses in less time (the Pareto front)."""
    lower = metric(board.primary).lower

    def worth(row: LeaderboardRow) -> float:
        value = row.table.metrics[board.primary].value
        return -value if lower else value

    return {
        row.name
        for row in rows
        if not any(
            worth(other) >= worth(row)
            and _seconds(other) <= _seconds(row)
            and (worth(other), -_seconds(other)) != (worth(row), -_seconds(row))
            for other in rows
        )
    }


def _seconds(row: LeaderboardRow) -> float:
    return float(row.facts.cost.get("train_seconds", math.nan))


def _known(board: Leaderboard, row: LeaderboardRow) -> bool:
    return math.isfinite(row.table.metrics[board.primary].value)
