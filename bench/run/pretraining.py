"""What weights have seen before: declared by whoever brings them, and what follows for the rank."""

from __future__ import annotations

UNDECLARED = "undeclared"
OVERLAPPING = ("ham10000", "isic", "bcn20000", "msk")
"""Words in a declaration that mean that test images may have been seen."""


def fault_of_pretraining(declared: str) -> str:
    """Why a row whose weights were made from this data takes no part in the ranking, "" if it does.

    "none" declares a training from scratch.
    """
    said = declared.strip().lower()
    if said in {"", UNDECLARED}:
        return "its pretraining data is not declared"
    if any(word in said for word in OVERLAPPING):
        return f"its pretraining data ({said}) overlaps the test images"
    return ""
