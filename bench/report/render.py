"""Render pages: templates, assets, and self-contained files.

`render` touches no disk but its own templates; `write` puts what it made into a folder.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from threading import Thread
from typing import TYPE_CHECKING, Any

from bench.errors import ResultsError
from bench.io import safe_name, write_atomically
from bench.leaderboard import Leaderboard, LeaderboardRow, RowReport
from bench.leaderboard.text import metric
from bench.report import format as formats
from bench.report.arms import Leak
from bench.report.export import leaderboard_csv, per_class_csv, subgroups_csv
from bench.report.format import count, counted, fixed, percent, pieces, plain
from bench.report.leaderboard_details import SHADES, cost_cell, cost_head
from bench.report.leaderboard_page import page
from bench.report.row_page import Pictured, row_page
from bench.report.text import plural
from bench.settings import REPORTS

if TYPE_CHECKING:
    from jinja2 import Environment

_HYPHENED = re.compile(r"[A-Za-z]{2,6}-[A-Za-z0-9]{1,4}[.,;:]?")
STYLES = ("tokens", "page", "tables", "plots", "graphs", "pictures", "study", "print")
METHODS = "methods"
LONGEST = 80
SCRIPTS = ("theme", "sort", "choose", "open", "copy")


def begin() -> None:
    """Compile the templates in the background; it takes half a second."""
    Thread(target=_compile).start()


def _compile() -> None:
    made = environment()
    for name in made.list_templates(filter_func=lambda name: name.startswith(("base", "parts/"))):
        made.get_template(name)
    for name in ("leaderboard", "method", "dataset"):
        made.get_template(f"{name}.html.j2")


def render(
    leaderboard: Leaderboard,
    compared: Sequence[tuple[str, str]] = (),
    closeups: Mapping[str, RowReport] | None = None,
    meter: Leak | None = None,
    *,
    pictures: Mapping[str, Mapping[str, Pictured]] | None = None,
    study: str = "",
    home: str = "",
) -> dict[str, str]:
    """The files of a leaderboard, by name: the pages, and the numbers as JSON and CSV.

    compared  pages of comparisons to link: address and title
    closeups  row reports by row; each becomes a page
    meter     result of the leakage meter on the same data
    pictures  images to show, by row and image id
    study     address of the page of data and protocol, if there is one
    home      address of the site's index, if the pages are part of a site
    """
    closeups = closeups or {}
    names = page_names([row.name for row in leaderboard.rows if row.name in closeups])
    pages = {row: f"{METHODS}/{file}.html" for row, file in names.items()}
    leaderboard = replace(leaderboard, pages=pages)
    more: dict[str, str] = {}
    for row in leaderboard.rows:
        if row.name in names:
            shown = (pictures or {}).get(row.name, {})
            look = closeups[row.name]
            more |= _method_files(leaderboard, row, look, names[row.name], home, shown)
    return more | {
        "index.html": render_page(
            "leaderboard.html.j2",
            page=page(leaderboard, compared, closeups, meter),
            study=study,
            home=home,
        ),
        "leaderboard.json": leaderboard.to_json(),
        "leaderboard.csv": leaderboard_csv(leaderboard),
        "per_class.csv": per_class_csv(leaderboard),
    }


def page_names(rows: Sequence[str]) -> dict[str, str]:
    """A safe file name for every row; names differ by more than case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for row in rows:
        file = safe_name([row], LONGEST)
        if file.casefold() in taken:
            file = safe_name([row, "/"], LONGEST)
        taken.add(file.casefold())
        names[row] = file
    return names


def _method_files(
    board: Leaderboard,
    row: LeaderboardRow,
    look: RowReport,
    file: str,
    home: str,
    pictures: Mapping[str, Pictured],
) -> dict[str, str]:
    data = {
        f"{file}.json": "everything on this page",
        f"{file}.csv": "one line per subgroup and metric",
    }
    shown = row_page(board, row, look, data, pictures)
    return {
        f"{METHODS}/{file}.html": render_page(
            "method.html.j2", page=shown, home=f"../{home}" if home else ""
        ),
        f"{METHODS}/{file}.json": look.to_json(board, row),
        f"{METHODS}/{file}.csv": subgroups_csv(look),
    }


def as_bytes(content: str | bytes) -> bytes:
    """The bytes of a file; characters that UTF-8 cannot encode become escapes."""
    return content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")


def write(files: Mapping[str, str] | Mapping[str, str | bytes], folder: Path) -> None:
    """Write files into a folder, each atomically. Raises ResultsError if it cannot."""
    try:
        for name, content in files.items():
            write_atomically(folder / name, as_bytes(content))
    except OSError as error:
        raise ResultsError(f"{folder}: cannot write the page: {error.strerror}") from None


def render_page(template: str, **content: Any) -> str:
    """A page from a template, with inline style and script.

    The content security policy allows both by their hash and nothing else, so no name on the page
    can run a script. `home` in the content: address of the site's index, if part of a site.
    """
    content.setdefault("home", "")
    style, script = _asset("css", STYLES), _asset("js", SCRIPTS)
    policy = (
        f"default-src 'none'; style-src '{_csp_hash(style)}'; script-src '{_csp_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    made = environment().get_template(template)
    return made.render(**content, style=_trusted(style), script=_trusted(script), policy=policy)


@cache
def _asset(kind: str, names: tuple[str, ...]) -> str:
    files = [REPORTS / kind / f"{name}.{kind}" for name in names]
    return "\n" + "\n".join(file.read_text(encoding="utf-8").strip() for file in files) + "\n"


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _trusted(own_text: str) -> Any:
    from markupsafe import Markup

    return Markup(own_text)  # noqa: S704 - style and script of this project, never data


@cache
def environment() -> Environment:
    """The Jinja environment of all pages; `f` in a template is bench.report.format."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(REPORTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "cost_cell": cost_cell,
        "cost_head": cost_head,
        "count": count,
        "counted": counted,
        "fixed": fixed,
        "mean": _mean,
        "percent": percent,
        "pieces": pieces,
        "plain": plain,
        "plural": plural,
        "sd": _standard_deviation,
        "shade": _shade,
        "spread": _spread,
        "unbroken": _unbroken,
    }
    made.globals |= {"f": formats, "metric": metric, "inline": formats.said, "nan": math.nan}
    return made


def _defined(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _mean(values: Sequence[float]) -> float:
    """Mean of the defined values; NaN without one."""
    defined = _defined(values)
    return fmean(defined) if defined else math.nan


def _standard_deviation(values: Sequence[float]) -> float:
    """Sample standard deviation of the defined values; NaN with fewer than two."""
    defined = _defined(values)
    return stdev(defined) if len(defined) > 1 else math.nan


def _spread(deviation: float, places: int) -> str:
    """A standard deviation with at least three decimals; a dash if undefined."""
    return "–" if math.isnan(deviation) else fixed(deviation, max(places, 3))  # noqa: RUF001


def _shade(share: float) -> int:
    """The shade of a share, 0 to 9."""
    return 0 if math.isnan(share) else math.ceil(share * SHADES)


def _unbroken(text: str) -> Any:
    """A sentence whose short hyphenated words, like macro-F1, stay on one line."""
    from markupsafe import Markup, escape

    kept = Markup('<span class="unbroken">{}</span>')
    words = (
        kept.format(word) if _HYPHENED.fullmatch(word) else escape(word) for word in text.split(" ")
    )
    return Markup(" ").join(words)
