"""Starting files: what `method new` writes, one template a kind of method.

The templates are method files as they stand, with `NAME` where the name goes; the tests run them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import MethodError
from bench.run.registry import RESERVED, refuse_name

TEMPLATES = Path(__file__).parent


def starting_file(name: str, kind: str, taken: Sequence[str] = ()) -> str:
    """The text of a starting file. Raises MethodError for a name that no method can have."""
    refuse_name(name, RESERVED | set(taken), "method new")
    if not name.isidentifier():
        raise MethodError(f"method new: {name!r}: begin with a letter, use letters, digits and '_'")
    return (TEMPLATES / f"{kind}.py.txt").read_text(encoding="utf-8").replace("NAME", name)
