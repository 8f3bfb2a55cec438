"""The page of one row: tables and charts; its sentences are in `reports/method.html.j2`."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bench.leaderboard import (
    Curve,
    CurvePoint,
    Estimate,
    HighLossImage,
    IntervalFacts,
    Leaderboard,
    LeaderboardRow,
    RankCurves,
    RowReport,
    Subgroup,
)
from bench.leaderboard.text import metric
from bench.recipe import Recipe
from bench.report import text
from bench.report.charts import CurveSpec, Graph, Scale, diagonal, graph, scale_of, swatches
from bench.report.format import count, counted, name, plain, said
from bench.report.leaderboard_details import confusion, recipes
from bench.report.leaderboard_page import ATTRIBUTES, TOO_FEW
from bench.report.tables import Cell, cell, metric_order, row_head, spelled
from bench.report.text import data_sheet, page_badges, page_banners

IMAGE_OPTIONS = ("image_size", "hair_removal", "colour_constancy", "clahe")
"""Recipe options of image preparation; they hold for every method."""
SUBGROUP_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "macro_auc",
    "brier",
    "ece",
    "malignant_auc",
    "malignant_sensitivity",
)
MALIGNANT_METRICS = ("auc", "ap", "recall", "specificity", "precision", "npv", "f1", "auc_pooled")
UNIT = Scale(0.0, 1.0)
LARGEST_THRESHOLD = 0.6
"""The decision curve is drawn up to this threshold probability; the JSON holds all of it."""
HISTORY_TITLES = {"train_loss": "training loss", "val_loss": "val loss", "lr": "learning rate"}
AREAS = {"auc_pooled": "AUC", "ap_pooled": "AP"}
STROKES = 8
TEMPERATURES = ("as predicted", "at the temperature of val")


@dataclass(frozen=True, slots=True)
class Pictured:
    """An image as a small JPEG, and its Grad-CAM of the predicted class; b"" for none."""

    image: bytes
    cam: bytes = b""


class GridLine(NamedTuple):
    """A line of a grid: its heading, a note below the heading, its cells."""

    label: str
    note: str
    cells: tuple[Cell, ...]


class Grid(NamedTuple):
    """A table of estimates. heads: the heading of each column, with a note below it."""

    id: str
    caption: str
    corner: str
    heads: tuple[tuple[str, str], ...]
    lines: tuple[GridLine, ...]


def row_page(
    board: Leaderboard,
    row: LeaderboardRow,
    report: RowReport,
    files: Mapping[str, str],
    pictures: Mapping[str, Pictured] | None = None,
) -> dict[str, Any]:
    """Everything that the template of a row's page reads.

    files     names of its data files, and a description of each
    pictures  of images, by image id
    """
    here = replace(board, pages={})  # links from a row to its page would lead to this page
    facts = replace(board.interval, resamples=report.resamples)
    swatch = dict(zip(board.classes, swatches(board.classes), strict=True))
    uris = {key: (_uri(one.image), _uri(one.cam)) for key, one in (pictures or {}).items()}
    shown = [uris[one.image_id] for one in images_to_picture(report) if one.image_id in uris]
    return {
        "board": board,
        "row": row,
        "report": report,
        "title": f"{name(row.name).short}, {text.title(board)}",
        "kicker": " · ".join(("One row", said(board.dataset.title), plain(board.protocol))),
        "head": row_head(here, row),
        "primary": cell(row.table.metrics[board.primary], metric(board.primary), board.interval),
        "by_engine": by_engine(row),
        "banners": page_banners(board),
        "badges": page_badges(board),
        "facts": data_sheet(board),
        "attributes": ATTRIBUTES,
        "grids": dict(_grids(board, row, report, facts)),
        "subgroups": _subgroup_grids(report, facts),
        "ranking": ranking_graphs(report, swatch),
        "curves": class_curves(row, report, swatch, board.interval),
        "confusions": (confusion(here, row, is_open=True, calls=report.calls),),
        "swatch": swatch,
        "pictures": uris,
        "has_pictures": any(image for image, _ in shown),
        "has_cams": any(cam for _, cam in shown),
        "reliability": reliability_graphs(report),
        "decisions": (*decision_graph(report), selective_graph(report)),
        "learning": learning_graphs(row),
        "recipe": recipe(row),
        "recipes": [replace(one, open=True) for one in recipes(replace(here, rows=(row,)))],
        "files": tuple(files.items()),
    }


def images_to_picture(report: RowReport) -> list[HighLossImage]:
    """The images of the lesions with the highest loss."""
    return [image for lesion in report.hardest for image in lesion.images]


def _uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""


def by_engine(row: LeaderboardRow) -> bool:
    """Whether the engine of the bench trained the row; only the engine counts epochs."""
    return "epochs" in row.facts.cost


def recipe(row: LeaderboardRow) -> tuple[tuple[str, str], ...]:
    """The recipe options that may have an effect on the row, each with its value.

    A method that trains in its own way may ignore options; of those, the page shows the image
    options and the ones that differ from their default.
    """
    options = row.facts.recipe
    if not by_engine(row) and not row.facts.members:
        default = Recipe().model_dump()
        options = {
            key: value
            for key, value in options.items()
            if key in IMAGE_OPTIONS or value != default.get(key, value)
        }
    return tuple((plain(key), spelled(value)) for key, value in options.items())


# --- tables ---------------------------------------------------------------------------------------


def _grids(
    board: Leaderboard, row: LeaderboardRow, report: RowReport, facts: IntervalFacts
) -> Iterable[tuple[str, Grid]]:
    """The tables of the page by name; the ones that the data allow."""
    yield "units", _unit_grid(board, row, report, facts)
    yield "classes", _class_grid(board, row)
    if report.malignant is not None:
        yield "malignant", _malignant_grid(report, facts)
    if report.operating:
        yield "operating", _operating_grid(report, facts)
    yield "calibration", _calibration_grid(board, report, facts)
    lines = tuple(
        GridLine(metric(key).title, metric(key).meaning, (cell(estimate, metric(key), facts),))
        for key, estimate in report.extras.items()
        if key != "partial_auc"
    )
    yield "extras", Grid("extras", "Further metrics", "Metric", (("Value", ""),), lines)


def _unit_grid(
    board: Leaderboard, row: LeaderboardRow, report: RowReport, facts: IntervalFacts
) -> Grid:
    columns = [(row.table.metrics, board.interval)]
    columns += [(unit.table.metrics, facts) for unit in report.units]
    heads = [("Images", counted(row.table.metrics["accuracy"].n, "image"))]
    heads += [
        (text.plural(unit.unit).capitalize(), counted(unit.items, "item")) for unit in report.units
    ]
    lines = tuple(
        GridLine(
            metric(key).title,
            metric(key).direction,
            tuple(cell(table.get(key), metric(key), own) for table, own in columns),
        )
        for key in metric_order(board)
        if key in row.table.metrics
    )
    return Grid("units", "All metrics by unit of analysis", "Metric", tuple(heads), lines)


def _class_grid(board: Leaderboard, row: LeaderboardRow) -> Grid:
    lines = tuple(
        GridLine(
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


def _malignant_grid(report: RowReport, facts: IntervalFacts) -> Grid:
    table = _malignant_table(report)
    estimates = [(key, "", table[key]) for key in MALIGNANT_METRICS]
    if "partial_auc" in report.extras:
        note = metric("partial_auc").meaning
        estimates.insert(1, ("partial_auc", note, report.extras["partial_auc"]))
    lines = tuple(
        GridLine(metric(key).title, note, (cell(estimate, metric(key), facts),))
        for key, note, estimate in estimates
    )
    heads = (("Malignant", "above 0.5"),)
    return Grid("malignant", "Malignant against benign", "Metric", heads, lines)


def _malignant_table(report: RowReport) -> Mapping[str, Estimate]:
    return {} if report.malignant is None else report.malignant.per_class["malignant"]


def _operating_grid(report: RowReport, facts: IntervalFacts) -> Grid:
    rates = ("sensitivity", "specificity", "precision")
    lines = tuple(
        GridLine(
            name(point.target, 24).short,
            f"val: {point.percent}% {point.aim}",
            tuple(cell(getattr(point, rate), metric(rate), facts) for rate in rates),
        )
        for point in report.operating
    )
    heads = tuple((metric(rate).title, "on test") for rate in rates)
    return Grid("operating", "Operating points, thresholds chosen on val", "Target", heads, lines)


def _calibration_grid(board: Leaderboard, report: RowReport, facts: IntervalFacts) -> Grid:
    heads = [(title.capitalize(), "") for title in TEMPERATURES][: len(report.calibration)]
    lines = [
        GridLine(
            metric(key).title,
            metric(key).direction,
            tuple(cell(one.metrics[key], metric(key), facts) for one in report.calibration),
        )
        for key in report.calibration[0].metrics
    ]
    ece = metric("classwise_ece")
    lines += [
        GridLine(
            f"ECE of {name(label, 24).short}",
            "one class against the rest",
            tuple(cell(one.by_class[label], ece, facts) for one in report.calibration),
        )
        for label in board.classes
    ]
    caption = "Calibration errors"
    return Grid("calibration-numbers", caption, "Metric", tuple(heads), tuple(lines))


def _subgroup_grids(report: RowReport, facts: IntervalFacts) -> list[Grid]:
    """One table per attribute."""
    keys = [
        key for key in SUBGROUP_METRICS if any(key in group.metrics for group in report.subgroups)
    ]
    heads = tuple((metric(key).title, metric(key).direction) for key in keys)
    grids = []
    for attribute in dict.fromkeys(group.attribute for group in report.subgroups):
        lines = tuple(
            _subgroup_line(group, keys, facts)
            for group in report.subgroups
            if group.attribute == attribute
        )
        title = ATTRIBUTES[attribute]
        grids.append(Grid(f"by-{attribute.replace(' ', '-')}", title, title, heads, lines))
    return grids


def _subgroup_line(group: Subgroup, keys: Sequence[str], facts: IntervalFacts) -> GridLine:
    size = f"{counted(group.images, 'image')}, {counted(group.groups, facts.unit)}"
    percentile = replace(facts, method="percentile")
    undefined = Estimate(math.nan)
    cells = tuple(
        TOO_FEW
        if group.too_few
        else cell(group.metrics.get(key, undefined), metric(key), percentile)
        for key in keys
    )
    return GridLine(name(group.value).short, size, cells)


# --- charts ---------------------------------------------------------------------------------------


def reliability_graphs(report: RowReport) -> tuple[Graph, ...]:
    """Reliability curves of the top class and of malignancy, before and after temperature."""
    targets = [("Top class", "share predicted correctly")]
    curves = [[one.reliability for one in report.calibration]]
    if report.malignant_classes:
        targets.append(("Malignancy", "share of malignant images"))
        curves.append([one.malignant for one in report.calibration])
    return tuple(
        graph(
            f"Reliability, {title.lower()}",
            f"{title}: {share} against the predicted probability, in bins",
            ("predicted probability", share),
            [
                CurveSpec("perfect calibration", "guide", diagonal()),
                *(
                    CurveSpec(label, f"s{index}", curve, "points")
                    for index, (label, curve) in enumerate(zip(TEMPERATURES, own, strict=False))
                ),
            ],
            UNIT,
            UNIT,
        )
        for (title, share), own in zip(targets, curves, strict=True)
    )


def decision_graph(report: RowReport) -> tuple[Graph, ...]:
    """Net benefit against treating all and none; () if the data name no malignant classes."""
    if report.decision is None:
        return ()

    def cut(curve: Curve) -> Curve:
        return tuple(point for point in curve if point.x <= LARGEST_THRESHOLD + 1e-9)

    model, tempered = cut(report.decision.model), cut(report.decision.tempered)
    low = -0.25 * max(point.y for point in model)
    treat_all = tuple(point for point in cut(report.decision.treat_all) if point.y >= low)
    tops = [point.high for point in model] + [point.y for point in treat_all]
    none = (CurvePoint(0.0, 0.0), CurvePoint(LARGEST_THRESHOLD, 0.0))
    return (
        graph(
            "Decision curve, malignancy",
            "Net benefit of treating by the predicted probability of malignancy, compared with "
            "treating all images and none",
            ("threshold probability", "net benefit"),
            [
                CurveSpec("treat all", "guide all", treat_all),
                CurveSpec("treat none", "guide none", none),
                CurveSpec(TEMPERATURES[0], "s0", model, "band"),
                CurveSpec(TEMPERATURES[1], "s1", tempered),
            ],
            Scale(0.0, LARGEST_THRESHOLD),
            Scale(low, max(top for top in tops if math.isfinite(top))),
        ),
    )


def selective_graph(report: RowReport) -> Graph:
    """Risk-coverage curve: the error rate among the most confident images."""
    highs = [point.high if math.isfinite(point.high) else point.y for point in report.selective]
    return graph(
        "Selective prediction",
        "Error rate among the most confident images, by coverage (share of images answered)",
        ("coverage", "error rate"),
        [CurveSpec(TEMPERATURES[0], "s0", report.selective, "band")],
        UNIT,
        scale_of([0.0, *highs], (0.0, 1.0)),
    )


def ranking_graphs(report: RowReport, swatch: Mapping[str, str]) -> tuple[Graph, ...]:
    """ROC and precision-recall curves of malignancy and of every class, together."""

    def curves(which: str) -> list[CurveSpec]:
        return [
            CurveSpec(name(one.target, 24).short, swatch.get(one.target, "s0"), getattr(one, which))
            for one in report.ranking
        ]

    return (
        graph(
            "ROC",
            "Sensitivity against the false positive rate, malignancy and every class",
            ("false positive rate", "sensitivity"),
            [CurveSpec("chance", "guide", diagonal()), *curves("roc")],
            UNIT,
            UNIT,
        ),
        graph(
            "Precision-recall",
            "Precision against recall, malignancy and every class",
            ("recall", "precision"),
            curves("precision_recall"),
            UNIT,
            UNIT,
        ),
    )


def class_curves(
    row: LeaderboardRow, report: RowReport, swatch: Mapping[str, str], facts: IntervalFacts
) -> tuple[tuple[str, tuple[Graph, ...]], ...]:
    """ROC, then precision-recall curves: one graph per target with its band, titled with the area
    of the same pooled scores.
    """

    def title(one: RankCurves, key: str) -> str:
        table = row.table.per_class.get(one.target) or {}
        if one.target not in swatch:
            table = _malignant_table(report) or table
        target = name(one.target, 24).short
        if key not in table:
            return target
        area = cell(table[key], metric(key), facts)
        return ", ".join((target, f"pooled {AREAS[key]} {area.text}", *area.marks))

    def roc(one: RankCurves) -> Graph:
        curve = CurveSpec("", swatch.get(one.target, "s0"), one.roc, "band")
        return graph(
            title(one, "auc_pooled"),
            f"Sensitivity against false positive rate, {name(one.target, 24).short}",
            ("false positive rate", "sensitivity"),
            [CurveSpec("", "guide", diagonal()), curve],
            UNIT,
            UNIT,
        )

    def precision_recall(one: RankCurves) -> Graph:
        curve = CurveSpec("", swatch.get(one.target, "s0"), one.precision_recall, "band")
        return graph(
            title(one, "ap_pooled"),
            f"Precision against recall, {name(one.target, 24).short}",
            ("recall", "precision"),
            [curve],
            UNIT,
            UNIT,
        )

    return (
        ("ROC by class", tuple(map(roc, report.ranking))),
        ("Precision-recall by class", tuple(map(precision_recall, report.ranking))),
    )


def learning_graphs(row: LeaderboardRow) -> tuple[Graph, ...]:
    """Learning curves: one graph per column of the histories, one line per training."""
    columns = dict.fromkeys(key for history in row.facts.history.values() for key in history)
    return tuple(
        _learning_graph(row, key) for key in columns if key not in ("epoch", "seconds", "lr")
    )


def _learning_graph(row: LeaderboardRow, key: str) -> Graph:
    lines, values, last = [], [], 1.0
    strokes = _strokes(list(row.facts.history))
    for training, table in row.facts.history.items():
        if key in table:
            epochs = table.get("epoch") or tuple(float(at + 1) for at in range(len(table[key])))
            pairs = [(x, y) for x, y in zip(epochs, table[key], strict=True) if math.isfinite(y)]
            lines.append(CurveSpec(*strokes[training], tuple(CurvePoint(x, y) for x, y in pairs)))
            values += [y for _, y in pairs]
            last = max([last, *(x for x, _ in pairs)])
    title = plain(HISTORY_TITLES.get(key) or _history_title(key))
    return graph(
        title[:1].upper() + title[1:],
        f"{title} by epoch, one line for each of {count(len(lines))} trainings of {said(row.name)}",
        ("epoch", title),
        lines,
        Scale(1.0, max(last, 2.0), whole=True),
        scale_of(values, (-math.inf, math.inf)),
    )


def _strokes(trainings: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Label and stroke of every training; with more trainings than strokes, one per seed."""
    if len(trainings) <= STROKES:
        return {training: (plain(training), f"f{at}") for at, training in enumerate(trainings)}
    seeds = [training.partition(" fold ")[0] for training in trainings]
    stroke = {seed: at % STROKES for at, seed in enumerate(dict.fromkeys(seeds))}
    strokes: dict[str, tuple[str, str]] = {}
    for at, (training, seed) in enumerate(zip(trainings, seeds, strict=True)):
        first = seed not in seeds[:at]
        label = f"{seed}, {counted(seeds.count(seed), 'fold')}" if first else ""
        strokes[training] = (plain(label), f"f{stroke[seed]}")
    return strokes


def _history_title(key: str) -> str:
    known = key.removeprefix("val_")
    return f"val {metric(known).label}" if known != key else key.replace("_", " ")
