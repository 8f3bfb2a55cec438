"""The page of one row."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.leaderboard import (
    Estimate,
    Gap,
    HighLossImage,
    IntervalFacts,
    Leaderboard,
    LeaderboardRow,
    OperatingPoint,
    RowReport,
    Subgroup,
)
from bench.leaderboard.text import metric
from bench.recipe import Recipe
from bench.report import text
from bench.report import text as words
from bench.report.charts import Graph, swatches
from bench.report.format import (
    Name,
    count,
    counted,
    decimals,
    fixed,
    interval,
    name,
    plain,
    probability,
    said,
)
from bench.report.leaderboard_details import Confusion, RecipeText, confusion, recipes
from bench.report.leaderboard_page import ATTRIBUTES, TOO_FEW
from bench.report.row_charts import (
    class_curves,
    decision_graph,
    learning_graphs,
    ranking_graphs,
    reliability_graphs,
    selective_graph,
)
from bench.report.tables import Badge, Cell, RowHead, cell, metric_order, row_head, spelled
from bench.report.text import Banner, Fact, data_sheet, page_badges, page_banners

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


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


def units_note(board: Leaderboard, look: RowReport) -> str:
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


def malignant_note(look: RowReport) -> str:
    """Which classes are malignant."""
    if look.malignant is None:
        return "The data does not say which classes are malignant, so there is no such view."
    listed = ", ".join(name(label, 24).short for label in look.malignant_classes)
    return f"Malignant are {listed}: their probabilities are added up, and held against the rest."


def calibration_note(look: RowReport) -> str:
    """The temperatures that val asks for."""
    if not look.temperature:
        return "No val predictions in every fold, so no temperature could be fitted."
    listed = ", ".join(fixed(one, 2) for one in look.temperature)
    return (
        f"Temperatures fitted on each fold’s val: {listed}. Above 1 the row was too sure of itself."
    )


def gaps_note(look: RowReport) -> str:
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


def how_made(look: RowReport, close: IntervalFacts) -> tuple[tuple[str, str], ...]:
    """How the numbers of this page were made, as terms with their explanation."""
    intervals = (
        "The numbers by image and by class have the leaderboard’s own intervals. All others come "
        f"from {count(look.resamples)} resamples of whole {text.plural(close.unit)}, the first "
        "of the leaderboard’s, conditional on the trained models; BCa where an acceleration can "
        "be had, else percentile, as those of subgroups and of the partial AUC. Bands of curves "
        "are percentile, point by point."
    )
    return (("Intervals", intervals), *HOW_MADE)


@dataclass(frozen=True, slots=True)
class Pictured:
    """An image as a small JPEG, and the same under the map of the called class; b"" for none."""

    image: bytes
    cam: bytes = b""


@dataclass(frozen=True, slots=True)
class HardLine:
    """An image of a lesion: what it is, what it was called, how sure."""

    image: Name
    fold: str
    truth: Name
    truth_swatch: str
    called: Name
    called_swatch: str
    right: bool
    p_truth: str
    p_called: str
    loss: str
    picture: str
    cam: str
    alt: str


@dataclass(frozen=True, slots=True)
class HardLesionView:
    """A lesion with all its tested images."""

    lesion: Name
    group: Name | None
    loss: str
    images: tuple[HardLine, ...]


@dataclass(frozen=True, slots=True)
class Hardest:
    """The worst lesions, and whether any picture of them is there."""

    lesions: tuple[HardLesionView, ...]
    pictures: bool
    cams: bool


def hardest(
    look: RowReport, colours: Mapping[str, str], pictures: Mapping[str, Pictured]
) -> Hardest | None:
    """The worst lesions of a row; None where nobody looked for them. pictures: by image id."""
    if not look.hardest:
        return None
    lesions = tuple(
        HardLesionView(
            lesion=name(one.lesion_id),
            group=None if one.group_id == one.lesion_id else name(one.group_id),
            loss=fixed(one.loss, 2),
            images=tuple(
                _line(image, colours, pictures.get(image.image_id)) for image in one.images
            ),
        )
        for one in look.hardest
    )
    shown = [line for one in lesions for line in one.images]
    return Hardest(lesions, any(one.picture for one in shown), any(one.cam for one in shown))


def _line(image: HighLossImage, colours: Mapping[str, str], shown: Pictured | None) -> HardLine:
    truth, called = name(image.label, 24), name(image.called, 24)
    return HardLine(
        image=name(image.image_id),
        fold=str(image.fold),
        truth=truth,
        truth_swatch=colours[image.label],
        called=called,
        called_swatch=colours[image.called],
        right=image.label == image.called,
        p_truth=probability(image.p_label),
        p_called=probability(image.p_called),
        loss=fixed(image.loss, 2),
        picture=data_uri(shown.image) if shown else "",
        cam=data_uri(shown.cam) if shown else "",
        alt=f"{name(image.image_id).short}, {truth.short}, called {called.short}",
    )


def data_uri(jpeg: bytes) -> str:
    """A picture to stand in the page itself; "" for none."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""


def images_to_picture(look: RowReport) -> list[HighLossImage]:
    """The images of the hardest lesions."""
    return [image for lesion in look.hardest for image in lesion.images]


SHOWN_BY_SUBGROUP = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "macro_auc",
    "brier",
    "ece",
    "malignant_auc",
    "malignant_sensitivity",
)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of estimates: headings, and lines of a label, its note and its cells."""

    id: str
    caption: str
    corner: str
    heads: tuple[tuple[str, str], ...]
    lines: tuple[tuple[str, str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, slots=True)
class GapLine:
    """What sets the subgroups of an attribute apart most in one metric."""

    attribute: str
    metric: str
    worst: str
    best: str
    difference: str
    interval: str
    verdict: str
    settled: bool
    left_out: str


@dataclass(frozen=True, slots=True)
class MethodPage:
    """A row's page, ready to be laid out."""

    title: str
    kicker: str
    head: RowHead
    headline: str
    level: str
    standfirst: tuple[str, ...]
    banners: tuple[Banner, ...]
    badges: tuple[Badge, ...]
    facts: tuple[Fact, ...]
    units: Grid
    units_note: str
    classes: Grid
    malignant_note: str
    malignant: Grid | None
    operating: Grid | None
    ranking: tuple[Graph, ...]
    curves: tuple[tuple[str, tuple[Graph, ...]], ...]
    confusions: tuple[Confusion, ...]
    hardest: Hardest | None
    calibration: Grid
    calibration_note: str
    reliability: tuple[Graph, ...]
    extras: Grid
    decisions: tuple[Graph, ...]
    gaps: tuple[GapLine, ...]
    gaps_note: str
    subgroups: tuple[Grid, ...]
    unsplit: tuple[tuple[str, str], ...]
    learning: tuple[Graph, ...]
    learning_note: str
    guards: tuple[tuple[str, str], ...]
    guards_note: str
    recipe: tuple[tuple[str, str], ...]
    recipe_note: str
    recipes: tuple[RecipeText, ...]
    how_made: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def method_page(
    board: Leaderboard,
    row: LeaderboardRow,
    look: RowReport,
    files: Mapping[str, str],
    pictures: Mapping[str, Pictured] | None = None,
) -> MethodPage:
    """Everything a row's page says and draws.

    files     names of its data files and what they are
    pictures  of images, by their id
    """
    here = replace(board, pages={})  # this is the page that rows would link to
    close = replace(board.interval, resamples=look.resamples)
    colours = dict(zip(board.classes, swatches(board.classes), strict=True))
    return MethodPage(
        title=f"{name(row.name).short}, {words.title(board)}",
        kicker=" · ".join(("One row", said(board.dataset.title), plain(board.protocol))),
        head=row_head(here, row),
        headline=headline(board, row),
        level=f"{board.interval.level * 100:g}%",
        standfirst=tuple(standfirst(row)),
        banners=page_banners(board),
        badges=page_badges(board),
        facts=data_sheet(board),
        units=_units(board, row, look, close),
        units_note=units_note(board, look),
        classes=_classes(board, row),
        malignant_note=malignant_note(look),
        malignant=_malignant(look, close),
        operating=_operating(look.operating, close),
        ranking=ranking_graphs(look, colours),
        curves=class_curves(row, look, colours, board.interval),
        confusions=(confusion(here, row, is_open=True, calls=look.calls),),
        hardest=hardest(look, colours, pictures or {}),
        calibration=_calibration(board, look, close),
        calibration_note=calibration_note(look),
        reliability=reliability_graphs(look),
        extras=_extras(look, close),
        decisions=(*decision_graph(look), selective_graph(look)),
        gaps=tuple(_gap(gap) for gap in sorted(look.gaps, key=lambda gap: not gap.beyond_chance)),
        gaps_note=gaps_note(look),
        subgroups=tuple(_subgroups(look, close)),
        unsplit=tuple((ATTRIBUTES[key], plain(why)) for key, why in look.unsplit.items()),
        learning=learning_graphs(row),
        learning_note=learning_note(row),
        guards=tuple((plain(key), plain(text)) for key, text in (row.facts.guards or {}).items()),
        guards_note=guards_note(row),
        recipe=recipe(row),
        recipe_note=recipe_note(row),
        recipes=tuple(replace(one, open=True) for one in recipes(replace(here, rows=(row,)))),
        how_made=how_made(look, close),
        files=tuple(files.items()),
    )


def _units(board: Leaderboard, row: LeaderboardRow, look: RowReport, close: IntervalFacts) -> Grid:
    keys = [key for key in metric_order(board) if key in row.table.metrics]
    columns = [(row.table.metrics, board.interval)]
    columns += [(unit.table.metrics, close) for unit in look.units]
    heads = [("Images", counted(row.table.metrics["accuracy"].n, "image"))]
    heads += [
        (words.plural(unit.unit).capitalize(), counted(unit.items, "item")) for unit in look.units
    ]
    lines = tuple(
        (
            metric(key).title,
            metric(key).direction,
            tuple(cell(table.get(key), metric(key), facts) for table, facts in columns),
        )
        for key in keys
    )
    return Grid("units", "All metrics by unit of analysis", "Metric", tuple(heads), lines)


def _classes(board: Leaderboard, row: LeaderboardRow) -> Grid:
    lines = tuple(
        (
            name(label, 24).short,
            "",
            tuple(
                cell(row.table.per_class[label].get(key), metric(key), board.interval)
                for key in board.class_metrics
            ),
        )
        for label in board.classes
    )
    heads = tuple((metric(key).title, "") for key in board.class_metrics)
    return Grid("per-class", "Each class against all others", "Class", heads, lines)


def _malignant(look: RowReport, close: IntervalFacts) -> Grid | None:
    if look.malignant is None:
        return None
    table = look.malignant.per_class["malignant"]
    keys = ("auc", "ap", "recall", "specificity", "precision", "npv", "f1", "auc_pooled")
    rows = [(metric(key).title, "", table[key], key) for key in keys]
    if "partial_auc" in look.extras:
        about = metric("partial_auc")
        rows.insert(1, (about.title, about.meaning, look.extras["partial_auc"], "partial_auc"))
    lines = tuple((title, note, (cell(e, metric(key), close),)) for title, note, e, key in rows)
    return Grid(
        "malignant", "Malignant against benign", "Metric", (("Malignant", "above 0.5"),), lines
    )


def _operating(points: tuple[OperatingPoint, ...], close: IntervalFacts) -> Grid | None:
    if not points:
        return None
    rates = ("sensitivity", "specificity", "precision")
    lines = tuple(
        (
            name(point.target, 24).short,
            f"val: {point.percent}% {point.aim}",
            tuple(cell(getattr(point, rate), metric(rate), close) for rate in rates),
        )
        for point in points
    )
    heads = tuple((metric(rate).title, "on test") for rate in rates)
    return Grid("operating", "Operating points, thresholds chosen on val", "Target", heads, lines)


def _calibration(board: Leaderboard, look: RowReport, close: IntervalFacts) -> Grid:
    heads = [("As predicted", ""), ("At the temperature of val", "")][: len(look.calibration)]
    lines = [
        (
            metric(key).title,
            metric(key).direction,
            tuple(cell(one.metrics[key], metric(key), close) for one in look.calibration),
        )
        for key in look.calibration[0].metrics
    ]
    about = metric("classwise_ece")
    lines += [
        (
            f"ECE of {name(label, 24).short}",
            "its own probability",
            tuple(cell(one.by_class[label], about, close) for one in look.calibration),
        )
        for label in board.classes
    ]
    return Grid(
        "calibration-numbers", "Errors of calibration", "Metric", tuple(heads), tuple(lines)
    )


def _extras(look: RowReport, close: IntervalFacts) -> Grid:
    keys = [key for key in look.extras if key != "partial_auc"]
    lines = tuple(
        (metric(key).title, metric(key).meaning, (cell(look.extras[key], metric(key), close),))
        for key in keys
    )
    return Grid("extras", "Further numbers", "Metric", (("Value", ""),), lines)


def _gap(gap: Gap) -> GapLine:
    ends = gap.difference
    places = decimals(ends.low, ends.high, ends.n)
    return GapLine(
        attribute=ATTRIBUTES[gap.attribute],
        metric=metric(gap.metric).title,
        worst=name(gap.worst).short,
        best=name(gap.best).short,
        difference=fixed(ends.value, places),
        interval=interval(ends.low, ends.high, places),
        verdict="beyond chance" if gap.beyond_chance else "may be chance",
        settled=gap.beyond_chance,
        left_out=", ".join(name(value).short for value in gap.left_out),
    )


def _subgroups(look: RowReport, close: IntervalFacts) -> list[Grid]:
    keys = [
        key for key in SHOWN_BY_SUBGROUP if any(key in group.metrics for group in look.subgroups)
    ]
    heads = tuple((metric(key).title, metric(key).direction) for key in keys)
    found = []
    for attribute in dict.fromkeys(group.attribute for group in look.subgroups):
        lines = tuple(
            _subgroup(group, keys, close)
            for group in look.subgroups
            if group.attribute == attribute
        )
        title = ATTRIBUTES[attribute]
        found.append(Grid(f"by-{attribute.replace(' ', '-')}", title, title, heads, lines))
    return found


def _subgroup(
    group: Subgroup, keys: list[str], close: IntervalFacts
) -> tuple[str, str, tuple[Cell, ...]]:
    amount = f"{counted(group.images, 'image')}, {counted(group.groups, close.unit)}"
    if group.too_few:
        return name(group.value).short, amount, tuple(TOO_FEW for _ in keys)
    usual = replace(close, method="percentile")
    cells = tuple(cell(_found(group, key), metric(key), usual) for key in keys)
    return name(group.value).short, amount, cells


def _found(group: Subgroup, key: str) -> Estimate:
    return group.metrics.get(key, Estimate(math.nan))
