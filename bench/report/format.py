"""Format numbers and names for pages.

A page shows as many decimals as give its interval two significant digits of width. Where there is
no interval, the width that a proportion of n images would have stands in for it.

Escaping for HTML is the template's (autoescape); what is dealt with here is what escaping lets
through: control characters, direction overrides, right-to-left text in a sentence, great length.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
UNDEFINED = "n/a"
MOST_DECIMALS = 3
BYTES = ("bytes", "KiB", "MiB", "GiB", "TiB")


def decimals(low: float, high: float, n: int = 0) -> int:
    """Decimals that an interval supports; with no interval, those that n images support."""
    width = high - low
    if not math.isfinite(width) or width <= 0:
        width = 2 / math.sqrt(n) if n > 0 else 0.05
    return min(MOST_DECIMALS, max(1, math.ceil(-math.log10(width)) + 1))


def fixed(value: float, places: int) -> str:
    """A number with so many decimals, a true minus sign, and no negative zero."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:,.{places}f}"
    if text.startswith("-"):
        return text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]
    return text


def signed(value: float, places: int) -> str:
    """A difference: always with its sign, unless it rounds to zero."""
    text = fixed(value, places)
    return f"+{text}" if value > 0 and math.isfinite(value) and text.strip("0.") else text


def interval(low: float, high: float, places: int) -> str:
    """`[0.725, 0.754]`, or nothing where there is no interval."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{fixed(low, places)}, {fixed(high, places)}]"


def count(value: float) -> str:
    """A whole number with thousands apart: `10,015`."""
    return UNDEFINED if math.isnan(value) else fixed(round(value), 0)


def counted(value: float, singular: str, plural: str = "") -> str:
    """`1 fold`, `10,015 images`."""
    return f"{count(value)} {singular if value == 1 else plural or singular + 's'}"


def p_value(p: float) -> str:
    """`p = 0.031`, `p < 0.001`, or nothing where no test was made."""
    if math.isnan(p):
        return ""
    if p < 0.001:  # noqa: PLR2004 - below it a p value is not worth its digits
        return "p < 0.001"
    if p > 0.99:  # noqa: PLR2004
        return "p > 0.99"
    return f"p = {p:#.2g}" if p < 0.1 else f"p = {p:.2f}"  # noqa: PLR2004


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
