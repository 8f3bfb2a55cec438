"""The same rows seen otherwise: with lesions or patients as units, and on parts of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.closeup import Closeup, Subgroup
from bench.estimates import Estimate, IntervalFacts, Leaderboard
from bench.report.catalogue import metric
from bench.report.cells import Cell, cell
from bench.report.names import name, plain
from bench.report.numbers import counted
from bench.report.rows import row_head
from bench.report.tables import (
    Head,
    Line,
    Panel,
    RankCell,
    Table,
    about_metric,
    metric_panels,
)
from bench.report.words import plural

ATTRIBUTES = {
    "age": "Age in years",
    "sex": "Sex",
    "localization": "Body site",
    "dx_type": "How the diagnosis was made",
    "source": "Source",
    "image_size": "Image size",
}
SUBSET_METRICS = ("balanced_accuracy", "macro_auc", "malignant_auc")
"""Shown by subset beside the primary metric; all of them stand on the rows' own pages."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One way to slice the images, with panels to choose from."""

    id: str
    label: str
    about: str
    panels: tuple[Panel, ...]


def unit_slices(board: Leaderboard, looks: Mapping[str, Closeup]) -> tuple[Slice, ...]:
    """All metrics with images as units, then with lesions and patients where the data names them.

    Only images count for reference rows: nobody looked at those any closer.
    """
    slices = [Slice("unit-images", "Images", "", metric_panels(board))]
    names = dict.fromkeys(unit.unit for look in looks.values() for unit in look.units)
    for unit in names:
        tables = {
            row: one.table for row, look in looks.items() for one in look.units if one.unit == unit
        }
        rows = tuple(
            replace(row, table=tables[row.name]) for row in board.rows if row.name in tables
        )
        resamples = min(look.resamples for look in looks.values())
        seen = replace(
            board,
            rows=rows,
            interval=replace(board.interval, resamples=resamples),
            best_reference="",
        )
        about = (
            f"The predictions of a {plain(unit)}’s images in a fold are averaged into one item. "  # noqa: RUF001
            "Reference rows are scored by image only."
        )
        slices.append(
            Slice(
                f"unit-{plain(unit)}",
                plural(unit).capitalize(),
                about,
                metric_panels(seen, prefix=plain(unit)),
            )
        )
    return tuple(slices)


def subset_slices(board: Leaderboard, looks: Mapping[str, Closeup]) -> tuple[Slice, ...]:
    """Every row on the parts of the images that share a value of an attribute."""
    groups = [group for look in looks.values() for group in look.subgroups]
    close = replace(board.interval, method="percentile")
    slices = []
    for at, attribute in enumerate(dict.fromkeys(group.attribute for group in groups)):
        keys = [
            key
            for key in dict.fromkeys((board.primary, *SUBSET_METRICS))
            if any(key in group.metrics for group in groups if group.attribute == attribute)
        ]
        panels = tuple(
            _subset_panel(board, looks, attribute, key, f"subset-{at}-{index}", close)
            for index, key in enumerate(keys)
        )
        if panels:
            slices.append(Slice(f"subset-{at}", ATTRIBUTES[attribute], "", panels))
    return tuple(slices)


def _subset_panel(
    board: Leaderboard,
    looks: Mapping[str, Closeup],
    attribute: str,
    key: str,
    panel_id: str,
    close: IntervalFacts,
) -> Panel:
    shown = [row for row in board.rows if row.name in looks]
    found = {
        row.name: {
            one.value: one for one in looks[row.name].subgroups if one.attribute == attribute
        }
        for row in shown
    }
    sizes = {value: one for groups in found.values() for value, one in groups.items()}
    heads = tuple(
        Head(
            name(value, 24).short,
            f"{counted(one.images, 'image')}\n{counted(one.groups, plain(board.dataset.unit))}",
            "ascending" if metric(key).lower else "descending",
            name(value).full,
        )
        for value, one in sizes.items()
    )
    lines = tuple(
        Line(
            row_head(board, row),
            RankCell("", ""),
            tuple(_subset_cell(found[row.name].get(value), key, close) for value in sizes),
        )
        for row in shown
    )
    return Panel(panel_id, metric(key).title, about_metric(key), Table(heads, lines))


def _subset_cell(group: Subgroup | None, key: str, close: IntervalFacts) -> Cell:
    if group is not None and group.too_few:
        return TOO_FEW
    known = group.metrics.get(key) if group is not None else None
    return cell(known or Estimate(math.nan), metric(key), close)


TOO_FEW = Cell("", "–", "", "too few to say", (), "below 50 groups")  # noqa: RUF001
