"""What the leakage meter found on the same data, as other protocols' pages tell it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.estimates import Estimate, IntervalFacts
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.names import Name, name, plain
from bench.report.numbers import decimals, interval, signed

ABOUT = (
    "Trained twice on as many images: once with a second picture of every tested group, once "
    "without. The difference is what leakage adds for such images; how it varies with the training "
    "is told over seeds."
)


@dataclass(frozen=True, slots=True)
class LeakLine:
    """A row of the meter: its estimate in each arm, and the paired difference to the first with
    its interval over seeds.
    """

    name: Name
    values: tuple[Cell, ...]
    differences: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """The meter's finding, and the address of its page."""

    href: str
    about: str
    metric: str
    arms: tuple[str, ...]
    lines: tuple[LeakLine, ...]


def leak(href: str, found: Mapping[str, Any]) -> Leak | None:
    """The finding in the leaderboard.json of a leakage meter; None where no row has both arms."""
    arms, key = found["arms"], found["primary"]
    level = found["interval"]
    facts = IntervalFacts(level["level"], level["resamples"], level["unit"], level["method"])
    names = [arm["name"] for arm in arms["arms"]]
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in arms["rows"]:
        rows.setdefault(row["name"], {})[row["arm"]] = row
    lines = tuple(
        LeakLine(
            name(row),
            tuple(
                cell(_estimate(by_arm[arm]["metrics"][key]), metric(key), facts) for arm in names
            ),
            tuple(
                (
                    _difference(_estimate(by_arm[arm]["difference"]["metrics"][key])),
                    _over_seeds(by_arm[arm].get("over_seeds", {}).get(key)),
                )
                for arm in names[1:]
            ),
        )
        for row, by_arm in rows.items()
        if by_arm.keys() == set(names)
    )
    return Leak(href, ABOUT, metric(key).label, tuple(map(plain, names)), lines) if lines else None


def _estimate(found: Mapping[str, Any]) -> Estimate:
    value, low, high = (
        math.nan if found[end] is None else float(found[end]) for end in ("value", "low", "high")
    )
    return Estimate(value, low, high, found["n"], found["method"], tuple(found["marks"]))


def _over_seeds(found: Mapping[str, Any] | None) -> str:
    """`over seeds [-0.030, 0.095]`; nothing where one seed was trained."""
    one = _estimate(found) if found else Estimate(math.nan)
    places = decimals(one.low, one.high, one.n)
    ends = interval(one.low, one.high, places)
    return f"over seeds {ends}" if ends else ""


def _difference(one: Estimate) -> str:
    places = decimals(one.low, one.high, one.n)
    return f"{signed(one.value, places)} {interval(one.low, one.high, places)}".strip()
