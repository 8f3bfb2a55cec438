"""One estimate as a cell of a table: its words, its place in the order, its drawing."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.estimates import Estimate, IntervalFacts
from bench.report.catalogue import Metric
from bench.report.charts import Bar, Scale
from bench.report.names import plain
from bench.report.numbers import UNDEFINED, count, decimals, fixed, interval

WHY = ("undefined: ", "no val predictions")
"""How the marks begin that say why there is no value."""

METHODS = {
    "bca": "BCa",
    "percentile": "percentile",
    "clopper-pearson": "Clopper–Pearson",
    "max-t": "simultaneous",
    "": "no interval",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as templates draw it.

    order  the number to sort by, "" where there is none (sorts last)
    value, interval  `0.742` and `[0.725, 0.754]`, or `n/a` and ""
    note   why it is undefined: `0 positives`
    marks  words that stand beside it
    title  its n and the interval's method
    """

    order: str
    value: str
    interval: str
    note: str
    marks: tuple[str, ...]
    title: str
    bar: Bar | None = None

    @property
    def text(self) -> str:
        """`0.742 [0.725, 0.754]` or `n/a (0 positives)`."""
        if self.note:
            return f"{self.value} ({self.note})"
        return f"{self.value} {self.interval}".strip()


def method_name(method: str) -> str:
    """How an interval's method is written."""
    return METHODS.get(method, method)


def reason(estimate: Estimate, metric: Metric) -> str:
    """Why a value is undefined, in a few words, with its n."""
    said = [mark for mark in estimate.marks if mark.startswith(WHY)]
    if not said and estimate.n == 0:
        return metric.none
    known = said or ([metric.why] if metric.why else [])
    return ", ".join([*known, f"n = {count(estimate.n)}"])


def beside(estimate: Estimate) -> tuple[str, ...]:
    """The marks that stand beside a number; what a row lacks is said in full at its name."""
    short = ("incomplete" if mark.startswith("incomplete") else mark for mark in estimate.marks)
    return tuple(plain(mark) for mark in short if not mark.startswith(WHY))


def cell(
    estimate: Estimate | None, metric: Metric, facts: IntervalFacts, scale: Scale | None = None
) -> Cell:
    """The cell of an estimate; of none at all, a cell that says so."""
    if estimate is None:
        return Cell("", UNDEFINED, "", "not worked out", (), f"{metric.label}: not worked out")
    if math.isnan(estimate.value):
        why = reason(estimate, metric)
        title = f"{metric.label}: undefined ({why})"
        return Cell("", UNDEFINED, "", why, beside(estimate), title)
    order = f"{estimate.value:.7g}"
    if metric.counts:
        written = count(estimate.value)
        return Cell(order, written, "", "", beside(estimate), f"{written} {metric.label}")
    places = decimals(estimate.low, estimate.high, estimate.n)
    value = fixed(estimate.value, places)
    ends = interval(estimate.low, estimate.high, places)
    how = method_name(estimate.method if ends else "")
    level = f"{facts.level * 100:g}% {how} interval" if ends else how
    title = f"{level}, n = {count(estimate.n)}"
    marks = _marks(estimate, facts, has_interval=bool(ends))
    return Cell(order, value, ends, "", marks, title, scale.bar(estimate) if scale else None)


def _marks(estimate: Estimate, facts: IntervalFacts, *, has_interval: bool) -> tuple[str, ...]:
    if not has_interval:
        return ("no interval", *beside(estimate))
    usual = estimate.method in ("", facts.method)
    return beside(estimate) if usual else (method_name(estimate.method), *beside(estimate))
