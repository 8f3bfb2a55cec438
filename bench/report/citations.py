"""References that a paper about a leaderboard needs, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from bench.estimates import DatasetFacts
from bench.report.html import REPORTS
from bench.report.latex import escape

DATASET = "dataset"
_KEY = re.compile(r"@\w+\{([^,]+),")


@cache
def library() -> dict[str, str]:
    """Every entry that the bench can cite, by key."""
    text = (REPORTS / "paper" / "references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"(?m)^(?=@)", text) if entry.startswith("@")]
    return {match[1]: entry for entry in entries if (match := _KEY.match(entry))}


def cited(text: str) -> list[str]:
    r"""Keys in the \cite commands of LaTeX text, each once, in order."""
    groups = re.findall(r"\\cite\{([^}]*)\}", text)
    return list(dict.fromkeys(key.strip() for group in groups for key in group.split(",")))


def bibliography(keys: Iterable[str], facts: DatasetFacts) -> str:
    """The entries of these keys; the dataset's own made from its citation.

    Raises KeyError for a key that the library lacks.
    """
    known = library() | {DATASET: _dataset(facts)}
    return "\n\n".join(known[key] for key in keys) + "\n"


def _dataset(facts: DatasetFacts) -> str:
    return (
        f"@misc{{{DATASET},\n  title = {{{{{escape(facts.title)}}}}},\n"
        f"  note = {{{escape(facts.citation or 'no citation is on record')}}}\n}}"
    )
