"""Plain technical English: words that docstrings, comments, messages, pages and docs do not use."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OUT = re.compile(
    r"\b(told|said|hears?|heard|nobody|whoever|stands?|lies|spoke|anew|whom)\b"
    r"|\bof \w+('s|s') own\b|\bof (one's|its|their|your|my|his) own\b|\bso many\b|\bnone spoke\b"
    r"|\bby which\b|\bis no (?!longer|t\b)\w+",
    re.IGNORECASE,
)
SKIPPED = {"stands for", "stand-in"}


def texts_of_code(path: Path) -> Iterator[tuple[int, str]]:
    """Strings (docstrings, messages) and comments of a Python file, each with its line."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def texts_of_prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a page template or a Markdown file."""
    yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)


def faults(path: Path) -> list[str]:
    """Each word that is out, as `path:line: word in its sentence`."""
    found = []
    for line, text in (texts_of_code if path.suffix == ".py" else texts_of_prose)(path):
        for match in OUT.finditer(text):
            near = " ".join(text[max(0, match.start() - 30) : match.end() + 30].split())
            if not any(phrase in near for phrase in SKIPPED):
                found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()!r} in: {near}")
    return found


def files() -> list[Path]:
    return [
        *sorted((ROOT / "bench").rglob("*.py")),
        *sorted((ROOT / "bench" / "run" / "templates").glob("*.txt")),
        *sorted((ROOT / "reports").rglob("*.j2")),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted(ROOT.glob("*.md")),
    ]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_that_is_out(path):
    assert faults(path) == []


if __name__ == "__main__":  # python tests/test_language.py PATH...: the list for a few files
    for given in map(Path, sys.argv[1:]):
        for each in [given] if given.is_file() else sorted(given.rglob("*.py")):
            print("\n".join(faults(each.resolve())))
