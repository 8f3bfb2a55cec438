"""What weights have seen before: declared by whoever brings them, and what follows for the rank."""

from __future__ import annotations

UNDECLARED = "undeclared"
OVERLAPPING = (
    *("ham10000", "ham10k", "hmnist", "dermamnist", "medmnist"),
    *("isic", "bcn20000", "bcn20k", "msk"),
)
"""What in a declaration, its letters and digits alone, means that test images may have been seen:
HAM10000 in all its forms, DermaMNIST's among them, and collections that it went into or shares
images with."""


def fault_of_pretraining(declared: str) -> str:
    """Why a row whose weights were made from this data takes no part in the ranking, "" if it does.

    "none" declares a training from scratch.
    """
    said = declared.strip().lower()
    if said in {"", UNDECLARED}:
        return "its pretraining data is not declared"
    letters = "".join(character for character in said if character.isalnum())
    if any(word in letters for word in OVERLAPPING):
        return f"its pretraining data ({said}) overlaps the test images"
    return ""
