"""Charts: scales, curves and other SVG drawings.

Pages use small SVG that Python and Jinja write: a leaderboard has one page per row with ten graphs
each, which a drawing library would make slow. The EDA page and the figures of a paper use Altair
(`drawing`, `standalone`); vl-convert renders them without a browser or network.

A graph has no size: it is a square of 100 by 100 that the template stretches; lines keep their
width and text its size. A drawing is at most `WIDTH` pixels wide, so that its text fits a phone.
Colours are variables of the style sheet ("var(--k4)"), so one drawing serves the light theme, the
dark theme and paper. The eight class colours follow Okabe & Ito (2008); they stay distinct with
common colour blindness, and a name is always shown beside its colour.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from bench.leaderboard import Curve, CurvePoint, Estimate
from bench.report.format import fixed, isolated, name, plain, said
from bench.settings import REPORTS

if TYPE_CHECKING:
    import altair as alt

    AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.ConcatChart


MARGIN = 0.04
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """An estimate on a scale: its point, and the ends of its interval ("" without one).

    off  "left" or "right" if the point is beyond the scale; then only a sign marks it
    """

    at: str
    low: str = ""
    high: str = ""
    off: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis."""

    at: str
    label: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear scale from low to high; whole: of numbers without fractions."""

    low: float
    high: float
    whole: bool = False

    def share(self, value: float) -> float:
        """The position of a value as a share of the width, 0 to 1."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def at(self, value: float) -> str:
        """The same as `37.2%`; "" for a value that is undefined or beyond the scale."""
        known = not math.isnan(value) and not self.beyond(value)
        return f"{self.share(value) * 100:.1f}%" if known else ""

    def beyond(self, value: float) -> str:
        """The side on which a value is beyond the scale, "" if it is not."""
        slack = 1e-9 * (self.high - self.low)
        return "right" if value > self.high + slack else "left" if value < self.low - slack else ""

    def bar(self, estimate: Estimate) -> Bar | None:
        """The drawing of an estimate; None if it is undefined."""
        if math.isnan(estimate.value):
            return None
        if off := self.beyond(estimate.value):
            return Bar("100%" if off == "right" else "0%", off=off)
        if math.isnan(estimate.low) or math.isnan(estimate.high):
            return Bar(self.at(estimate.value))
        ends = (f"{self.share(end) * 100:.1f}%" for end in (estimate.low, estimate.high))
        return Bar(self.at(estimate.value), *ends)

    @property
    def step(self) -> float:
        """The distance of its ticks: about four of them, at round numbers."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))
        return max(1.0, float(round(step))) if self.whole else step

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Marks at round numbers."""
        step = self.step
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        if abs(step * 10**places - round(step * 10**places)) > 1e-6:  # noqa: PLR2004
            places += 1
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(self._tick(index * step, places) for index in range(first, last + 1))

    def _tick(self, value: float, places: int) -> Tick:
        share = self.share(value)
        edge = 0.08
        anchor = "start" if share < edge else "end" if share > 1 - edge else "middle"
        return Tick(self.at(value), fixed(value, places), anchor)


def scale_of(values: Iterable[float], bounds: tuple[float, float]) -> Scale:
    """A scale that holds all finite values with a small margin, inside the metric's bounds."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Scale(0.0, 1.0)
    low, high = min(finite), max(finite)
    margin = (high - low) * MARGIN or max(abs(high) * MARGIN, 0.05)
    low, high = max(low - margin, bounds[0]), min(high + margin, bounds[1])
    return Scale(low, high) if high > low else Scale(low - 0.05, high + 0.05)


def scale_of_estimates(
    estimates: Iterable[Estimate], bounds: tuple[float, float], zero: float = math.nan
) -> Scale:
    """A scale that holds estimates with their intervals, and `zero` if one is given."""
    ends = [end for e in estimates for end in (e.value, e.low, e.high)]
    return scale_of([*ends, zero], bounds)


LEFT, TOP, LINE_WIDTH, HEIGHT = 11.0, 4.0, 84.0, 78.0
"""Position and size of the square in its drawing, in per cent, as in `graph` of macros.j2."""


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
    """Curves on two axes. `label` describes it for screen readers."""

    title: str
    label: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    grid: tuple[tuple[str, str, str, str], ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class CurveSpec:
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
    curves: Sequence[CurveSpec],
    x: Scale,
    y: Scale,
    x_ticks: Sequence[tuple[float, str]] = (),
) -> Graph:
    """The curves on scales x and y; curves without points are left out.

    x_ticks  values and labels of the x axis; without them, round numbers
    """
    across = [value for value, _ in x_ticks] or _values(x)
    grid = [(_at(x, tick), "0", _at(x, tick), "100") for tick in across]
    grid += [("0", _up(y, tick), "100", _up(y, tick)) for tick in _values(y)]
    return Graph(
        title=title,
        label=label,
        x_title=axes[0],
        y_title=axes[1],
        x_ticks=tuple(
            Tick(f"{LEFT + x.share(value) * LINE_WIDTH:.1f}%", label) for value, label in x_ticks
        )
        or _placed(x, LEFT, LINE_WIDTH, upward=False),
        y_ticks=_placed(y, TOP, HEIGHT, upward=True),
        grid=tuple(grid),
        lines=tuple(_line(one, x, y) for one in curves if one.curve),
    )


def diagonal(low: float = 0.0, high: float = 1.0) -> Curve:
    """The curve on which both axes are the same."""
    return (CurvePoint(low, low), CurvePoint(high, high))


def _line(spec: CurveSpec, x: Scale, y: Scale) -> Line:
    curve = [point for point in spec.curve if not math.isnan(point.y)]
    known = [point for point in curve if not math.isnan(point.low)]
    points = " ".join(f"{_at(x, point.x)},{_up(y, point.y)}" for point in curve)
    if spec.shape == "points":
        return Line(
            spec.label,
            spec.kind,
            points,
            marks=tuple((_at(x, point.x), _up(y, point.y)) for point in curve),
            stems=tuple((_at(x, p.x), _up(y, p.low), _up(y, p.high)) for p in known),
        )
    if spec.shape == "dots":
        marks = tuple((_at(x, point.x), _up(y, point.y)) for point in curve)
        return Line(spec.label, spec.kind, "", marks=marks)
    band = ""
    if spec.shape == "band":
        ends = [(p.x, p.high) for p in known] + [(p.x, p.low) for p in reversed(known)]
        band = " ".join(f"{_at(x, across)},{_up(y, up)}" for across, up in ends)
    return Line(spec.label, spec.kind, points, band)


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
    ticks = []
    for value, tick in zip(_values(scale), scale.ticks, strict=True):
        share = 1 - scale.share(value) if upward else scale.share(value)
        ticks.append(Tick(f"{start + share * length:.1f}%", tick.label))
    return tuple(ticks)


SLOTS = 8
KNOWN = {"akiec": 0, "ak": 0, "bcc": 1, "bkl": 2, "df": 3, "mel": 4, "nv": 5, "vasc": 6, "scc": 7}


def swatches(classes: Sequence[str]) -> tuple[str, ...]:
    """The style-sheet class (`k0` to `k7`) of every class; unknown ones take what is left."""
    fixed = [KNOWN.get(label.lower()) for label in classes]
    free = [slot for slot in range(SLOTS) if slot not in fixed] or list(range(SLOTS))
    taken = iter(range(len(classes)))
    return tuple(f"k{free[next(taken) % len(free)] if slot is None else slot}" for slot in fixed)


WIDTH = 320
"""Pixels that fit a phone of 360 with its margins."""

INK, SOFT, RULE, ACCENT, HEAT, PAPER = (
    f"var(--{name})" for name in ("ink", "soft", "strong-rule", "accent", "heat", "paper")
)
PAD = 4
"""Pixels of empty space around a drawing."""
TOKENS = REPORTS / "css" / "tokens.css"
_VARIABLE = re.compile(r"var\(--([a-z0-9-]+)\)")
_ROLES = re.compile(r' (?:class|role|aria-[a-z]+|pointer-events|version|xmlns(?::xlink)?)="[^"]*"')


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart on a page: its SVG, inserted without escaping, and a description in one sentence."""

    svg: Any
    label: str


def class_colours(classes: Sequence[str]) -> list[str]:
    """The colour of every class, the same as on every page."""
    return [f"var(--{swatch})" for swatch in swatches(classes)]


def drawing(chart: AnyChart, label: str) -> Drawing:
    """Draw a chart. `label` describes its content for screen readers."""
    from markupsafe import Markup

    made = _svg(chart)
    inner = _ROLES.sub("", made).removeprefix("<svg")
    label = plain(label)
    svg = f'<svg role="img" aria-label="{escape(label)}"{inner}'
    return Drawing(Markup(svg), label)  # noqa: S704 - made and escaped by the drawing library


def standalone(chart: AnyChart) -> str:
    """A chart as a separate SVG file, in the colours of the light theme.

    The plot keeps its width; the drawing grows with its labels.
    """
    colours = _light_colours()
    whole = _svg(chart, {"autosize": {"type": "pad"}})
    return _VARIABLE.sub(lambda match: colours[match[1]], whole)


def _svg(chart: AnyChart, changes: Mapping[str, Any] | None = None) -> str:
    import vl_convert

    config = {**_config(), **(changes or {})}
    made: str = vl_convert.vegalite_to_svg({**chart.to_dict(), "config": config})
    return made


@cache
def _light_colours() -> dict[str, str]:
    """The values of the style sheet's variables in the light theme, which comes first."""
    text = TOKENS.read_text(encoding="utf-8")
    return dict(reversed(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+);", text)))


@cache
def _config() -> dict[str, Any]:
    """Thin lines, soft text, no boxes, as in the tables of the page."""
    text = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": SOFT, "titleColor": SOFT}
    return {
        "background": "transparent",
        "font": "Liberation Sans, Helvetica, Arial, sans-serif",
        "padding": PAD,
        "autosize": {"type": "fit", "contains": "padding"},
        "view": {"stroke": None},
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "gridColor": "var(--grid)",
            "domainColor": RULE,
            "tickColor": RULE,
            "labelLimit": 140,
        },
        "legend": {**text, "titleFontWeight": "normal", "orient": "top"},
        "header": {**text, "titleFontWeight": "normal"},
        "title": {"color": INK, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "text": {"color": SOFT, "fontSize": 12},
        "mark": {"color": ACCENT},
    }


LABELS, AXIS, STEP, BAR = 176, 18, 18, 10
"""Pixels of a diagram of ranks: width of the labels, place of the axis, heights of row and bar."""
MOST_TICKS = 8
LONGEST = 22


def critical_difference(ranks: Mapping[str, float], groups: Sequence[Sequence[str]]) -> Drawing:
    """Mean rank of every row (1 is best), and a bar over each set of rows that do not differ.

    After Demšar (2006). Here the ranks are means over folds, and a bar joins rows that the paired
    comparisons do not separate. It has a point at each row of its set; rows between are not in it.
    """
    from markupsafe import Markup

    ordered = sorted(ranks, key=lambda row: ranks[row])
    last = max(2, len(ordered))
    top = AXIS + BAR * (len(groups) + 1)
    x = {row: _rank_at(rank, last) for row, rank in ranks.items()}
    shapes = [_stroke(LABELS, AXIS, WIDTH - PAD, AXIS, RULE)]
    for rank in range(1, last + 1, math.ceil(last / MOST_TICKS)):
        at = _rank_at(rank, last)
        shapes.append(_stroke(at, AXIS - 4, at, AXIS, RULE))
        shapes.append(_text(at, AXIS - 7, str(rank), "middle"))
    for place, row in enumerate(ordered, start=1):
        y = top + STEP * (place - 0.5)
        shapes += [_stroke(x[row], AXIS, x[row], y, SOFT), _stroke(LABELS, y, x[row], y, SOFT)]
        shapes.append(_text(LABELS - 6, y + 4, f"{_short(row)} {fixed(ranks[row], 2)}", "end", INK))
    for place, group in enumerate(groups, start=1):
        y, ends = AXIS + BAR * place, [x[row] for row in group]
        shapes.append(_stroke(min(ends), y, max(ends), y, INK, 3))
        shapes += [f'<circle cx="{end:.1f}" cy="{y}" r="3.5" fill="{INK}"/>' for end in ends]
    height = top + STEP * len(ordered) + PAD
    values = ", ".join(f"{said(row)} {fixed(ranks[row], 2)}" for row in ordered)
    ties = "; ".join(" and ".join(said(row) for row in group) for group in groups)
    label = f"Mean ranks: {values}. No difference shown: {ties or 'none'}."
    svg = (
        f'<svg role="img" aria-label="{escape(label)}" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}">{"".join(shapes)}</svg>'
    )
    return Drawing(Markup(svg), label)  # noqa: S704 - every text in it is escaped


def _rank_at(rank: float, last: int) -> float:
    return LABELS + (rank - 1) / (last - 1) * (WIDTH - 2 * PAD - LABELS)


def _short(row: str) -> str:
    return isolated(name(row, LONGEST).short)


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = SOFT) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="11" fill="{colour}">{escape(text)}</text>'
