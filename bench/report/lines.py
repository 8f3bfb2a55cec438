"""Curves as drawings that take the width of their place, in the page's own colours.

A curve lies on a square of a hundred by a hundred that the template stretches to its place; lines
keep their width, words their size. Drawn here and not by `vega`: a page has ten of them, and a
leaderboard as many pages as rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.closeup import Curve, CurvePoint
from bench.report.charts import Scale, Tick

LEFT, TOP, WIDTH, HEIGHT = 11.0, 4.0, 84.0, 78.0
"""Where the square lies in its drawing, in per cent of it; `graph` in macros.j2 has the same."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its points, the band around it, marks at its points; `kind` is its style."""

    label: str
    kind: str
    points: str
    band: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    stems: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Curves on two axes. `label` says what it shows, for those who do not see it."""

    title: str
    label: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    grid: tuple[tuple[str, str, str, str], ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A curve to draw: `shape` is "line", "band" (with its interval), "points" (with stems) or
    "dots" (no line between them)."""

    label: str
    kind: str
    curve: Curve
    shape: str = "line"


def graph(
    title: str,
    label: str,
    axes: tuple[str, str],
    curves: Sequence[Asked],
    x: Scale,
    y: Scale,
) -> Graph:
    """The curves on scales x and y; curves without points are left out."""
    grid = [(_at(x, tick), "0", _at(x, tick), "100") for tick in _values(x)]
    grid += [("0", _up(y, tick), "100", _up(y, tick)) for tick in _values(y)]
    return Graph(
        title=title,
        label=label,
        x_title=axes[0],
        y_title=axes[1],
        x_ticks=_placed(x, LEFT, WIDTH, upward=False),
        y_ticks=_placed(y, TOP, HEIGHT, upward=True),
        grid=tuple(grid),
        lines=tuple(_line(one, x, y) for one in curves if one.curve),
    )


def diagonal(low: float = 0.0, high: float = 1.0) -> Curve:
    """The curve on which both axes are the same."""
    return (CurvePoint(low, low), CurvePoint(high, high))


def _line(asked: Asked, x: Scale, y: Scale) -> Line:
    curve = [point for point in asked.curve if not math.isnan(point.y)]
    known = [point for point in curve if not math.isnan(point.low)]
    points = " ".join(f"{_at(x, point.x)},{_up(y, point.y)}" for point in curve)
    if asked.shape == "points":
        return Line(
            asked.label,
            asked.kind,
            points,
            marks=tuple((_at(x, point.x), _up(y, point.y)) for point in curve),
            stems=tuple((_at(x, p.x), _up(y, p.low), _up(y, p.high)) for p in known),
        )
    if asked.shape == "dots":
        marks = tuple((_at(x, point.x), _up(y, point.y)) for point in curve)
        return Line(asked.label, asked.kind, "", marks=marks)
    band = ""
    if asked.shape == "band":
        ends = [(p.x, p.high) for p in known] + [(p.x, p.low) for p in reversed(known)]
        band = " ".join(f"{_at(x, across)},{_up(y, up)}" for across, up in ends)
    return Line(asked.label, asked.kind, points, band)


def _at(scale: Scale, value: float) -> str:
    return f"{scale.share(value) * 100:.1f}"


def _up(scale: Scale, value: float) -> str:
    return f"{100 - scale.share(value) * 100:.1f}"


def _values(scale: Scale) -> list[float]:
    """The values of a scale's ticks."""
    step = scale.step
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _placed(scale: Scale, start: float, length: float, *, upward: bool) -> tuple[Tick, ...]:
    found = []
    for value, tick in zip(_values(scale), scale.ticks, strict=True):
        share = 1 - scale.share(value) if upward else scale.share(value)
        found.append(Tick(f"{start + share * length:.1f}%", tick.label))
    return tuple(found)
