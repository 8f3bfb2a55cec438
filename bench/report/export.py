"""CSV files of leaderboard and rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from bench.io import text_cell
from bench.leaderboard import Estimate, Leaderboard, RowReport
from bench.leaderboard.estimate import number, plain_data

__all__ = [
    "ENDS",
    "as_csv",
    "ends_of",
    "leaderboard_csv",
    "number",
    "per_class_csv",
    "plain_data",
    "subgroups_csv",
]

ENDS = ("value", "low", "high", "n")


def _number_cell(value: Any) -> str:
    known = number(value)
    return "" if known is None else repr(known)


def as_csv(rows: Iterable[Iterable[str]]) -> str:
    """Rows of cells as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def metric_names(board: Leaderboard) -> tuple[str, ...]:
    """All metrics that any row has, those of the page first."""
    found = [key for row in board.rows for key in row.table.metrics]
    return tuple(dict.fromkeys([board.primary, *board.metrics, *found]))


def ends_of(estimate: Estimate | None) -> list[str]:
    """Value, low, high and n as cells."""
    return [_number_cell(getattr(estimate, end)) if estimate else "" for end in ENDS]


def leaderboard_csv(board: Leaderboard) -> str:
    """One line a method: who it is, its rank, and every metric as value, low, high, n."""
    names = metric_names(board)
    columns = [f"{text_cell(key)}{end}" for key in names for end in ("", "_low", "_high", "_n")]
    about = ["name", "method", "kind", "complete", "rank", "rank_low", "rank_high", "p_best"]
    lines = [[*about, "seeds", "folds", "clears_reference", *columns]]
    lines += [
        [
            *map(text_cell, (row.name, row.method, row.kind)),
            str(row.complete).lower(),
            *map(_number_cell, (row.rank.best, row.rank.low, row.rank.high, row.rank.p_best)),
            " ".join(map(str, row.seeds)),
            " ".join(map(str, row.folds)),
            str(row.clears_reference).lower(),
            *(end for key in names for end in ends_of(row.table.metrics.get(key))),
        ]
        for row in board.rows
    ]
    return as_csv(lines)


def per_class_csv(board: Leaderboard) -> str:
    """One line a method, class and metric."""
    lines = [["name", "class", "metric", *ENDS, "interval_method", "marks"]]
    lines += [
        [
            *map(text_cell, (row.name, label, key)),
            *ends_of(one),
            text_cell(one.method),
            text_cell("; ".join(one.marks)),
        ]
        for row in board.rows
        for label, estimates in row.table.per_class.items()
        for key, one in estimates.items()
    ]
    return as_csv(lines)


def subgroups_csv(look: RowReport) -> str:
    """One line a subgroup and metric; a subgroup that is too small has one without numbers."""
    heads = ["attribute", "value", "images", "groups", "too_few", "metric"]
    lines = [[*heads, "estimate", "low", "high", "n", "interval_method", "marks"]]
    for group in look.subgroups:
        about = [
            *map(text_cell, (group.attribute, group.value)),
            str(group.images),
            str(group.groups),
            str(group.too_few).lower(),
        ]
        lines += [
            [*about, key, *ends_of(one), text_cell(one.method), text_cell("; ".join(one.marks))]
            for key, one in group.metrics.items()
        ]
        if group.too_few:
            lines.append([*about, *[""] * 7])
    return as_csv(lines)
