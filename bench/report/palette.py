"""The colours of classes: the same class has the same colour on every page.

Eight colours after Okabe & Ito (2008), told apart with every common colour blindness; their
values stand in the style sheet. A colour never stands alone: the name is always beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

SLOTS = 8
KNOWN = {"akiec": 0, "ak": 0, "bcc": 1, "bkl": 2, "df": 3, "mel": 4, "nv": 5, "vasc": 6, "scc": 7}


def swatches(classes: Sequence[str]) -> tuple[str, ...]:
    """The style-sheet class (`k0` to `k7`) of every class; unknown ones take what is left."""
    fixed = [KNOWN.get(label.lower()) for label in classes]
    free = [slot for slot in range(SLOTS) if slot not in fixed] or list(range(SLOTS))
    taken = iter(range(len(classes)))
    return tuple(f"k{free[next(taken) % len(free)] if slot is None else slot}" for slot in fixed)
