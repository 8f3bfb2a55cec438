"""What the leakage meter found on the same data, as other protocols' pages tell it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.estimates import Estimate, IntervalFacts
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.names import Name, name, plain
from bench.report.numbers import decimals, interval, signed

Count = Annotated[int, Field(ge=0, le=2**53)]
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


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _Estimate(_Told):
    value: float | None
    low: float | None
    high: float | None
    n: Count
    method: str
    marks: tuple[str, ...]

    def estimate(self) -> Estimate:
        """With NaN for what is not defined."""
        value, low, high = (
            math.nan if end is None else end for end in (self.value, self.low, self.high)
        )
        return Estimate(value, low, high, self.n, self.method, self.marks)


class _Table(_Told):
    metrics: dict[str, _Estimate]


class _Row(_Table):
    name: str
    arm: str
    difference: _Table | None
    over_seeds: dict[str, _Estimate] = {}


class _Arm(_Told):
    name: str


class _Arms(_Told):
    arms: Annotated[tuple[_Arm, ...], Field(min_length=1)]
    rows: tuple[_Row, ...]


class _Interval(_Told):
    level: Annotated[float, Field(gt=0, lt=1)]
    resamples: Count
    unit: str
    method: str


class _Meter(_Told):
    """What of a meter's leaderboard.json is told elsewhere."""

    primary: str
    interval: _Interval
    arms: _Arms

    @model_validator(mode="after")
    def _tell_of_the_primary_metric(self) -> Self:
        first = self.arms.arms[0].name
        for row in self.arms.rows:
            tables = [row, *([] if row.arm == first else [row.difference])]
            if any(table is None or self.primary not in table.metrics for table in tables):
                raise ValueError(f"{row.name} in {row.arm} has no {self.primary}")
        return self


def leak(href: str, found: str) -> Leak | None:
    """The finding in the leaderboard.json of a leakage meter; None where no row has both arms, or
    where it is no such file.
    """
    try:
        told = _Meter.model_validate_json(found)
    except ValidationError:
        return None
    key, level = told.primary, told.interval
    facts = IntervalFacts(level.level, level.resamples, level.unit, level.method)
    names = [arm.name for arm in told.arms.arms]
    rows: dict[str, dict[str, _Row]] = {}
    for row in told.arms.rows:
        rows.setdefault(row.name, {})[row.arm] = row
    lines = tuple(
        LeakLine(
            name(row),
            tuple(cell(by_arm[arm].metrics[key].estimate(), metric(key), facts) for arm in names),
            tuple(_against_first(by_arm[arm], key) for arm in names[1:]),
        )
        for row, by_arm in rows.items()
        if by_arm.keys() == set(names)
    )
    return Leak(href, ABOUT, metric(key).label, tuple(map(plain, names)), lines) if lines else None


def _against_first(row: _Row, key: str) -> tuple[str, str]:
    """The difference to the first arm with its interval, and how it varies over seeds."""
    difference = row.difference.metrics[key].estimate() if row.difference else Estimate(math.nan)
    return _difference(difference), _over_seeds(row.over_seeds.get(key))


def _over_seeds(found: _Estimate | None) -> str:
    """`over seeds [-0.030, 0.095]`; nothing where one seed was trained."""
    one = found.estimate() if found else Estimate(math.nan)
    places = decimals(one.low, one.high, one.n)
    ends = interval(one.low, one.high, places)
    return f"over seeds {ends}" if ends else ""


def _difference(one: Estimate) -> str:
    places = decimals(one.low, one.high, one.n)
    return f"{signed(one.value, places)} {interval(one.low, one.high, places)}".strip()
