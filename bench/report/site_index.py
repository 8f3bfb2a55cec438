"""The index of a site: every leaderboard, by dataset, with who is first."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import arms, words
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.headed import page_badges
from bench.report.names import Name, name, plain
from bench.report.numbers import count, counted
from bench.report.rows import REFERENCE, Badge
from bench.report.site_board import Board

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
    first = words.leader(found)
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
        title=words.protocol_title(found.protocol_title, found.dataset.unit),
        first=name(first.name) if first else None,
        value=value,
        primary=label,
        control=found.control,
        rows=count(sum(row.kind != REFERENCE for row in found.rows)),
        images=count(tested),
        pictures=bool(board.galleries),
    )
