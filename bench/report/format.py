"""Format numbers and names for pages.

Jinja escapes HTML (autoescape). This module handles what escaping lets through: control
characters, direction overrides, right-to-left text in a sentence, very long names.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from bench.leaderboard import text
from bench.leaderboard.text import (
    MINUS,
    SHORT,
    UNDEFINED,
    count,
    counted,
    decimals,
    fixed,
    interval,
    isolated,
    listed,
    p_value,
    plain,
    shortened,
    signed,
)

__all__ = [
    "MINUS",
    "SHORT",
    "UNDEFINED",
    "Name",
    "Span",
    "brief",
    "count",
    "counted",
    "decimals",
    "duration",
    "fixed",
    "interval",
    "isolated",
    "listed",
    "name",
    "p_value",
    "percent",
    "pieces",
    "plain",
    "probability",
    "shortened",
    "signed",
    "size",
    "spans",
]
said = text.said
BYTES = ("bytes", "KiB", "MiB", "GiB", "TiB")


def probability(p: float) -> str:
    """A probability with two decimals; what rounds to 0 or 1 and is not says so: `<0.01`."""
    if 0 < p < 0.005:  # noqa: PLR2004
        return "<0.01"
    if 0.995 <= p < 1:  # noqa: PLR2004
        return ">0.99"
    return fixed(p, 2)


def percent(share: float) -> str:
    """A share as whole percents, `23%`; what rounds to none or all of it says so."""
    if math.isnan(share):
        return UNDEFINED
    if 0 < share < 0.005:  # noqa: PLR2004
        return "<1%"
    if 0.995 <= share < 1:  # noqa: PLR2004
        return ">99%"
    return f"{share * 100:.0f}%"


def duration(seconds: float) -> str:
    """`48 s`, `12 min 30 s`, `6 h 05 min`."""
    if math.isnan(seconds):
        return UNDEFINED
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours:,} h {minutes:02d} min"


def size(number: float) -> str:
    """A number of bytes: `1.90 GiB`."""
    if math.isnan(number):
        return UNDEFINED
    step = 0
    while abs(number) >= 1024 and step < len(BYTES) - 1:  # noqa: PLR2004
        number, step = number / 1024, step + 1
    return f"{number:.0f} {BYTES[step]}" if step == 0 else f"{_three(number)} {BYTES[step]}"


def _three(number: float) -> str:
    """Three significant digits, zeros among them: `4.00`, `42.8`, `120`."""
    return f"{number:#.3g}".rstrip(".") if abs(number) < 1000 else f"{number:.0f}"  # noqa: PLR2004


def brief(number: float) -> str:
    """Three significant digits: `11.7 million`, `23,500`, `0.0123`."""
    if math.isnan(number):
        return UNDEFINED
    if abs(number) >= 1e6:  # noqa: PLR2004
        return f"{number / 1e6:,.3g} million"
    if abs(number) >= 1000:  # noqa: PLR2004
        return f"{float(f'{number:.3g}'):,.0f}"
    return f"{number:.3g}"


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


def name(text: str, limit: int = SHORT) -> Name:
    """A name for a page."""
    full = plain(text)
    return Name(full, shortened(full, limit))


def spans(text: str) -> tuple[Span, ...]:
    """A text with its https addresses and DOIs as links; no other scheme becomes one."""
    pieces = _URL.split(plain(text))
    return tuple(
        Span(piece, piece.replace("doi:", "https://doi.org/", 1) if odd else "")
        for odd, piece in ((index % 2, piece) for index, piece in enumerate(pieces))
        if piece
    )
