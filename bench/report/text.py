"""Sentences of the leaderboard page, and the header that every page shares."""

# ruff: noqa: RUF001 - these strings are shown to people: they use typographic signs

from __future__ import annotations

from dataclasses import dataclass

from bench.leaderboard import REFERENCE, DatasetFacts, Leaderboard, some_names
from bench.leaderboard.text import metric
from bench.report.format import (
    Span,
    count,
    counted,
    isolated,
    listed,
    name,
    plain,
    said,
    spans,
)
from bench.report.tables import Badge, ClassCount, badge, cell, class_counts

GROUPING = {
    "patient": "Patient-level: all images of a patient are in one part of every fold.",
    "lesion": "Lesion-level: the data have no patient ids. All images of a lesion id are in one "
    "part of every fold, but two lesions of one patient may be in two parts, so the numbers may be "
    "better than patient-level ones.",
    "image": "Image-level: the data have neither patient nor lesion ids. Images of one patient may "
    "be in two parts of a fold, so the numbers are better than patient-level ones.",
}
SYNTHETIC = (
    "A program drew these images; they do not show skin. The numbers show that the benchmark "
    "works, and nothing about any diagnosis."
)
CONTROL = (
    "This protocol divides groups on purpose, to show how much a leaking split improves the "
    "numbers. No row is ranked."
)
DIVIDED = (
    "Groups are divided on purpose: images of one {unit} are in two parts of a fold. Intervals "
    "still resample whole {units}."
)
UNGROUPED = (
    "They carry neither patient nor lesion id, and each counts as a separate group; images of the "
    "same lesion may be in another part of a fold."
)


def plural(unit: str) -> str:
    """The unit of grouping, in the plural."""
    return f"{plain(unit)}s"


def title(board: Leaderboard) -> str:
    """The page's title; it begins with a warning if the data is synthetic."""
    facts = board.dataset
    warning = "Synthetic data: " if facts.synthetic else ""
    return f"{warning}{said(facts.title)}, {plain(board.protocol)} leaderboard"


def banners(board: Leaderboard) -> tuple[tuple[str, str, str], ...]:
    """Warnings about all numbers of the page: (kind, heading, sentence)."""
    facts = board.dataset
    lone = f"Grouping incomplete: {counted(facts.ungrouped, 'image')}"
    every = (
        (facts.synthetic, "synthetic", "Synthetic data", SYNTHETIC),
        (board.control, "control", "Control, not a comparison", CONTROL),
        (facts.ungrouped > 0, "grouping", lone, UNGROUPED),
    )
    return tuple((kind, heading, text) for holds, kind, heading, text in every if holds)


def grouping(facts: DatasetFacts) -> str:
    """The unit of grouping, and what it leaves open."""
    return GROUPING.get(facts.unit, f"Grouped by {plain(facts.unit)}.")


def unit(board: Leaderboard) -> str:
    """The unit of grouping, and whether this protocol divides groups."""
    if divides(board):
        known = board.dataset.unit
        return DIVIDED.format(unit=plain(known), units=plural(known))
    return grouping(board.dataset)


def divides(board: Leaderboard) -> bool:
    """Whether the rows were trained on images of the groups that they are tested on."""
    return board.control and board.arms is None


def protocol_title(title: str, unit: str) -> str:
    """The protocol's title in the unit of the data: by lesion where no patient is known."""
    return plain(title if unit == "patient" else title.replace("by patient", f"by {unit}"))


def standfirst(board: Leaderboard) -> tuple[str, ...]:
    """The sentences below the headline: both verdicts, reference rows, tested images."""
    sentences = list(board.verdicts)
    sentences += _chance(board)
    facts = board.dataset
    kind = "synthetic images" if facts.synthetic else "images"
    images, groups = board.tested or (facts.images, facts.groups)
    word = plural(facts.unit) if facts.units in (0, facts.groups) else "groups"
    amount = f" of {count(groups)} {word}" if facts.unit != "image" else ""
    where = f"Tested on {count(images)} {kind}{amount} ({said(facts.title)})"
    times = "" if board.repeats == 1 else f" in each of {board.repeats} repeats"
    if divides(board):
        return (*sentences, f"{where}, each image once{times}.")
    arm = f" The rows are those of the arm {plain(board.arms.arms[0].name)}." if board.arms else ""
    once = f"each image once{times}, by models trained without {unseen(facts.unit)}"
    return (*sentences, f"{where}, {once}.{arm}", *unverified(board))


def unseen(unit: str) -> str:
    """What a model has not seen of the image that it predicts."""
    if unit == "image":
        return "it"
    units = plural(unit)
    return f"its {plain(unit)}, as far as {units} were known when the folds were frozen"


def unverified(board: Leaderboard) -> tuple[str, ...]:
    """The submitted rows; the folds guarantee nothing about their training."""
    names = [said(row.name) for row in board.rows if row.kind == "submitted"]
    if not names:
        return ()
    rows = "Submitted rows are" if len(names) > 1 else "The submitted row is"
    return (f"{rows} excepted, the training not being verified: {some_names(names)}.",)


def _chance(board: Leaderboard) -> list[str]:
    methods = [row for row in board.rows if row.kind != REFERENCE]
    failing = [said(row.name) for row in methods if board.fault(row)]
    best = board.reference_text
    if not methods or not best:
        return []
    if not failing:
        subject = "It clears" if len(methods) == 1 else f"All {len(methods)} methods clear"
        return [f"{subject} the best reference row ({best})."]
    if len(failing) == len(methods):
        return [f"No method clears the best reference row ({best})."]
    verb = "does" if len(failing) == 1 else "do"
    return [f"{some_names(failing)} {verb} not clear the best reference row ({best})."]


RARE = "undefined in some resamples"
FOLDS = "some folds"
MARKS = {
    **dict.fromkeys(
        ("few patients", "few lesions", "few groups"),
        "Fewer than 50 groups in the images that the metric is computed on; intervals of so small "
        "samples are not reliable.",
    ),
    "biased": "Noise counts as error in this metric, and resampling adds noise; the interval need "
    "not hold the estimate.",
    "imprecise": "An end of the interval is beyond the 0.1% or 99.9% quantile of the resamples, so "
    "very few of them determine it.",
    "bias-corrected": "The percentile interval moved down by twice the bias of the resamples.",
    "percentile": "The interval is the percentile interval, not the usual one of the table.",
    "Clopper–Pearson": "All resamples agree, so the interval is the exact interval of a "
    "proportion, computed on groups.",
    "BCa": "The interval is bias-corrected and accelerated, not the usual one of the table.",
    RARE: "The metric is undefined in this share of the resamples; its interval comes from the "
    "others.",
    FOLDS: "The metric is undefined in the other folds; the value is the mean over these.",
    "incomplete": "Computed on a part of the folds and seeds that the protocol requires.",
    "no interval": "All resamples agree and the metric is not a proportion, or an interval could "
    "not be computed.",
}


def marks(board: Leaderboard) -> tuple[tuple[str, str], ...]:
    """The marks on this page with their explanation; a mark with a number by its first example."""
    used: dict[str, str] = {}
    for row in board.rows:
        for _, key, estimate in row.table.items():
            for mark in cell(estimate, metric(key), board.interval).marks:
                used.setdefault(kind_of(mark), mark)
    return tuple((used[kind], MARKS[kind]) for kind in MARKS if kind in used)


def kind_of(mark: str) -> str:
    """The kind of a mark: the mark, or its pattern if it contains a number."""
    if mark.endswith("of resamples"):
        return RARE
    return FOLDS if " folds" in mark else mark


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
    """The part of the header that is the same on every page of a leaderboard's data."""

    banners: tuple[Banner, ...]
    badges: tuple[Badge, ...]
    facts: tuple[Fact, ...]
    counts: tuple[ClassCount, ...]
    unit: str
    unit_title: str


def of_the_data(board: Leaderboard) -> OfTheData:
    """Warnings, badges, data sheet, classes and unit, as every page shows them."""
    units = plural(board.dataset.unit)
    return OfTheData(
        banners=page_banners(board),
        badges=page_badges(board),
        facts=data_sheet(board),
        counts=class_counts(board),
        unit=units,
        unit_title=units.capitalize(),
    )


def page_banners(board: Leaderboard) -> tuple[Banner, ...]:
    """The warnings that hold for all of the page."""
    return tuple(Banner(*one) for one in banners(board))


def page_badges(board: Leaderboard) -> tuple[Badge, ...]:
    """Badges of all rows: synthetic data, and the unit of grouping."""
    facts = board.dataset
    badges = [badge("synthetic")] if facts.synthetic else []
    if facts.unit in ("lesion", "image"):
        badges.append(badge(f"{facts.unit}-level"))
    else:
        badges.append(Badge(f"{plain(facts.unit)}-level", grouping(facts)))
    return tuple(badges)


def data_sheet(board: Leaderboard) -> tuple[Fact, ...]:
    """The data that the numbers come from."""
    facts = board.dataset
    named_so = "synthetic" in facts.title.lower()
    kind = "Synthetic: " if facts.synthetic and not named_so else ""
    lone = f"grouping incomplete: {counted(facts.ungrouped, 'image')}" if facts.ungrouped else ""
    repeats = f", {board.repeats} repeats" if board.repeats > 1 else ""
    arms = ""
    if board.arms:
        first, *others = (plain(arm.name) for arm in board.arms.arms)
        arms = f" of the arm {first}, beside {', '.join(others)}"
    sheet = [
        ("Data", f"{kind}{isolated(name(facts.title, 80).short)}, {facts.size}"),
        ("Unit", unit(board)),
        ("Grouping", lone),
        ("Protocol", f"{plain(board.protocol)}: {counted(board.folds, 'fold')}{repeats}{arms}"),
        ("Licence", facts.licence or "not stated"),
        ("Citation", facts.citation or "not stated"),
    ]
    return tuple(Fact(term, spans(text)) for term, text in sheet if text)


def ties(groups: tuple[tuple[str, ...], ...]) -> list[str]:
    """The groups of rows whose models do not differ, in one sentence; [] without a group."""
    if not groups:
        return []
    each = "; ".join(listed([said(row) for row in group]) for group in groups)
    return [f"No difference between the models is shown within {each}."]
