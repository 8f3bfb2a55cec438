"""Words that strangers chose, such as names, file names and lines of a log: where they may go."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a cell begins that a spreadsheet takes for a formula."""


def text_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that looks like it gets an apostrophe."""
    looks = text.startswith(FORMULA) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if looks else text


def class_fault(name: str) -> str:
    """Why a word cannot be a class's name, which heads columns and names pictures; or ""."""
    if not name.strip():
        return "is empty"
    if name in {".", ".."} or "/" in name or "\\" in name:
        return "is a path"
    if not name.isprintable():
        return "has a control character"
    return "is what a spreadsheet takes for a formula" if text_cell(name) != name else ""


def printable(text: str) -> str:
    """A text for a terminal, on as many lines: what would steer it is shown as a U+FFFD."""
    return "".join(mark if mark.isprintable() or mark == "\n" else "\ufffd" for mark in text)
