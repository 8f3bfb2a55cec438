"""Estimates of metrics, and the JSON form that every result shares.

An undefined number is NaN here and null in JSON, never 0 and never 1. pydantic builds the JSON
schema from the dataclasses, so the field types below hold the limits of what is read back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)

from bench.errors import ResultsError
from bench.leaderboard.text import (
    UNDEFINED,
    count,
    decimals,
    fixed,
    interval,
    metric,
    signed,
)

if TYPE_CHECKING:
    import pandas as pd

NAN = float("nan")
REASONS = ("undefined: ", "no val predictions")
"""Marks that begin so say why a value is undefined."""
COLUMNS = ("value", "low", "high", "n", "method")
LARGEST = 2**53
T = TypeVar("T")


def number(value: Any) -> float | int | None:
    """A number as strict JSON has it: undefined and infinite ones are null, bools stay."""
    if value is None or isinstance(value, bool):
        return value
    value = value.item() if isinstance(value, np.generic) else value
    return value if math.isfinite(value) else None


def plain_data(value: Any) -> Any:
    """Any value as JSON data; a value without a JSON type becomes text."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list | tuple | set):
        return [plain_data(inner) for inner in value]
    if isinstance(value, Mapping):
        return {str(key): plain_data(inner) for key, inner in value.items()}
    return plain_data(value.tolist()) if hasattr(value, "tolist") else str(value)


def _read_number(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError("the number is too large")
    return NAN if value is None else value


Number = Annotated[
    int | float,
    BeforeValidator(_read_number),
    PlainSerializer(number),
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), PlainSerializer(number)]
Count = Annotated[int, Field(ge=0, le=LARGEST), PlainSerializer(int)]
Flag = Annotated[bool, PlainSerializer(bool)]
Plain = Annotated[Any, PlainSerializer(plain_data)]
Matrix = Annotated[np.ndarray, PlainValidator(np.asarray), PlainSerializer(plain_data)]


def _tested(value: Any) -> Any:
    return (value.get("images"), value.get("groups")) if isinstance(value, dict) else value


Tested = Annotated[
    tuple[Count, Count] | None,
    BeforeValidator(_tested),
    PlainSerializer(
        lambda pair: pair and {"images": int(pair[0]), "groups": int(pair[1])},
    ),
]
"""Counts of tested images and groups; an object with these two keys in JSON."""


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The JSON schema of a class, built when it is first used."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_data(result: Any) -> Any:
    """A result as JSON data."""
    return _adapter(type(result)).dump_python(result, mode="json", by_alias=True)


def from_json(kind: type[T], text: str) -> T:
    """Read a result back. Raises ResultsError that names the first wrong field."""
    try:
        result: T = _adapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole text"
        message = f"this is not the JSON of a {kind.__name__}: {place}: {first['msg']}"
        raise ResultsError(message) from None
    return result


def json_text(data: Any) -> str:
    """JSON data as the text of a file."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True, repr=False)
class Estimate:
    """A value with its confidence interval.

    n      images in the metric's denominator
    method "bca", "percentile", "bias-corrected", "clopper-pearson" or "" for no interval
    marks  remarks to show beside the value ("few lesions", "biased", "2 of 5 folds")
    """

    value: Number
    low: Number = NAN
    high: Number = NAN
    n: Count = 0
    method: str = ""
    marks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """`Estimate(0.742 [0.725, 0.754], n=10,015, bca)`."""
        method = f", {self.method}" if self.method else ""
        return f"Estimate({self.text()}, n={count(self.n)}{method})"

    def text(self, name: str = "") -> str:
        """`0.742 [0.725, 0.754]`, or `n/a (0 positives)`. name: of the metric."""
        if math.isnan(self.value):
            return f"{UNDEFINED} ({self.reason(name)})"
        if metric(name).counts:
            return count(self.value)
        places = self.decimals
        return f"{fixed(self.value, places)} {interval(self.low, self.high, places)}".strip()

    def signed_text(self, name: str = "") -> str:
        """The same of a difference, with its sign: `+0.031 [0.012, 0.049]`."""
        if math.isnan(self.value):
            return self.text(name)
        places = self.decimals
        return f"{signed(self.value, places)} {interval(self.low, self.high, places)}".strip()

    @property
    def decimals(self) -> int:
        """Decimals that its interval supports."""
        return decimals(self.low, self.high, self.n)

    def reason(self, name: str = "") -> str:
        """Why a value is undefined, in a few words, with its n. name: of the metric."""
        reasons = [mark for mark in self.marks if mark.startswith(REASONS)]
        if not reasons and self.n == 0:
            return metric(name).none
        known = reasons or ([metric(name).why] if metric(name).why else [])
        return ", ".join([*known, f"n = {count(self.n)}"])

    def to_frame(self) -> pd.DataFrame:
        """One line with the columns value, low, high, n and method."""
        return frame([()], [self], ())

    def _repr_html_(self) -> str:
        return frame_html(self.to_frame())


@dataclass(frozen=True, slots=True, repr=False)
class MetricTable:
    """All estimates of one row: by metric, and by class and metric."""

    metrics: Mapping[str, Estimate]
    per_class: Mapping[str, Mapping[str, Estimate]]

    def __repr__(self) -> str:
        """Its size."""
        return f"MetricTable({len(self.metrics)} metrics, {len(self.per_class)} classes)"

    def items(self) -> Iterator[tuple[str, str, Estimate]]:
        """Class ("" for all classes), metric and estimate."""
        yield from (("", key, estimate) for key, estimate in self.metrics.items())
        for label, estimates in self.per_class.items():
            yield from ((label, key, estimate) for key, estimate in estimates.items())

    def to_frame(self) -> pd.DataFrame:
        """A line per class ("" for all classes) and metric: value, low, high, n, method."""
        lines = list(self.items())
        return frame([line[:2] for line in lines], [line[2] for line in lines], ("class", "metric"))

    def _repr_html_(self) -> str:
        return frame_html(self.to_frame())


def frame(
    keys: list[tuple[Any, ...]], estimates: list[Estimate], names: tuple[str, ...]
) -> pd.DataFrame:
    """Estimates as a table: the key columns `names`, then value, low, high, n and method."""
    import pandas as pd

    lines = [
        (*key, *(getattr(estimate, column) for column in COLUMNS))
        for key, estimate in zip(keys, estimates, strict=True)
    ]
    return pd.DataFrame(lines, columns=[*names, *COLUMNS])


def frame_html(table: pd.DataFrame, verdict: str = "") -> str:
    """A small HTML table for notebooks, below its verdict; every text is escaped."""
    from html import escape

    lead = f"<p>{escape(verdict)}</p>\n" if verdict else ""
    return lead + str(table.to_html(index=False, float_format="{:.3f}".format, na_rep="n/a"))
