"""What the rows cost: time, memory, size and speed, as far as it is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.estimates import Leaderboard, LeaderboardRow
from bench.report.names import name
from bench.report.numbers import brief, duration, percent, size
from bench.report.rows import RowHead, row_head
from bench.report.tables import Head

COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_seconds": ("Training time", duration),
    "peak_memory_bytes": ("Peak memory", size),
    "parameters": ("Parameters", brief),
    "wall_seconds": ("Wall time", duration),
    "images_per_second": ("Images per second", brief),
    "gpu_peak_memory_bytes": ("Peak memory of the GPU", size),
    "utilisation": ("Use of the device", percent),
}


@dataclass(frozen=True, slots=True)
class CostLine:
    """A row's costs, each with the number to sort by."""

    head: RowHead
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CostTable:
    """What the rows cost; rows of which nothing is known are left out.

    joined  whether some of these are ensembles, whose cost is their members'
    """

    heads: tuple[Head, ...]
    lines: tuple[CostLine, ...]
    joined: bool = False


def cost_table(board: Leaderboard) -> CostTable:
    """Costs by name, the known ones first."""
    present = {key for row in board.rows for key in row.facts.cost}
    keys = [key for key in COSTS if key in present] + sorted(present - set(COSTS))
    lines = [
        CostLine(row_head(board, row), tuple(cost_cell(row, key) for key in keys))
        for row in board.rows
        if row.facts.cost
    ]
    joined = any(row.facts.members for row in board.rows)
    return CostTable(tuple(cost_head(key) for key in keys), tuple(lines), joined)


def cost_head(key: str) -> Head:
    """A cost's column."""
    label = COSTS[key][0] if key in COSTS else name(key.replace("_", " ").capitalize()).short
    return Head(label, first="descending" if key.endswith("per_second") else "ascending")


def cost_cell(row: LeaderboardRow, key: str) -> tuple[str, str]:
    """A cost to sort by, "" where it is unknown, and as it is written."""
    value = float(row.facts.cost.get(key, math.nan))
    write = COSTS[key][1] if key in COSTS else _writer(key)
    return ("" if math.isnan(value) else repr(value)), write(value)


def _writer(key: str) -> Callable[[float], str]:
    if key.endswith("seconds"):
        return duration
    return size if key.endswith("bytes") else brief
