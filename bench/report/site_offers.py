"""The pages of a site that offer files: predictions, and pictures where they are published."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from bench.report import words
from bench.report.eda import Gallery
from bench.report.html import render_page
from bench.report.names import Name, name, plain, said
from bench.report.numbers import counted, size
from bench.report.site_board import Board


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
        heading=words.protocol_title(study.protocol.title, study.manifest.unit),
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
