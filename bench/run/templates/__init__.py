"""Templates of `method new`, one per kind of method.

A template is a method file with the placeholder `NAME`; the tests run each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import MethodError
from bench.run.registry import RESERVED, refuse_name

TEMPLATES = Path(__file__).parent


def starting_file(name: str, kind: str, taken: Sequence[str] = ()) -> str:
    """The text of a new method file. Raises MethodError for an invalid or taken name."""
    refuse_name(name, RESERVED | set(taken), "method new")
    if not name.isidentifier():
        raise MethodError(f"method new: {name!r}: use letters, digits and '_'; start with a letter")
    return (TEMPLATES / f"{kind}.py.txt").read_text(encoding="utf-8").replace("NAME", name)
