"""Exceptions of the bench.

BenchError               the user can mend it: one clear line, exit 2
    ├── DataError            a data folder, its metadata, its images
    ├── ProtocolError        a protocol file
    │   └── RolesError       a roles file, or one that does not belong to the data
    ├── MethodError          a method, its recipe, its weights
    ├── PredictionError      predictions that are none: shape, ids, probabilities
    └── ResultsError         a results folder or a record in it

Anything else that is raised is a fault of the bench itself and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

OFFENDERS_SHOWN = 20


class BenchError(Exception):
    """The user's mistake: says what is wrong, where, and how to mend it."""


class DataError(BenchError):
    """A data folder, its metadata or its images cannot be used as they stand."""


class ProtocolError(BenchError):
    """A protocol file cannot be used as it stands."""


class RolesError(ProtocolError):
    """A roles file is unsound, or belongs to other data."""


class MethodError(BenchError):
    """A method, its recipe or its weights cannot be used as they stand."""


class PredictionError(BenchError):
    """Predictions have the wrong shape, ids or values."""


class ResultsError(BenchError):
    """A results folder cannot be written, or holds what it should not."""


def listing(offenders: Sequence[object], limit: int = OFFENDERS_SHOWN) -> str:
    """Name the first `limit` offenders and count the rest: `a, b, c and 17 more`."""
    shown = ", ".join(str(offender) for offender in offenders[:limit])
    rest = len(offenders) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown
