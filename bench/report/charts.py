"""Where things lie on a drawn scale, as percentages of its width.

Templates draw with these; a drawing has no size of its own, so that it fits its cell on a phone as
on a wall, with text that keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.estimates import Estimate
from bench.report.numbers import fixed

MARGIN = 0.04
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """An estimate on a scale: its point, and the ends of its interval ("" where it has none).

    off  "left" or "right" where the point lies beyond the scale, and only a sign of it is drawn
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
        """Where a value lies, as a share of the width, never outside it."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def at(self, value: float) -> str:
        """The same as `37.2%`; "" for a value that is undefined or beyond the scale."""
        known = not math.isnan(value) and not self.beyond(value)
        return f"{self.share(value) * 100:.1f}%" if known else ""

    def beyond(self, value: float) -> str:
        """The side on which a value lies beyond the scale, "" for one that does not."""
        slack = 1e-9 * (self.high - self.low)
        return "right" if value > self.high + slack else "left" if value < self.low - slack else ""

    def bar(self, estimate: Estimate) -> Bar | None:
        """The drawing of an estimate; nothing where it is undefined."""
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
