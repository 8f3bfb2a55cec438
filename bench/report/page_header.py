"""Header of every page: banners and facts of the data."""

from __future__ import annotations

from dataclasses import dataclass

from bench.leaderboard import Leaderboard
from bench.report import text as words
from bench.report.format import Span, counted, isolated, name, plain, spans
from bench.report.tables import Badge, ClassCount, badge, class_counts


@dataclass(frozen=True, slots=True)
class Banner:
    """A warning at the top of the page."""

    kind: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the data sheet."""

    term: str
    text: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class OfTheData:
    """The part of the head that is the same on every page of a leaderboard's data."""

    banners: tuple[Banner, ...]
    badges: tuple[Badge, ...]
    facts: tuple[Fact, ...]
    counts: tuple[ClassCount, ...]
    unit: str
    unit_title: str


@dataclass(frozen=True, slots=True)
class PageHeader:
    """A page with its head; the rest of it is its own."""

    title: str
    kicker: str
    heading: str
    headline: str
    standfirst: tuple[str, ...]
    data: OfTheData


def of_the_data(board: Leaderboard) -> OfTheData:
    """Warnings, badges, data sheet, classes and unit, as every page shows them."""
    unit = words.plural(board.dataset.unit)
    return OfTheData(
        banners=page_banners(board),
        badges=page_badges(board),
        facts=data_sheet(board),
        counts=class_counts(board),
        unit=unit,
        unit_title=unit.capitalize(),
    )


def page_banners(board: Leaderboard) -> tuple[Banner, ...]:
    """The warnings that hold for all of the page."""
    return tuple(Banner(*one) for one in words.banners(board))


def page_badges(board: Leaderboard) -> tuple[Badge, ...]:
    """What is true of all rows: synthetic, and what a group is."""
    facts = board.dataset
    found = [badge("synthetic")] if facts.synthetic else []
    if facts.unit in ("lesion", "image"):
        found.append(badge(f"{facts.unit}-level"))
    else:
        found.append(Badge(f"{plain(facts.unit)}-level", words.grouping(facts)))
    return tuple(found)


def data_sheet(board: Leaderboard) -> tuple[Fact, ...]:
    """What the numbers come from."""
    facts = board.dataset
    amount = counted(facts.images, "image")
    if facts.unit != "image":
        amount += f" of {counted(facts.groups, facts.unit)}"
    said_already = "synthetic" in facts.title.lower()
    kind = "Synthetic: " if facts.synthetic and not said_already else ""
    repeats = f", {board.repeats} repeats" if board.repeats > 1 else ""
    arms = ""
    if board.arms:
        first, *others = (plain(arm.name) for arm in board.arms.arms)
        arms = f" of the arm {first}, beside {', '.join(others)}"
    sheet = [
        (
            "Data",
            f"{kind}{isolated(name(facts.title, 80).short)}, {amount}",
        ),
        ("Unit", words.unit(board)),
        (
            "Grouping",
            f"grouping incomplete: {counted(facts.ungrouped, 'image')}" if facts.ungrouped else "",
        ),
        ("Protocol", f"{plain(board.protocol)}: {counted(board.folds, 'fold')}{repeats}{arms}"),
        ("Licence", facts.licence or "not stated"),
        ("Citation", facts.citation or "not stated"),
    ]
    return tuple(Fact(term, spans(text)) for term, text in sheet if text)
