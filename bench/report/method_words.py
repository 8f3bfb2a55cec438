"""What a row's own page says in sentences."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from bench.closeup import Closeup
from bench.estimates import IntervalFacts, Leaderboard, LeaderboardRow
from bench.report import words
from bench.report.catalogue import metric
from bench.report.cells import cell
from bench.report.names import name, plain, said
from bench.report.numbers import count, counted, fixed

_THRESHOLDS = (
    "Chosen in each fold on its val part, and only then applied to its test part. What val "
    "promised, test need not keep: both rates are shown."
)
_CALIBRATION = (
    "Fifteen bins; ECE of the top class, class-wise ECE of each class’s own probability. "
    "Reliability − resolution + uncertainty is the Brier score of the bins’ means. The "
    "temperature is fitted on each fold’s val by log loss. Errors of calibration are biased "
    "upwards in resamples."
)
_DECISIONS = (
    "Net benefit at threshold t is the share of true positives less the share of false ones "
    "times t/(1 − t), acting where the probability is t or more."
)
_CURVES = (
    "ROC and precision-recall are drawn over the folds’ pooled scores, of the first seed and "
    "repeat where there are several; the AUC in the tables is the mean over folds."
)
_SUBGROUPS = (
    "Below 50 groups nothing is said. A mean over classes is undefined where a class is absent. "
    "Gaps: single-step max-T over all pairs of all attributes, metric by metric."
)
HOW_MADE = (
    ("Thresholds", _THRESHOLDS),
    ("Calibration", _CALIBRATION),
    ("Decision curve", _DECISIONS),
    ("Curves", _CURVES),
    ("Subgroups", _SUBGROUPS),
)


def headline(board: Leaderboard, row: LeaderboardRow) -> str:
    """The row, its primary metric and its rank in one sentence."""
    estimate = row.table.metrics[board.primary]
    value = cell(estimate, metric(board.primary), board.interval)
    place = f", rank {row.rank.best}" if row.rank.best is not None else ", unranked"
    synthetic = "On synthetic data, " if board.dataset.synthetic else ""
    return f"{synthetic}{said(row.name)}: {metric(board.primary).label} {value.text}{place}."


def standfirst(row: LeaderboardRow) -> list[str]:
    """What failed, and what else is to be known."""
    return [plain(note) for note in row.facts.notes]


def units_note(board: Leaderboard, look: Closeup) -> str:
    """What a unit of analysis is, and which there are."""
    first = (
        "With images as units each image counts once; with lesions or patients the predictions "
        "of a unit’s images in a fold are averaged into one item, and thresholds chosen anew."
    )
    told = [first]
    told += [
        f"{count(unit.items)} items of {counted(unit.units, unit.unit)}: one with several "
        "diagnoses counts once for each."
        for unit in look.units
        if unit.items > unit.units and board.repeats == 1
    ]
    if "patient" not in {unit.unit for unit in look.units}:
        told.append("The data has no patient ids, so there is no column for patients.")
    return " ".join(told)


def malignant_note(look: Closeup) -> str:
    """Which classes are malignant."""
    if look.malignant is None:
        return "The data does not say which classes are malignant, so there is no such view."
    listed = ", ".join(name(label, 24).short for label in look.malignant_classes)
    return f"Malignant are {listed}: their probabilities are added up, and held against the rest."


def calibration_note(look: Closeup) -> str:
    """The temperatures that val asks for."""
    if not look.temperature:
        return "No val predictions in every fold, so no temperature could be fitted."
    listed = ", ".join(fixed(one, 2) for one in look.temperature)
    return (
        f"Temperatures fitted on each fold’s val: {listed}. Above 1 the row was too sure of itself."
    )


def gaps_note(look: Closeup) -> str:
    """What a gap between subgroups says."""
    most = max((gap.pairs for gap in look.gaps), default=0)
    return (
        "The worst and the best subgroup of each attribute. Their gap was picked because it is the "
        f"largest, so its interval holds for all pairs looked at together (up to {count(most)} a "
        "metric). A gap may come from another mix of diagnoses rather than from the people."
    )


def how_made(look: Closeup, close: IntervalFacts) -> tuple[tuple[str, str], ...]:
    """How the numbers of this page were made, as terms with their explanation."""
    intervals = (
        "The numbers by image and by class have the leaderboard’s own intervals. All others come "
        f"from {count(look.resamples)} resamples of whole {words.plural(close.unit)}, the first "
        "of the leaderboard’s, conditional on the trained models; BCa where an acceleration can "
        "be had, else percentile. Bands of curves are percentile, point by point."
    )
    return (("Intervals", intervals), *HOW_MADE)
