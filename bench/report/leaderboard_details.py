"""Confusion, folds, cost and reproduction sections of the leaderboard page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np

from bench.leaderboard import REFERENCE, CurvePoint, Estimate, Leaderboard, LeaderboardRow
from bench.leaderboard.text import metric
from bench.report.charts import SLOTS, CurveSpec, Graph, Scale, graph, scale_of
from bench.report.format import (
    brief,
    count,
    counted,
    duration,
    name,
    percent,
    plain,
    said,
    size,
)
from bench.report.tables import (
    Head,
    RowHead,
    about_metric,
    cell,
    class_heads,
    head,
    kind,
    lacking,
    metric_order,
    primary_scale,
    row_head,
    rows_in_view,
    spelled,
)

SHADES = 9
Calls = Sequence[Sequence[Estimate]]


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """Images of one class predicted as another: count, share of the row, shade 0 to 9."""

    count: str
    share: str
    shade: int
    hit: bool
    title: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """The confusion matrix of a row, true class in rows."""

    head: RowHead
    classes: tuple[Head, ...]
    lines: tuple[tuple[ConfusionCell, ...], ...]
    totals: tuple[str, ...]
    note: str
    open: bool


def confusion(
    board: Leaderboard, row: LeaderboardRow, *, is_open: bool, calls: Calls = ()
) -> Confusion:
    """The confusion matrix as counts and row shares. calls: the shares with their intervals."""
    counts = np.asarray(row.confusion, dtype=np.float64)
    totals = counts.sum(axis=1)
    classes = class_heads(board)
    lines = tuple(
        tuple(
            _confusion_cell(
                counts[truth, predicted],
                totals[truth],
                classes,
                (truth, predicted),
                _interval(board, calls[truth][predicted]) if calls else "",
            )
            for predicted in range(len(classes))
        )
        for truth in range(len(classes))
    )
    seeds = ", of the seeds that the metrics are of" if len(row.seeds) > 1 else ""
    return Confusion(
        head=row_head(board, row),
        classes=classes,
        lines=lines,
        totals=tuple(count(total) for total in totals),
        note=f"{counted(float(counts.sum()), 'test prediction')}{seeds}",
        open=is_open,
    )


def _confusion_cell(
    number: float, total: float, classes: tuple[Head, ...], at: tuple[int, int], ends: str
) -> ConfusionCell:
    truth, predicted = at
    share = number / total if total > 0 else math.nan
    what = f"{classes[truth].label} predicted as {classes[predicted].label}"
    return ConfusionCell(
        count=count(number),
        share=percent(share),
        shade=0 if math.isnan(share) else math.ceil(share * SHADES),
        hit=truth == predicted,
        title=f"{what}: {count(number)} of {count(total)} ({percent(share)}){ends}",
    )


def _interval(board: Leaderboard, share: Estimate) -> str:
    """`; share 0.208 [0.181, 0.236], 95% BCa interval, n = 1,113`."""
    shown = cell(share, metric("recall"), board.interval)
    return f"; share {shown.text}, {shown.title}"


def confusions(board: Leaderboard, shown: int = 4) -> tuple[Confusion, ...]:
    """A matrix per row; those of the first few methods are open, of reference rows closed."""
    methods = [row for row in board.rows if row.kind != REFERENCE][:shown]
    return tuple(
        confusion(board, row, is_open=any(row is method for method in methods))
        for row in board.rows
    )


@dataclass(frozen=True, slots=True)
class FoldPanel:
    """One metric fold by fold: its column and the scale of its values."""

    id: str
    key: str
    head: Head
    about: str
    scale: Scale


def fold_names(board: Leaderboard) -> tuple[str, ...]:
    """`Fold 0`, or `R0 fold 0` where the split is repeated, as the results folder counts them."""
    if board.repeats == 1:
        return tuple(f"Fold {fold}" for fold in range(board.folds))
    return tuple(f"R{r} fold {f}" for r in range(board.repeats) for f in range(board.folds))


def fold_panels(board: Leaderboard) -> list[FoldPanel]:
    """A panel for every metric with values by fold."""
    keys = [key for key in metric_order(board) if any(key in row.by_fold for row in board.rows)]
    panels = []
    for index, key in enumerate(keys):
        values = [v for row in rows_in_view(board, key) for v in row.by_fold.get(key, ())]
        scale = scale_of(values, metric(key).bounds)
        panels.append(FoldPanel(f"fold-{index}", key, head(key), about_metric(key), scale))
    return panels


@dataclass(frozen=True, slots=True)
class RecipeText:
    """Command, facts and hashes to reproduce a row and to verify the result."""

    head: RowHead
    open: bool
    command: str
    check: str
    passport: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    hashes: tuple[tuple[str, str], ...]


def _pairs(mapping: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((plain(str(key)), spelled(value)) for key, value in mapping.items())


def recipes(board: Leaderboard) -> tuple[RecipeText, ...]:
    """How to reproduce each row."""
    return tuple(_recipe(board, row) for row in board.rows)


def _check(board: Leaderboard, row: LeaderboardRow) -> str:
    """The command that prints the hashes of the reproduced predictions; "" without training."""
    if not row.facts.command or row.kind != "trained":
        return ""
    folder = "/".join((board.protocol, board.dataset.name, row.name.removesuffix(" (committed)")))
    return f"find results/{quote(folder)} -name predictions.parquet -exec sha256sum {{}} +"


def _recipe(board: Leaderboard, row: LeaderboardRow) -> RecipeText:
    head = row_head(board, row)
    facts = [
        ("row", plain(row.name)),
        ("method", plain(row.method)),
        ("kind", plain(kind(row))),
        (
            "variant",
            head.variant or "the default recipe of the method on the original images",
        ),
        ("seeds", ", ".join(map(str, row.seeds)) or "none"),
        ("folds", ", ".join(map(str, row.folds)) or "none"),
    ]
    if row.missing:
        facts.append(("missing", lacking(board, row)))
    if row.facts.unranked:
        facts.append(("unranked", plain(row.facts.unranked)))
    return RecipeText(
        head=head,
        open=False,
        command=plain(row.facts.command, lines=True),
        check=plain(_check(board, row)),
        passport=plain(row.facts.passport, lines=True).strip("\n"),
        facts=tuple(facts),
        notes=tuple(map(plain, (*row.facts.notes, *(row.facts.guards or {}).values()))),
        environment=_pairs(row.facts.environment),
        hashes=_pairs(row.facts.hashes),
    )


COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_seconds": ("Training time", duration),
    "peak_memory_bytes": ("Peak memory", size),
    "parameters": ("Parameters", brief),
    "wall_seconds": ("Wall time", duration),
    "images_per_second": ("Images per second", brief),
    "gpu_peak_memory_bytes": ("Peak memory of the GPU", size),
    "utilisation": ("Use of the device", percent),
}


def cost_keys(board: Leaderboard) -> list[str]:
    """The costs that any row has, the known ones first."""
    present = {key for row in board.rows for key in row.facts.cost}
    return [key for key in COSTS if key in present] + sorted(present - set(COSTS))


def cost_head(key: str) -> Head:
    """The column of a cost."""
    label = COSTS[key][0] if key in COSTS else name(key.replace("_", " ").capitalize()).short
    return Head(label, first="descending" if key.endswith("per_second") else "ascending")


def cost_cell(row: LeaderboardRow, key: str) -> tuple[str, str]:
    """A cost as a number to sort by ("" if unknown) and as text."""
    value = float(row.facts.cost.get(key, math.nan))
    write = COSTS[key][1] if key in COSTS else _writer(key)
    return ("" if math.isnan(value) else repr(value)), write(value)


def _writer(key: str) -> Callable[[float], str]:
    if key.endswith("seconds"):
        return duration
    return size if key.endswith("bytes") else brief


TICKS = (
    (1, 10, 60, 600, 3600, 36_000, 86_400, 604_800),
    (2, 5, 30, 120, 300, 1800, 7200, 18_000, 172_800),
    (20, 45, 90, 180, 900, 1200, 2700, 5400, 10_800, 28_800),
)
"""Seconds that an axis may name, the roundest first."""
NEAREST = 0.2
"""The share of the axis that the label of a tick needs."""


def trade_off(board: Leaderboard) -> Graph | None:
    """Training time against the primary metric; rows that no row surpasses in less time are named.

    None if fewer than two rows have a training time.
    """
    rows = [row for row in board.rows if _seconds(row) > 0 and _known(board, row)]
    if len(rows) < 2:  # noqa: PLR2004
        return None
    best = efficient(board, rows)
    label = metric(board.primary).label
    times = [_seconds(row) for row in rows]
    low, high = min(times) / 1.3, max(times) * 1.3
    ticks = _ticks(low, high) or sorted({min(times), max(times)})
    named = [row for row in rows if row.name in best]
    curves = [
        CurveSpec("", "guide", (_point(board, row),), "points") for row in rows if row not in named
    ]
    curves += [
        CurveSpec(name(row.name, 28).short, f"k{at % SLOTS}", (_point(board, row),), "points")
        for at, row in enumerate(named)
    ]
    texts = [
        f"{said(row.name)} {duration(_seconds(row))}, {board.primary_text(row)}" for row in named
    ]
    return graph(
        f"{metric(board.primary).title} against training time",
        f"Training time against {label}. Not surpassed in less time: {'; '.join(texts)}.",
        ("training time, all folds", label),
        curves,
        Scale(math.log10(low), math.log10(high)),
        primary_scale(board, rows),
        [(math.log10(tick), duration(tick)) for tick in ticks],
    )


def _point(board: Leaderboard, row: LeaderboardRow) -> CurvePoint:
    estimate = row.table.metrics[board.primary]
    return CurvePoint(math.log10(_seconds(row)), estimate.value, estimate.low, estimate.high)


def _ticks(low: float, high: float) -> list[float]:
    """Round times from low to high, as many as their labels leave room for."""
    ticks: list[float] = []
    for tick in (time for level in TICKS for time in level if low <= time <= high):
        apart = (abs(math.log(tick / other)) for other in ticks)
        if all(gap > NEAREST * math.log(high / low) for gap in apart):
            ticks.append(tick)
    return sorted(ticks) if len(ticks) > 1 else []


def efficient(board: Leaderboard, rows: list[LeaderboardRow]) -> set[str]:
    """The rows that no other row surpasses in less time (the Pareto front)."""
    lower = metric(board.primary).lower

    def worth(row: LeaderboardRow) -> float:
        value = row.table.metrics[board.primary].value
        return -value if lower else value

    return {
        row.name
        for row in rows
        if not any(
            worth(other) >= worth(row)
            and _seconds(other) <= _seconds(row)
            and (worth(other), -_seconds(other)) != (worth(row), -_seconds(row))
            for other in rows
        )
    }


def _seconds(row: LeaderboardRow) -> float:
    return float(row.facts.cost.get("train_seconds", math.nan))


def _known(board: Leaderboard, row: LeaderboardRow) -> bool:
    return math.isfinite(row.table.metrics[board.primary].value)
