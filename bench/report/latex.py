"""Text as LaTeX: every character that means something there is escaped, whatever a name holds.

pdfLaTeX's T1 fonts set Latin letters. Others (Hebrew, Greek, signs) are spelled by their code, so
that a document always compiles; the ones that this project itself writes become commands.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.report.html import REPORTS
from bench.report.names import plain

if TYPE_CHECKING:
    from jinja2 import Environment

COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_\allowbreak{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": "'",
    "`": r"\textasciigrave{}",
    "*": "{*}",
    "[": "{[}",
    "]": "{]}",
    "@": r"@\allowbreak{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREEK SMALL LETTER KAPPA}": r"$\kappa$",
    "\N{INFINITY}": r"$\infty$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
}
"""`[` and `*` too: behind a line's end LaTeX would take them for its options."""
LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]")


class Tex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


def escape(text: object) -> Tex:
    """Any text as LaTeX that shows it."""
    if isinstance(text, Tex):
        return text
    return Tex("".join(map(_one, plain(str(text)))))


def _one(char: str) -> str:
    if char in COMMANDS:
        return COMMANDS[char]
    if char.isascii() or LATIN.fullmatch(char):
        return char
    return rf"\textbackslash{{}}u{ord(char):04x}"


def render_tex(template: str, **content: Any) -> str:
    """A LaTeX file from a template of `reports/paper`; what is put into it is escaped."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(REPORTS / "paper"),
        autoescape=False,  # noqa: S701 - HTML's escaping is not LaTeX's: `finalize` escapes
        finalize=escape,
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
