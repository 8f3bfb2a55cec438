"""Exceptions of the bench, and texts for their messages.

    BenchError               the user can fix it: one clear line, exit code 2
    ├── DataError            a data folder, its metadata, its images
    ├── ProtocolError        a protocol file
    │   └── RolesError       a roles file is invalid, or does not belong to the data
    ├── MethodError          a method, its recipe, its weights
    ├── PredictionError      predictions with a wrong shape, wrong ids or wrong values
    └── ResultsError         a results folder or a record in it

Every other exception is a fault of the bench itself and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

OFFENDERS_SHOWN = 20


class BenchError(Exception):
    """A mistake of the user: the message says what is wrong, where, and how to fix it."""


class DataError(BenchError):
    """A data folder, its metadata or its images cannot be used."""


class ProtocolError(BenchError):
    """A protocol file cannot be used."""


class RolesError(ProtocolError):
    """A roles file is invalid, or belongs to other data."""


class MethodError(BenchError):
    """A method, its recipe or its weights cannot be used."""


class PredictionError(BenchError):
    """Predictions have a wrong shape, wrong ids or wrong values."""


class ResultsError(BenchError):
    """A results folder cannot be written, or has unexpected content."""


def listing(offenders: Sequence[object], limit: int = OFFENDERS_SHOWN) -> str:
    """The first `limit` offenders and the number of the rest: `a, b, c and 17 more`."""
    shown = ", ".join(str(offender) for offender in offenders[:limit])
    rest = len(offenders) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X or Y?` with the known names that are similar to `name`; "" without any."""
    similar = difflib.get_close_matches(name, list(known))
    return f"; did you mean {' or '.join(similar)}?" if similar else ""
