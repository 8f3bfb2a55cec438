"""What can be wrong with a dataset: kinds of faults, and who hears of them.

A reader reports every fault that it meets. Whoever wants the data hears through `refuse`, which
raises at the first fault that forbids its use; the audit hears through a list, and all go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import DataError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    title    what is wrong, for a heading
    grave    whether it must not be ignored: the data is refused, and an audit fails
    meaning  what follows from it, and how to mend it
    """

    title: str
    grave: bool
    meaning: str


KINDS: dict[str, Kind] = {
    "encoding": Kind(
        "Metadata that is not UTF-8",
        True,
        "Letters may be read as others. Save the file as UTF-8.",
    ),
    "nul": Kind(
        "NUL bytes in the metadata",
        True,
        "Some programs stop reading there. Fetch the file again, or save it anew.",
    ),
    "quoting": Kind(
        "Metadata that breaks off",
        True,
        "A quotation mark is not closed; what follows it was not read. Close it.",
    ),
    "width": Kind(
        "Rows of another width than the header",
        True,
        "Their cells may stand under the wrong headings (pandas shifts them without a word), so "
        "these rows were not read. Mend them, or fetch the file again.",
    ),
    "copies": Kind(
        "Metadata files that contradict each other", True, "Keep the one that is right."
    ),
    "no id": Kind("Rows without an image id", True, "Nothing can be joined to them."),
    "no label": Kind(
        "Images without a diagnosis",
        True,
        "They can be neither learnt nor scored. Take their rows out of the metadata.",
    ),
    "label": Kind("Unknown diagnoses", True, "No class stands for them. Correct or remove them."),
    "age": Kind(
        "Impossible ages",
        True,
        "Give years from 0 to 120, or nothing.",
    ),
    "no row": Kind(
        "Images with a label that the metadata lacks",
        False,
        "Their age, sex, site and group are unknown.",
    ),
    "extra row": Kind(
        "Rows of metadata without a label",
        False,
        "They were left out: the ground truth does not name these images.",
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its kind (a key of KINDS), where it is, and what is there."""

    kind: str
    where: str
    what: str

    @property
    def grave(self) -> bool:
        """Whether it must not be ignored."""
        return KINDS[self.kind].grave


Report = Callable[[Fault], None]
"""Hears of every fault."""


def refuse(fault: Fault) -> None:
    """Raise DataError at a grave fault; let the others pass."""
    if fault.grave:
        raise DataError(f"{fault.where}: {fault.what}")
