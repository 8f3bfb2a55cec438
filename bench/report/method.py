"""A row's own page as plain words, numbers already rounded, and places to draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.closeup import Closeup, Gap, OperatingPoint, Subgroup
from bench.estimates import Estimate, IntervalFacts, Leaderboard, LeaderboardRow
from bench.report import method_words as told
from bench.report import words
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.details import Confusion, Recipe, confusion, recipes
from bench.report.hardest import Hardest, Pictured, hardest
from bench.report.headed import Banner, Fact, data_sheet, page_badges, page_banners
from bench.report.lines import Graph
from bench.report.method_graphs import (
    class_curves,
    decision_graph,
    learning_graphs,
    ranking_graphs,
    reliability_graphs,
    selective_graph,
)
from bench.report.names import name, plain, said
from bench.report.numbers import counted, decimals, fixed, interval
from bench.report.palette import swatches
from bench.report.rows import Badge, RowHead, row_head
from bench.report.slices import ATTRIBUTES, TOO_FEW
from bench.report.tables import metric_order

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
    recipes: tuple[Recipe, ...]
    how_made: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def method_page(
    board: Leaderboard,
    row: LeaderboardRow,
    look: Closeup,
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
        headline=told.headline(board, row),
        level=f"{board.interval.level * 100:g}%",
        standfirst=tuple(told.standfirst(row)),
        banners=page_banners(board),
        badges=page_badges(board),
        facts=data_sheet(board),
        units=_units(board, row, look, close),
        units_note=told.units_note(board, look),
        classes=_classes(board, row),
        malignant_note=told.malignant_note(look),
        malignant=_malignant(look, close),
        operating=_operating(look.operating, close),
        ranking=ranking_graphs(look, colours),
        curves=class_curves(row, look, colours, board.interval),
        confusions=(confusion(here, row, is_open=True, calls=look.calls),),
        hardest=hardest(look, colours, pictures or {}),
        calibration=_calibration(board, look, close),
        calibration_note=told.calibration_note(look),
        reliability=reliability_graphs(look),
        extras=_extras(look, close),
        decisions=(*decision_graph(look), selective_graph(look)),
        gaps=tuple(_gap(gap) for gap in sorted(look.gaps, key=lambda gap: not gap.beyond_chance)),
        gaps_note=told.gaps_note(look),
        subgroups=tuple(_subgroups(look, close)),
        unsplit=tuple((ATTRIBUTES[key], plain(why)) for key, why in look.unsplit.items()),
        learning=learning_graphs(row),
        learning_note=told.learning_note(row),
        guards=tuple((plain(key), plain(text)) for key, text in (row.facts.guards or {}).items()),
        guards_note=told.guards_note(row),
        recipe=told.recipe(row),
        recipe_note=told.recipe_note(row),
        recipes=tuple(replace(one, open=True) for one in recipes(replace(here, rows=(row,)))),
        how_made=told.how_made(look, close),
        files=tuple(files.items()),
    )


def _units(board: Leaderboard, row: LeaderboardRow, look: Closeup, close: IntervalFacts) -> Grid:
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


def _malignant(look: Closeup, close: IntervalFacts) -> Grid | None:
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


def _calibration(board: Leaderboard, look: Closeup, close: IntervalFacts) -> Grid:
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


def _extras(look: Closeup, close: IntervalFacts) -> Grid:
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


def _subgroups(look: Closeup, close: IntervalFacts) -> list[Grid]:
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
