"""Altair charts as SVG that stands in the page itself: static, in the page's type and colours.

A chart names its colours by the style sheet's variables ("var(--k4)"), so that one drawing serves
light, dark and paper. vl-convert draws without a browser and asks nothing of a network. For what
changes its width with the page, see `charts`; these drawings keep theirs, `WIDTH` at most, so that
their letters keep their size on a phone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from bench.report.names import plain
from bench.report.palette import swatches

if TYPE_CHECKING:
    import altair as alt

    AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.ConcatChart

WIDTH = 320
"""Pixels that fit a phone of 360 with its margins."""

INK, SOFT, RULE, ACCENT, HEAT, PAPER = (
    f"var(--{name})" for name in ("ink", "soft", "strong-rule", "accent", "heat", "paper")
)
LABEL, HALO, PAD = 11, 4, 4
"""Pixels: the height of a label in a drawing, the width of its halo, and what is bare around it."""
TOKENS = Path(__file__).resolve().parents[2] / "reports" / "css" / "tokens.css"
_VARIABLE = re.compile(r"var\(--([a-z0-9-]+)\)")
_ROLES = re.compile(r' (?:class|role|aria-[a-z]+|pointer-events|version|xmlns(?::xlink)?)="[^"]*"')


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart on a page: its SVG, trusted as it stands, and what it shows in one sentence."""

    svg: Any
    label: str


def begin() -> None:
    """Have the drawing libraries begin meanwhile: their first drawing takes most of a second."""
    Thread(target=_draw_nothing).start()


def _draw_nothing() -> None:
    import altair as alt

    _svg(alt.Chart().mark_point())


def class_colours(classes: Sequence[str]) -> list[str]:
    """The colour of every class, the same as on every page."""
    return [f"var(--{swatch})" for swatch in swatches(classes)]


def drawing(chart: AnyChart, label: str) -> Drawing:
    """Draw a chart. `label` is read aloud in its place: say what it shows, not how it looks."""
    from markupsafe import Markup

    made = _svg(chart)
    inner = _ROLES.sub("", made).removeprefix("<svg")
    label = plain(label)
    told = f'<svg role="img" aria-label="{escape(label)}"{inner}'
    return Drawing(Markup(told), label)  # noqa: S704 - made and escaped by the drawing library


def haloed(
    base: alt.Chart, y: alt.Y, align: Literal["left", "right"], dx: int, dy: int = 0
) -> tuple[alt.Chart, ...]:
    """The field `label` as text in a halo of paper, so that no line crosses its letters."""
    return tuple(
        base.mark_text(align=align, dx=dx, dy=dy, fontSize=LABEL, **ink).encode(y=y, text="label:N")
        for ink in ({"stroke": PAPER, "strokeWidth": HALO, "color": PAPER}, {"color": INK})
    )


def standalone(chart: AnyChart) -> str:
    """A chart as an SVG file of its own, in the colours of the light theme.

    Its plot keeps the width asked for; the drawing grows by what its labels need.
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
    """What the style sheet's variables are in the light theme: the first that it gives."""
    text = TOKENS.read_text(encoding="utf-8")
    return dict(reversed(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+);", text)))


@cache
def _config() -> dict[str, Any]:
    """Thin rules, soft words, no boxes: as the tables of the page."""
    words = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": SOFT, "titleColor": SOFT}
    return {
        "background": "transparent",
        "font": "Liberation Sans, Helvetica, Arial, sans-serif",
        "padding": PAD,
        "autosize": {"type": "fit", "contains": "padding"},
        "view": {"stroke": None},
        "axis": {
            **words,
            "titleFontWeight": "normal",
            "gridColor": "var(--grid)",
            "domainColor": RULE,
            "tickColor": RULE,
            "labelLimit": 140,
        },
        "legend": {**words, "titleFontWeight": "normal", "orient": "top"},
        "header": {**words, "titleFontWeight": "normal"},
        "title": {"color": INK, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "text": {"color": SOFT, "fontSize": 12},
        "mark": {"color": ACCENT},
    }
