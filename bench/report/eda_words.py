"""The sentences of the EDA page."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from bench.report import words
from bench.report.catalogue import metric
from bench.report.cells import cell
from bench.report.explored import TITLES, Explored
from bench.report.names import listed, said
from bench.report.numbers import count, counted
from bench.report.rows import REFERENCE

ASSOCIATION = (
    "Cramér’s V for words, epsilon squared for numbers, both from 0 (none) to 1, over images. "
    "Noise alone makes them larger than 0, and so does a number of images a group that goes "
    "with both: the tick marks the mean where whole groups of the same number of images trade "
    "their values."
)
P_VALUES = (
    "Permutation tests: 1,999 trades of labels between groups of the same number of images; "
    "adjusted by Holm over all tests of this page. Before that the smallest possible p is "
    "0.0005."
)
PICTURES = (
    "Measured at a height of 450 pixels at most. Sharpness: variance of the Laplacian. "
    "Brightness: mean L*. Colour cast: distance of the mean colour from grey (a*, b*). Hair: "
    "share of the picture that the preprocessing’s hair mask covers; rulers count, too. Boxes "
    "show quartiles, lines reach from the 5th to the 95th percentile."
)
INTERVALS = (
    "95%, bias-corrected percentiles of 1,000 resamples of whole {unit}. Where the value lies "
    "below every resample there is none: it is as small as noise makes it."
)
CLASSIFIERS = (
    "Gradient-boosted trees (scikit-learn, fixed settings, classes weighted to count the same),"
    " trained and tested on the folds of this page, scored by the bench’s own metrics with "
    "cluster-bootstrap intervals over {unit}. No method of the bench is given the source or the"
    " kind of diagnosis."
)


def headline(found: Explored) -> str:
    """How much there is, and how unevenly."""
    images = found.board.dataset.images_by_class
    there = {label: number for label, number in images.items() if number}
    most, least = max(there, key=there.__getitem__), min(there, key=there.__getitem__)
    ratio = there[most] / there[least]
    where = "synthetic images" if found.manifest.synthetic else "images"
    odds = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"  # noqa: PLR2004 - digits of a ratio
    unit = found.board.dataset.unit
    kind = "group" if unit == "group" else f"{unit} group"
    uneven = f"{said(most)} outnumbers {said(least)} {odds} to 1"
    return (
        f"{count(len(found.manifest))} {where} of "
        f"{counted(len(set(found.group_ids.tolist())), kind)}; "
        f"{uneven if ratio > 1 else 'every class has as many images'}."
    )


def standfirst(found: Explored) -> tuple[str, ...]:
    """What metadata alone gives away."""
    board = found.board
    told = []
    blind = [row for row in board.rows if row.kind != REFERENCE]
    if blind:  # by AUC: it does not ask where a classifier puts its threshold
        best = max(blind, key=lambda row: row.table.metrics["macro_auc"].value)
        about = metric("macro_auc")
        reached = cell(best.table.metrics["macro_auc"], about, board.interval)
        told.append(
            f"Without looking at any lesion, a classifier that knows "
            f"“{said(best.name)}” reaches {about.label} {reached.text}: a method that scores no "
            "better may have learned nothing else."
        )
    strong = [
        one
        for one in found.associations.values()
        if "missing" not in one.name and " by " not in one.name and one.p_adjusted < 0.05  # noqa: PLR2004
    ]
    if strong:
        named = [TITLES.get(one.name, one.name).split(",")[0].lower() for one in strong]
        told.append(
            f"Told apart from chance in its association with the diagnosis: {listed(named)}."
        )
    if found.quality is None:
        told.append("Metadata only: no picture was looked at.")
    return tuple(told)


def how_made(found: Explored) -> tuple[tuple[str, str], ...]:
    """How the numbers were made, as terms with their explanation."""
    unit = words.plural(found.board.dataset.unit)
    made = [
        ("Association", ASSOCIATION),
        ("Intervals", INTERVALS.format(unit=unit)),
        ("p values", P_VALUES),
        ("Classifiers without pictures", CLASSIFIERS.format(unit=unit)),
    ]
    if found.quality is not None:
        made.append(("Pictures", PICTURES))
    return tuple(made)
