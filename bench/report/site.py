"""A static site of all leaderboards.

`render_site` reads no file but the templates: its output depends on its input alone, so the same
results give the same bytes. Every link is relative.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from bench.io import Download, text_cell
from bench.leaderboard import REFERENCE
from bench.leaderboard.text import metric
from bench.report import arms, text
from bench.report.dataset_report import DatasetReport
from bench.report.eda_page import Gallery
from bench.report.export import ENDS, as_csv, ends_of, number
from bench.report.format import count, counted, name, plain, said, size
from bench.report.render import as_bytes, render_page
from bench.report.tables import cell
from bench.report.text import page_badges


@dataclass(frozen=True)
class Board:
    """A leaderboard of a site: its pages by name, the files of its rows, pictures if any."""

    study: DatasetReport
    pages: Mapping[str, str | bytes]
    offers: Sequence[Download]
    galleries: tuple[Gallery, ...] = ()

    @property
    def folder(self) -> str:
        """The folder of its pages in the site."""
        return f"{self.study.protocol.name}/{self.study.manifest.name}"

    @property
    def up(self) -> str:
        """The relative path from there to the root of the site: `../../`."""
        return "../" * len(PurePosixPath(self.folder).parts)


UNITS = ("patient", "lesion", "group", "image")


def index_page(
    boards: Sequence[Board], absent: Sequence[str], files: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """What site.html.j2 shows. files: names of the site's files with their description."""
    by_dataset: dict[str, list[Board]] = {}
    for board in boards:
        by_dataset.setdefault(board.study.manifest.name, []).append(board)
    methods = {
        (board.folder, row.name)
        for board in boards
        for row in board.study.board.rows
        if row.kind != REFERENCE
    }
    return {
        "title": title(boards),
        "headline": f"{counted(len(boards), 'leaderboard')} on "
        f"{counted(len(by_dataset), 'dataset')}, {counted(len(methods), 'method')}.",
        "standfirst": (_intervals(boards), "Every prediction can be downloaded and scored again."),
        "synthetic": bool(boards) and all(board.study.manifest.synthetic for board in boards),
        "datasets": [
            _dataset(f"data-{at}", own) for at, own in enumerate(by_dataset.values(), start=1)
        ],
        "absent": [plain(sentence) for sentence in absent],
        "pictures": any(board.galleries for board in boards),
        "files": files,
    }


def title(boards: Sequence[Board]) -> str:
    """The site's title, with the units of its boards."""
    units = _units(boards)
    by = f", compared by {' and by '.join(units)}" if units else ""
    return f"Skin-lesion classifiers{by}"


def _intervals(boards: Sequence[Board]) -> str:
    """The dependence that the intervals respect, as far as the data of the boards allow."""
    units = _units(boards)
    grouped = [unit for unit in units if unit != "image"]
    respected = (
        f"Intervals respect that images of one {' or '.join(grouped)} are not independent"
        if grouped
        else "Intervals assume independent images, because patient and lesion ids are missing"
    )
    where = ", if the data have ids" if grouped and "image" in units else ""
    return f"{respected}{where}; a number without an interval is marked."


def _units(boards: Sequence[Board]) -> list[str]:
    """The units of the boards, the largest first."""
    units = {board.study.board.dataset.unit for board in boards}
    return [unit for unit in UNITS if unit in units]


def _dataset(anchor: str, boards: Sequence[Board]) -> dict[str, Any]:
    """The boards of one dataset."""
    facts = boards[0].study.board.dataset
    licence = plain(facts.licence) or "not stated"
    return {
        "id": anchor,
        "title": name(facts.title, 80),
        "about": f"{facts.size}. Licence of the data: {licence}.",
        "badges": page_badges(boards[0].study.board),
        "lines": list(map(_line, boards)),
    }


def _line(board: Board) -> dict[str, Any]:
    """A board in the index: its first row with its primary metric, or the effect of leakage."""
    results = board.study.board
    first, about = results.leader, metric(results.primary)
    label, value = about.label, None
    if first is not None:
        value = cell(first.table.metrics.get(results.primary), about, results.interval)
    if value is None and (shift := arms.shift(results)) is not None:
        label, value = shift
    return {
        "href": board.folder,
        "protocol": plain(results.protocol),
        "title": text.protocol_title(results.protocol_title, results.dataset.unit),
        "first": name(first.name) if first else None,
        "value": value,
        "primary": label,
        "control": results.control,
        "rows": count(sum(row.kind != REFERENCE for row in results.rows)),
        "images": count(results.tested[0] if results.tested else results.dataset.images),
        "pictures": bool(board.galleries),
    }


def _page_of(board: Board, title: str, kicker: str, heading: str) -> dict[str, Any]:
    """What every further page of a board needs."""
    dataset, protocol = board.study.manifest, plain(board.study.protocol.name)
    return {
        "title": f"{said(dataset.title)}{title}",
        "kicker": " · ".join((kicker, said(dataset.title), protocol)),
        "heading": heading,
        "licence": plain(dataset.licence) or "not stated",
    }


def predictions_page(board: Board) -> str:
    """The page with the files of every row."""
    rows: dict[str, dict[str, list[dict[str, str]]]] = {}
    for offer in board.offers:
        file = {
            "href": f"{board.up}{quote(offer.name)}",
            "label": offer.name.rpartition("/")[2],
            "size": size(offer.size),
            "sha256": offer.sha256,
        }
        rows.setdefault(offer.row, {}).setdefault(offer.place, []).append(file)
    protocol = board.study.protocol
    heading = text.protocol_title(protocol.title, board.study.manifest.unit)
    title = f", {plain(protocol.name)}: predictions"
    page = _page_of(board, title, "Predictions", heading)
    page["rows"] = [(name(row), list(places.items())) for row, places in rows.items()]
    return render_page("files.html.j2", page=page, home=f"{board.up}index.html")


def images_page(board: Board) -> str:
    """The page with the published pictures."""
    heading = plain(board.study.manifest.title)
    page = _page_of(board, ": published pictures", "Pictures", heading)
    page["shown"] = sum(len(gallery.pictures) for gallery in board.galleries)
    page["galleries"] = board.galleries
    return render_page("images.html.j2", page=page, home=f"{board.up}index.html")


def boards_json(boards: Sequence[Board]) -> str:
    """Every board with the primary metric of its rows."""
    content = [
        {
            "protocol": board.study.protocol.name,
            "dataset": board.study.manifest.name,
            "title": board.study.manifest.title,
            "synthetic": board.study.manifest.synthetic,
            "unit": board.study.manifest.unit,
            "href": f"{board.folder}/index.html",
            "json": f"{board.folder}/leaderboard.json",
            "csv": f"{board.folder}/leaderboard.csv",
            "primary": board.study.board.primary,
            "rows": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "complete": row.complete,
                    "rank": row.rank.best,
                    **{
                        end: number(getattr(row.table.metrics[board.study.board.primary], end))
                        for end in ("value", "low", "high", "n")
                    },
                }
                for row in board.study.board.rows
            ],
        }
        for board in boards
    ]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def boards_csv(boards: Sequence[Board]) -> str:
    """The same, a line per row."""
    lines = [["protocol", "dataset", "row", "kind", "complete", "rank", "metric", *ENDS]]
    for board in boards:
        results = board.study.board
        for row in results.rows:
            names = (results.protocol, results.dataset.name, row.name, row.kind)
            rank = "" if row.rank.best is None else str(row.rank.best)
            ends = ends_of(row.table.metrics[results.primary])
            complete = str(row.complete).lower()
            lines.append([*map(text_cell, names), complete, rank, results.primary, *ends])
    return as_csv(lines)


MARK = "site.json"
SUMS = "SHA256SUMS"
KIND = "lesion-bench site"
VERSION = 1
PREDICTIONS = "predictions.html"
IMAGES = "images.html"
FILES = (
    ("boards.csv", "this table"),
    ("boards.json", "the same for programs"),
    (SUMS, "sha256 of every file: sha256sum -c SHA256SUMS"),
)

Content = bytes | Path


def render_site(boards: Sequence[Board], absent: Sequence[str] = ()) -> dict[str, Content]:
    """Every file of the site by its path in it.

    absent  leaderboards that are left out, with the reason, a sentence each
    """
    files: dict[str, Content] = {}
    for board in boards:
        for path, content in board.pages.items():
            files[f"{board.folder}/{path}"] = as_bytes(content)
        files[f"{board.folder}/{PREDICTIONS}"] = as_bytes(predictions_page(board))
        if board.galleries:
            files[f"{board.folder}/{IMAGES}"] = as_bytes(images_page(board))
        for offer in board.offers:
            files[offer.name] = offer.source
    files["index.html"] = as_bytes(
        render_page("site.html.j2", page=index_page(boards, absent, FILES))
    )
    files["boards.json"] = as_bytes(boards_json(boards))
    files["boards.csv"] = as_bytes(boards_csv(boards))
    files[MARK] = as_bytes(json.dumps({"kind": KIND, "version": VERSION}) + "\n")
    files[SUMS] = as_bytes(_sums(files))
    return files


def _sums(files: Mapping[str, Content]) -> str:
    """sha256 and path of every file, as `sha256sum -c` reads it."""
    lines = []
    for path, content in sorted(files.items()):
        data = content.read_bytes() if isinstance(content, Path) else content
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {path}\n")
    return "".join(lines)


def listed_files(sums: str) -> set[str]:
    """The paths that a SHA256SUMS lists, and its own path."""
    paths = {line.partition("  ")[2] for line in sums.splitlines() if "  " in line}
    return paths | {SUMS}


def is_mark(text: str) -> bool:
    """Whether this is the text of site.json in a site of lesion-bench, of any version."""
    try:
        return bool(json.loads(text)["kind"] == KIND)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
