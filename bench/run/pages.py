"""What earlier pages of a results folder tell of themselves in JSON.

The folder may be from elsewhere: a file that is no page of ours is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from glob import escape
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bench.files import read_text
from bench.run.results import BOARD, LEADERBOARD

T = TypeVar("T", bound="_Told")
Positive = Annotated[float, Field(gt=0)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _Compared(_Told):
    rows: Annotated[tuple[str, ...], Field(min_length=2)]
    metric: str

    @property
    def title(self) -> str:
        """Its rows, and by what they are compared."""
        return f"{' against '.join(self.rows)}, by {self.metric.replace('_', ' ')}"

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.rows)) < len(self.rows):
            raise ValueError("rows stand there twice")
        return self


class _Belief(_Told):
    rope: Positive


class _NonInferiority(_Told):
    margin: Positive


class _Pair(_Told):
    belief: _Belief | None = None
    non_inferiority: _NonInferiority | None = None


def _mapping(told: Any) -> Any:
    return told if isinstance(told, dict) else {}  # earlier versions told how many


class Asked(_Compared):
    """What a comparison was asked, and what it rested on.

    family  the rows over whose pairs its p values are adjusted, each with its value of the metric,
            None where that is undefined; empty in what earlier versions wrote
    """

    family: Annotated[dict[str, float | None], BeforeValidator(_mapping)] = {}
    pairs: Annotated[tuple[_Pair, ...], Field(min_length=1)]

    @property
    def rope(self) -> float | None:
        """The region of practical equivalence; None where no test was made."""
        belief = self.pairs[0].belief
        return None if belief is None else belief.rope

    @property
    def margin(self) -> float | None:
        """The margin of non-inferiority, if one was asked for."""
        asked = self.pairs[0].non_inferiority
        return None if asked is None else asked.margin


class _Dataset(_Told):
    roster_sha256: str


class _Arms(_Told):
    kind: str


class _Board(_Told):
    dataset: _Dataset
    arms: _Arms | None


def compared_pages(leaderboard: Path, there: Collection[str]) -> list[tuple[str, str]]:
    """Address and title of every page of a comparison in a leaderboard's folder, by title: of those
    whose rows are all still there.
    """
    found = [
        (f"compare/{quote(path.parent.name)}/index.html", told.title)
        for path, told in _told(leaderboard, "compare/*/comparison.json", _Compared)
        if path.with_name("index.html").is_file() and set(told.rows) <= set(there)
    ]
    return sorted(found, key=lambda page: page[1])


def asked_comparisons(leaderboard: Path) -> list[Asked]:
    """What every comparison in a leaderboard's folder was asked."""
    return [asked for _, asked in _told(leaderboard, "compare/*/comparison.json", Asked)]


def leakage_meters(leaderboard: Path, roster_sha256: str) -> Iterator[tuple[str, str]]:
    """Leakage meters' pages on the same data: address from a leaderboard's page, and their JSON."""
    dataset, root = leaderboard.parent.name, leaderboard.parents[2]
    for path, told in _told(root, f"*/{escape(dataset)}/{LEADERBOARD}/{BOARD}", _Board):
        same = told.dataset.roster_sha256 == roster_sha256
        meter = told.arms is not None and told.arms.kind == "leakage-meter"
        if same and meter and path.parent != leaderboard:
            parts = (path.parents[2].name, dataset, LEADERBOARD, "index.html")
            yield "/".join(("../../..", *map(quote, parts))), read_text(path)


def _told(folder: Path, pattern: str, kind: type[T]) -> Iterator[tuple[Path, T]]:
    """Every file below a folder that can be read as what is looked for, in path order."""
    for path in sorted(folder.glob(pattern)):
        try:
            yield path, kind.model_validate_json(read_text(path))
        except (OSError, UnicodeDecodeError, ValidationError):
            continue  # no page of ours
