"""What a row's own page says in sentences."""

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes

from __future__ import annotations

from bench.closeup import Closeup
from bench.estimates import IntervalFacts, Leaderboard, LeaderboardRow
from bench.recipe import Recipe
from bench.report import words
from bench.report.catalogue import metric
from bench.report.cells import cell
from bench.report.names import name, plain, said
from bench.report.numbers import count, counted, fixed
from bench.report.rows import spelled

_THRESHOLDS = (
    "Chosen in each fold on its val part, and only then applied to its test part. What val "
    "promised, test need not keep: the aim on val is shown, and the rate on test."
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
    "ROC and precision-recall are drawn over all folds’ scores together, of the first seed and "
    "repeat where there are several. The pooled AUC or AP in a heading is of all folds’ scores "
    "together, too, as the mean over seeds and repeats; “AUC” and “AP” in the tables are means "
    "over folds."
)
_SUBGROUPS = (
    "Below 50 groups nothing is said. A mean over classes is undefined where a class is absent. "
    "Gaps: single-step max-T over all pairs of all attributes, metric by metric."
)
OF_IMAGES = ("image_size", "hair_removal", "colour_constancy", "clahe")
"""Switches that say how an image is prepared, whoever trains."""
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
    told += [
        f"{counted(unit.units, f'{unit.unit} id')} make {counted(board.dataset.groups, 'group')}, "
        "known duplicates being joined; resamples are of groups."
        for unit in look.units
        if unit.unit == board.dataset.unit and unit.units > board.dataset.groups
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
        "metric). A subgroup in which the metric is undefined in 1% of the resamples or more is "
        "left out and named: the gap is that of the others. A gap may come from another mix of "
        "diagnoses rather than from the people."
    )


def learning_note(row: LeaderboardRow) -> str:
    """Whose learning curves are drawn, and why others are not."""
    known, trainings = len(row.facts.history), len(row.seeds) * len(row.folds)
    if row.facts.members:
        return "Nothing was trained: the curves stand with the rows that this one joins."
    if row.kind == "submitted":
        return "The training was made elsewhere, and nobody handed its curves in."
    if known:
        rest = f" {counted(known, 'training')} kept a history, the others did not."
        return f"Each training by itself, epoch by epoch.{rest if known < trainings else ''}"
    if by_engine(row):
        return (
            "No curves: the trainings’ history.csv does not lie beside the records, which the "
            "curves are drawn from."
        )
    return "No curves: the method trains in its own way and keeps no history.csv."


def guards_note(row: LeaderboardRow) -> str:
    """Why no guard watched; "" where they did."""
    if row.facts.guards is not None:
        return ""
    if row.facts.members:
        return "None watched: nothing was trained."
    if row.kind == "submitted":
        return "None watched: the training was made elsewhere."
    if by_engine(row):
        return "None watched: the records are older than the guards."
    return "None watched: the method trains in its own way, and guards are the engine’s."


def by_engine(row: LeaderboardRow) -> bool:
    """Whether the bench's own engine trained the row: it alone counts epochs."""
    return "epochs" in row.facts.cost


def recipe_note(row: LeaderboardRow) -> str:
    """What the switches below are to this row."""
    if row.facts.members:
        return "Nothing was trained; every switch stands with the rows that this one joins."
    if by_engine(row):
        return "Every switch with its value."
    return (
        "The method trains in its own way: its file says which switches it reads. Shown are those "
        "of the images, and those that differ from their default."
    )


def recipe(row: LeaderboardRow) -> tuple[tuple[str, str], ...]:
    """The switches that say something of the row, each with its value."""
    switches = row.facts.recipe
    if not by_engine(row) and not row.facts.members:
        usual = Recipe().model_dump()
        switches = {
            key: value
            for key, value in switches.items()
            if key in OF_IMAGES or value != usual.get(key, value)
        }
    return tuple((plain(key), spelled(value)) for key, value in switches.items())


def how_made(look: Closeup, close: IntervalFacts) -> tuple[tuple[str, str], ...]:
    """How the numbers of this page were made, as terms with their explanation."""
    intervals = (
        "The numbers by image and by class have the leaderboard’s own intervals. All others come "
        f"from {count(look.resamples)} resamples of whole {words.plural(close.unit)}, the first "
        "of the leaderboard’s, conditional on the trained models; BCa where an acceleration can "
        "be had, else percentile, as those of subgroups and of the partial AUC. Bands of curves "
        "are percentile, point by point."
    )
    return (("Intervals", intervals), *HOW_MADE)
