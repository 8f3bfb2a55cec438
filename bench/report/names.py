"""Names that other people chose, made harmless to read: methods, classes, datasets, commands.

Escaping for HTML is the template's (autoescape); what is dealt with here is what escaping lets
through: control characters, direction overrides, right-to-left text in a sentence, great length.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

SHORT = 48
_DIRECTION = {
    "\u061c",
    "\u200e",
    "\u200f",
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
}
_RIGHT_TO_LEFT = {"R", "AL"}
_PIECE = re.compile(r"[^_\-@/.]*[_\-@/.]+|[^_\-@/.]+")
_URL = re.compile(r"(https://[^\s<>\"'()]+[^\s<>\"'().,;]|doi:10\.[^\s<>\"'()]+[^\s<>\"'().,;])")


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it is, and as it fits into a table cell."""

    full: str
    short: str

    @property
    def pieces(self) -> tuple[str, ...]:
        """The short name cut where a line may break."""
        return pieces(self.short)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text; `url` is set where it is a web address to follow."""

    text: str
    url: str = ""


def pieces(text: str) -> tuple[str, ...]:
    """A text cut where a line may break: after `_`, `-`, `@`, `/` and `.`."""
    return tuple(_PIECE.findall(text))


def plain(text: str, *, lines: bool = False) -> str:
    """The text with control and direction characters spelled out; line ends stay if `lines`."""
    kept = {"\n", "\t"} if lines else set()
    return "".join(_visible(char) if char not in kept else char for char in text)


def _visible(char: str) -> str:
    hidden = char in _DIRECTION or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}
    return f"\\u{ord(char):04x}" if hidden else char


def isolated(text: str) -> str:
    """The text for use inside a sentence, whose order right-to-left letters would turn around."""
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
    return text


def shortened(text: str, limit: int = SHORT) -> str:
    """The text cut to so many characters, with an ellipsis where it was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def name(text: str, limit: int = SHORT) -> Name:
    """A name for a page."""
    full = plain(text)
    return Name(full, shortened(full, limit))


def said(text: str) -> str:
    """A name for use in a sentence."""
    return isolated(name(text).short)


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def spans(text: str) -> tuple[Span, ...]:
    """A text with its https addresses and DOIs as links; no other scheme becomes one."""
    pieces = _URL.split(plain(text))
    return tuple(
        Span(piece, piece.replace("doi:", "https://doi.org/", 1) if odd else "")
        for odd, piece in ((index % 2, piece) for index, piece in enumerate(pieces))
        if piece
    )
