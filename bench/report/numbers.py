"""How numbers are written on every page: 0.742 [0.725, 0.754], never more digits than it supports.

A page shows as many decimals as give its interval two significant digits of width. Where there is
no interval, the width that a proportion of n images would have stands in for it.
"""

from __future__ import annotations

import math

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
