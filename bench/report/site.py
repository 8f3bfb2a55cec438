"""A static site of all leaderboards.

`render_site` touches no disk but the templates: what it gives depends on its input alone, so the
same results make the same bytes. Every link is relative.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from bench.io import Download, text_cell
from bench.leaderboard import REFERENCE
from bench.leaderboard.text import metric
from bench.report import arms, text
from bench.report.dataset_report import DatasetReport
from bench.report.eda_page import Gallery
from bench.report.export import as_csv, number
from bench.report.format import Name, count, counted, name, plain, said, size
from bench.report.render import as_bytes, render_page
from bench.report.tables import Badge, Cell, cell
from bench.report.text import page_badges


@dataclass(frozen=True)
class Board:
    """A board as a site shows it: its pages by name, the files of its rows, pictures if any."""

    study: DatasetReport
    pages: Mapping[str, str | bytes]
    offers: Sequence[Download]
    galleries: tuple[Gallery, ...] = ()

    @property
    def folder(self) -> str:
        """Where its pages lie in the site."""
        return f"{self.study.protocol.name}/{self.study.manifest.name}"

    @property
    def up(self) -> str:
        """The way from there to the site's root: `../../`."""
        return "../" * len(PurePosixPath(self.folder).parts)


# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


UNITS = ("patient", "lesion", "group", "image")


@dataclass(frozen=True, slots=True)
class Line:
    """A board in the index."""

    href: str
    protocol: str
    title: str
    first: Name | None
    value: Cell | None
    primary: str
    control: bool
    rows: str
    images: str
    pictures: bool


@dataclass(frozen=True, slots=True)
class Dataset:
    """The boards of a dataset in the index."""

    id: str
    title: Name
    about: str
    badges: tuple[Badge, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class IndexPage:
    """The index, ready to be laid out."""

    title: str
    headline: str
    standfirst: tuple[str, ...]
    synthetic: bool
    datasets: tuple[Dataset, ...]
    absent: tuple[str, ...]
    pictures: str
    files: tuple[tuple[str, str], ...]


def index_page(
    boards: Sequence[Board], absent: Sequence[str], files: Sequence[tuple[str, str]]
) -> IndexPage:
    """The index. files: names of the site's own files, and what they are."""
    by_dataset: dict[str, list[Board]] = {}
    for board in boards:
        by_dataset.setdefault(board.study.manifest.name, []).append(board)
    groups = tuple(
        _dataset(f"data-{at}", own) for at, own in enumerate(by_dataset.values(), start=1)
    )
    methods = {
        (board.folder, row.name)
        for board in boards
        for row in board.study.board.rows
        if row.kind != REFERENCE
    }
    shown = [board for board in boards if board.galleries]
    pictures = (
        "Small copies of some images are part of this site, at the owner’s choice; each board’s "
        "page of pictures says which, and the dataset’s licence holds for them."
        if shown
        else "No image of a patient is part of this site, nor anything made from one."
    )
    return IndexPage(
        title=title(boards),
        headline=f"{counted(len(boards), 'leaderboard')} on {counted(len(groups), 'dataset')}, "
        f"{counted(len(methods), 'method')}.",
        standfirst=(_intervals(boards), "Every prediction can be downloaded and scored again."),
        synthetic=bool(boards) and all(board.study.manifest.synthetic for board in boards),
        datasets=groups,
        absent=tuple(plain(one) for one in absent),
        pictures=pictures,
        files=tuple(files),
    )


def title(boards: Sequence[Board]) -> str:
    """What the site compares, by the units that its boards have."""
    units = _units(boards)
    by = f", compared by {' and by '.join(units)}" if units else ""
    return f"Skin-lesion classifiers{by}"


def _intervals(boards: Sequence[Board]) -> str:
    """What the intervals respect: no more than the boards' data let them."""
    units = _units(boards)
    grouped = [unit for unit in units if unit != "image"]
    respected = (
        f"Intervals respect that images of one {' or '.join(grouped)} are not independent"
        if grouped
        else "Intervals take every image for independent, for want of patient and lesion ids"
    )
    where = ", where the data name it" if grouped and "image" in units else ""
    return f"{respected}{where}; a number that has none is marked."


def _units(boards: Sequence[Board]) -> list[str]:
    """The units of the boards, the largest first."""
    found = {board.study.board.dataset.unit for board in boards}
    return [unit for unit in UNITS if unit in found]


def _dataset(anchor: str, boards: Sequence[Board]) -> Dataset:
    facts = boards[0].study.board.dataset
    groups = f" of {counted(facts.groups, facts.unit)}" if facts.unit != "image" else ""
    licence = plain(facts.licence) or "not stated"
    return Dataset(
        anchor,
        name(facts.title, 80),
        f"{counted(facts.images, 'image')}{groups}. Licence of the data: {licence}.",
        page_badges(boards[0].study.board),
        tuple(map(_line, boards)),
    )


def _line(board: Board) -> Line:
    found = board.study.board
    first = found.leader
    about = metric(found.primary)
    value = None
    if first is not None:
        value = cell(first.table.metrics.get(found.primary), about, found.interval)
    label = about.label
    if value is None and (shifted := arms.shift(found)) is not None:
        label, value = shifted
    tested = found.tested[0] if found.tested else found.dataset.images
    return Line(
        href=board.folder,
        protocol=plain(found.protocol),
        title=text.protocol_title(found.protocol_title, found.dataset.unit),
        first=name(first.name) if first else None,
        value=value,
        primary=label,
        control=found.control,
        rows=count(sum(row.kind != REFERENCE for row in found.rows)),
        images=count(tested),
        pictures=bool(board.galleries),
    )


@dataclass(frozen=True, slots=True)
class File:
    """A file to download: its address, size and sha256."""

    href: str
    label: str
    size: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FilesPage:
    """The predictions of a board, ready to be laid out."""

    title: str
    kicker: str
    heading: str
    rows: tuple[tuple[Name, tuple[tuple[str, tuple[File, ...]], ...]], ...]
    licence: str


@dataclass(frozen=True, slots=True)
class ImagesPage:
    """The pictures of a board that are published, ready to be laid out."""

    title: str
    kicker: str
    heading: str
    about: str
    galleries: tuple[Gallery, ...]


def predictions_page(board: Board) -> str:
    """The page that offers the files of every row."""
    rows: dict[str, dict[str, list[File]]] = {}
    for one in board.offers:
        label = one.name.rpartition("/")[2]
        shown = File(f"{board.up}{quote(one.name)}", label, size(one.size), one.sha256)
        rows.setdefault(one.row, {}).setdefault(one.place, []).append(shown)
    study = board.study
    page = FilesPage(
        title=f"{said(study.manifest.title)}, {plain(study.protocol.name)}: predictions",
        kicker=" · ".join(("Predictions", said(study.manifest.title), plain(study.protocol.name))),
        heading=text.protocol_title(study.protocol.title, study.manifest.unit),
        rows=tuple(
            (name(row), tuple((place, tuple(found)) for place, found in places.items()))
            for row, places in rows.items()
        ),
        licence=plain(study.manifest.licence) or "not stated",
    )
    return render_page("files.html.j2", page=page, home=f"{board.up}index.html")


def images_page(board: Board) -> str:
    """The page that says which pictures are published, and shows them."""
    study = board.study
    shown = sum(len(one.pictures) for one in board.galleries)
    licence = plain(study.manifest.licence) or "not stated"
    page = ImagesPage(
        title=f"{said(study.manifest.title)}: published pictures",
        kicker=" · ".join(("Pictures", said(study.manifest.title), plain(study.protocol.name))),
        heading=plain(study.manifest.title),
        about=f"Small copies of {counted(shown, 'image')}, drawn at random from each class, no two "
        "of one group. The page of a row may show small copies of the images it does worst on, "
        "each with its id. No other image is part of this site. Licence of the data: "
        f"{licence}.",
        galleries=board.galleries,
    )
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
    """The same, a line a row."""
    lines = [["protocol", "dataset", "row", "kind", "complete", "rank", "metric"]]
    lines[0] += ["value", "low", "high", "n"]
    for board in boards:
        found = board.study.board
        for row in found.rows:
            value = row.table.metrics[found.primary]
            ends = (value.value, value.low, value.high, value.n)
            told = ["" if number(end) is None else repr(number(end)) for end in ends]
            names = (found.protocol, found.dataset.name, row.name, row.kind)
            rank = "" if row.rank.best is None else str(row.rank.best)
            lines.append(
                [
                    *map(text_cell, names),
                    str(row.complete).lower(),
                    rank,
                    found.primary,
                    *told,
                ]
            )
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

    absent  boards that are not shown, and why, a sentence each
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
    """The paths that a SHA256SUMS names, itself among them."""
    paths = {line.partition("  ")[2] for line in sums.splitlines() if "  " in line}
    return paths | {SUMS}


def is_mark(text: str) -> bool:
    """Whether this is what site.json says in a site of ours, of whatever version."""
    try:
        return bool(json.loads(text)["kind"] == KIND)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
