"""Sections for protocols with arms: leakage meter and learning curve."""

# ruff: noqa: RUF001 - these strings are shown to people: they use typographic signs

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.leaderboard import LEAKAGE_METER, ArmReport, ArmRow, Estimate, Leaderboard, MetricTable
from bench.leaderboard.text import metric
from bench.report.charts import Scale, scale_of, scale_of_estimates
from bench.report.format import Name, count, counted, decimals, interval, name, plain, said, signed
from bench.report.tables import Cell, Line, RankCell, Table, cell, head, row_head

CLASS_METRICS = ("recall", "precision", "f1", "auc", "ap")
METER = (
    "Both arms have the same test and validation images, and train on the same number of images "
    "and groups of each class and source. The leaky arm trains on a second image of every tested "
    "group, the clean arm on none; the difference is the effect of leakage alone."
)
CURVE = (
    "All arms have the same test and validation images; they differ in the number of training "
    "groups, and smaller training parts are subsets of larger ones. If a recipe fixes the number "
    "of epochs, fewer images also mean fewer steps."
)
HEADINGS = {LEAKAGE_METER: ("Leakage meter", METER), "learning-curve": ("Learning curve", CURVE)}
PAIRED = (
    "Differences are paired: both arms on the same resampled groups, percentile intervals, "
    "conditional on the trained models. Their variation with the training is given by seed, with a "
    "t interval over the seeds."
)


@dataclass(frozen=True, slots=True)
class ArmHead:
    """The column of an arm: its name and the size of its training part."""

    label: str
    note: str


@dataclass(frozen=True, slots=True)
class ArmLine:
    """A row of the leaderboard in one measure: its estimate by arm, and the differences."""

    row: Name
    measure: str
    note: str
    values: tuple[Cell, ...]
    differences: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class ArmPanel:
    """Lines of one kind of measure; `zero` is the position of no difference on the scale."""

    id: str
    label: str
    lines: tuple[ArmLine, ...]
    zero: str


@dataclass(frozen=True, slots=True)
class ArmSection:
    """The section of the page; `plot` draws the primary metric of every row, arm by arm."""

    title: str
    about: str
    paired: str
    arms: tuple[ArmHead, ...]
    differences: tuple[ArmHead, ...]
    plot: Table
    panels: tuple[ArmPanel, ...]
    seeds: tuple[str, ...]


def arm_section(board: Leaderboard) -> ArmSection | None:
    """The section on arms; None without arms or without a row."""
    report = board.arms
    if report is None or not report.rows:
        return None
    title, about = HEADINGS.get(report.kind, ("Arms", ""))
    first, *others = report.arms
    unit = board.dataset.unit
    return ArmSection(
        title=title,
        about=about,
        paired=PAIRED,
        arms=tuple(
            ArmHead(
                plain(arm.name),
                f"trains on {count(arm.train_images)} images,\n"
                f"{counted(round(arm.train_groups), plain(unit))} a fold",
            )
            for arm in report.arms
        ),
        differences=tuple(
            ArmHead(f"{plain(arm.name)} − {plain(first.name)}", "paired") for arm in others
        ),
        plot=_plot(board, report),
        panels=tuple(_panels(board, report)),
        seeds=tuple(_seeds(board, report)),
    )


def _plot(board: Leaderboard, report: ArmReport) -> Table:
    """Every row in every arm on one axis, in the primary metric."""
    about = metric(board.primary)
    estimates = [row.table.metrics[board.primary] for row in report.rows]
    scale = scale_of_estimates(estimates, about.bounds)
    heads = {row.name: row_head(board, row) for row in board.rows}
    lines = tuple(
        Line(
            replace(heads[row.name], name=name(f"{row.name}, {row.arm}"), fault=""),
            RankCell("", ""),
            (cell(estimate, about, board.interval, scale),),
        )
        for row, estimate in zip(report.rows, estimates, strict=True)
    )
    return Table((head(board.primary),), lines, ("",), scale.ticks)


def shift(board: Leaderboard) -> tuple[str, Cell] | None:
    """The effect of leakage on the primary metric of the first row: label and cell."""
    report = board.arms
    if report is None or report.kind != LEAKAGE_METER or not report.rows:
        return None
    tables = [row.difference for row in report.rows if row.difference is not None]
    clean, leaky = (plain(arm.name) for arm in report.arms)
    label = f"{metric(board.primary).label}, {leaky} − {clean}"
    return (label, _difference(tables[0].metrics[board.primary], board)) if tables else None


def _panels(board: Leaderboard, report: ArmReport) -> Iterator[ArmPanel]:
    names = tuple(dict.fromkeys((board.primary, *board.metrics)))
    whole = [(key, "", key) for key in names]
    yield _panel(board, report, "arm-all", "All classes", whole)
    for key in CLASS_METRICS:
        by_class = [(key, label, label) for label in board.classes]
        yield _panel(board, report, f"arm-{key}", f"{metric(key).title} by class", by_class)


def _panel(
    board: Leaderboard,
    report: ArmReport,
    panel_id: str,
    label: str,
    measures: list[tuple[str, str, str]],
) -> ArmPanel:
    rows: dict[str, dict[str, ArmRow]] = {}
    for row in report.rows:
        rows.setdefault(row.name, {})[row.arm] = row
    tables = [row.difference for row in report.rows if row.difference]
    differences = [
        _of(table, key, label_)
        for key, label_, _ in measures
        for table in tables
        if metric(key).bounds[1] <= 1
    ]
    ends = [end for one in differences if one for end in (one.value, one.low, one.high)]
    scale = scale_of([*ends, 0.0], (-math.inf, math.inf))
    lines = [
        _line(board, report, key, label_, rows[row], scale)
        for key, label_, _ in measures
        for row in rows
    ]
    return ArmPanel(panel_id, label, tuple(lines), scale.at(0.0))


def _line(
    board: Leaderboard,
    report: ArmReport,
    key: str,
    label: str,
    arms: Mapping[str, ArmRow],
    scale: Scale,
) -> ArmLine:
    about = metric(key)
    values, differences = [], []
    for arm in report.arms:
        row = arms.get(arm.name)
        own = _of(row.table if row else None, key, label)
        values.append(cell(own, about, board.interval))
        if arm is not report.arms[0]:
            apart = _of(row.difference if row else None, key, label)
            differences.append(
                cell(None, about, board.interval)
                if apart is None
                else _difference(apart, board, key, scale)
            )
    some = next(iter(arms.values()))
    return ArmLine(
        row=name(some.name),
        measure=plain(label) if label else about.title,
        note="" if label else about.direction,
        values=tuple(values),
        differences=tuple(differences),
    )


def _of(table: MetricTable | None, key: str, label: str) -> Estimate | None:
    """The estimate of a metric; label: class, "" for all classes."""
    if table is None:
        return None
    return table.per_class.get(label, {}).get(key) if label else table.metrics.get(key)


def _difference(
    estimate: Estimate, board: Leaderboard, key: str = "", scale: Scale | None = None
) -> Cell:
    """A difference as a cell: sign, interval and drawing."""
    made = cell(estimate, metric(key or board.primary), board.interval, scale)
    if made.note:
        return made
    places = decimals(estimate.low, estimate.high, estimate.n)
    marks = tuple(mark for mark in made.marks if mark != "percentile")
    return replace(
        made,
        value=signed(estimate.value, places),
        interval=interval(estimate.low, estimate.high, places),
        marks=marks,
    )


def _seeds(board: Leaderboard, report: ArmReport) -> Iterator[str]:
    """The primary difference of each row and arm in every seed, as a sentence."""
    first = report.arms[0].name
    for row in report.rows:
        values = row.by_seed.get(board.primary, ())
        if row.difference is None or len(values) < 2:  # noqa: PLR2004
            continue
        differences = ", ".join(
            f"{signed(value, 3)} (seed {seed})"
            for seed, value in zip(row.seeds, values, strict=True)
        )
        label = metric(board.primary).label
        what = f"{said(row.name)}, {plain(row.arm)} − {plain(first)} in {label}"
        yield f"{what}: {differences}{row.seeds_text(board.primary)}."


ABOUT = (
    "Trained twice on the same number of images: with a second image of every tested group, and "
    "without. The difference is the effect of leakage; the interval over seeds gives its variation "
    "with the training."
)


@dataclass(frozen=True, slots=True)
class LeakLine:
    """A row of the meter: its estimate in each arm, and the paired differences to the first arm."""

    name: Name
    values: tuple[Cell, ...]
    differences: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """The result of a leakage meter, and the address of its page."""

    href: str
    about: str
    metric: str
    arms: tuple[str, ...]
    lines: tuple[LeakLine, ...]


def leak(href: str, board: Leaderboard) -> Leak | None:
    """The result of a leakage meter; None if no row has the primary metric in both arms."""
    report, key = board.arms, board.primary
    if report is None:
        return None
    names = [arm.name for arm in report.arms]
    rows: dict[str, dict[str, ArmRow]] = {}
    for row in report.rows:
        rows.setdefault(row.name, {})[row.arm] = row
    lines = tuple(
        LeakLine(
            name(row),
            tuple(
                cell(by_arm[arm].table.metrics[key], metric(key), board.interval) for arm in names
            ),
            tuple(_against_first(by_arm[arm], key) for arm in names[1:]),
        )
        for row, by_arm in rows.items()
        if by_arm.keys() == set(names) and _complete(by_arm, names, key)
    )
    return Leak(href, ABOUT, metric(key).label, tuple(map(plain, names)), lines) if lines else None


def _complete(by_arm: Mapping[str, ArmRow], names: Sequence[str], key: str) -> bool:
    """Whether a row has the metric in every arm, and its difference in all but the first."""
    differences = [by_arm[arm].difference for arm in names[1:]]
    tables = [*(by_arm[arm].table for arm in names), *differences]
    return all(table is not None and key in table.metrics for table in tables)


def _against_first(row: ArmRow, key: str) -> tuple[str, str]:
    """The difference to the first arm with its interval, and its interval over seeds."""
    difference = row.difference.metrics[key].signed_text(key) if row.difference else ""
    return difference, row.seeds_text(key).removeprefix(", ")
