"""Reporting guidelines: their items, each answered from the records or left for the authors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.foreign import text_cell
from bench.report.answers_data import ANSWERS as OF_DATA
from bench.report.answers_methods import ANSWERS as OF_METHODS
from bench.report.export import as_csv
from bench.report.study import Study

GUIDELINES = Path(__file__).resolve().parents[2] / "reports" / "guidelines"
FILES = ("stard_ai", "tripod_ai", "clear_derm")
ANSWERS = OF_DATA | OF_METHODS  # type: ignore[operator]
ANSWERED, IN_PART, AUTHORS = "answered", "in part", "yours to fill"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a guideline.

    answer  what the records say, "" if nothing
    fill    what only the authors know, "" if nothing is left
    """

    number: str
    topic: str
    answer: str
    fill: str

    @property
    def state(self) -> str:
        """Answered, in part, or the authors' to fill."""
        if not self.answer:
            return AUTHORS
        return IN_PART if self.fill else ANSWERED


@dataclass(frozen=True, slots=True)
class Guideline:
    """A guideline with its items, in its order."""

    id: str
    name: str
    about: str
    year: int
    doi: str
    cite: str
    items: tuple[Item, ...]

    def count(self, state: str) -> int:
        """How many items are in a state."""
        return sum(item.state == state for item in self.items)


@cache
def _read(file: str) -> Mapping[str, Any]:
    return tomllib.loads((GUIDELINES / f"{file}.toml").read_text(encoding="utf-8"))


def guidelines(study: Study) -> tuple[Guideline, ...]:
    """Every guideline, its items answered as far as the records go."""
    known = {key: answer(study) for key, answer in ANSWERS.items()}
    found = []
    for file in FILES:
        content = _read(file)
        items = tuple(_item(one, known) for one in content["item"])
        about = {key: content[key] for key in ("name", "about", "year", "doi", "cite")}
        found.append(Guideline(id=file.replace("_", "-"), items=items, **about))
    return tuple(found)


def _item(one: Mapping[str, str], known: Mapping[str, str]) -> Item:
    answer = known[one["answer"]] if "answer" in one else ""
    fill = one.get("fill", "")
    if not answer and not fill:
        fill = "The records do not say."
    return Item(one["number"], one["topic"], answer, fill)


def guidelines_csv(found: Sequence[Guideline]) -> str:
    """One line an item, with an empty column for the authors' own words."""
    lines = [["guideline", "item", "topic", "state", "from_the_records", "to_fill", "authors"]]
    lines += [
        [
            *(one.name, item.number, item.topic, item.state),
            *(text_cell(item.answer), text_cell(item.fill), ""),
        ]
        for one in found
        for item in one.items
    ]
    return as_csv(lines)
