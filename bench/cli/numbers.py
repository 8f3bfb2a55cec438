"""What numbers options take."""

from __future__ import annotations

from math import isfinite
from typing import Any

import click


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers separated by commas: 0,2."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            numbers = tuple(dict.fromkeys(int(number) for number in str(value).split(",")))
        except ValueError:
            numbers = (-1,)
        if min(numbers) < 0:
            self.fail(f"{value!r} is not a list of whole numbers from 0 such as 0,2", param, ctx)
        return numbers


class FiniteRange(click.FloatRange):
    """A number in a range; nan, which no range keeps out, and infinity are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number
