"""JSON and CSV files of leaderboard, comparison and row."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from bench.io import text_cell
from bench.leaderboard import (
    ArmReport,
    Comparison,
    Estimate,
    Leaderboard,
    LeaderboardRow,
    MetricTable,
    RowReport,
)

ENDS = ("value", "low", "high", "n")
WORDS, NUMBERS, LISTS = (str, bool), (int, float), (list, tuple, set)


def number(value: Any) -> float | int | None:
    """A number as strict JSON has it: undefined and infinite ones are null."""
    if isinstance(value, bool) or value is None:
        return value
    as_float = float(value)
    if not math.isfinite(as_float):
        return None
    return int(as_float) if as_float.is_integer() and not isinstance(value, float) else as_float


def plain_data(value: Any) -> Any:
    """Any value as plain JSON data; what JSON has no word for becomes text."""
    if value is None or isinstance(value, WORDS):
        return value
    if isinstance(value, NUMBERS):
        return number(value)
    if isinstance(value, LISTS):
        return [plain_data(inner) for inner in value]
    if is_dataclass(value):
        return {field.name: plain_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_data(inner) for key, inner in value.items()}
    return plain_data(value.tolist()) if hasattr(value, "tolist") else str(value)


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": number(estimate.value),
        "low": number(estimate.low),
        "high": number(estimate.high),
        "n": int(estimate.n),
        "method": estimate.method,
        "marks": list(estimate.marks),
    }


def _table(table: MetricTable) -> dict[str, Any]:
    return {
        "metrics": {key: _estimate(one) for key, one in table.metrics.items()},
        "per_class": {
            label: {key: _estimate(one) for key, one in estimates.items()}
            for label, estimates in table.per_class.items()
        },
    }


def _arms(report: ArmReport) -> dict[str, Any]:
    return {
        "kind": report.kind,
        "arms": [
            {
                "name": arm.name,
                "folds": [int(fold) for fold in arm.folds],
                "train_images": number(arm.train_images),
                "train_groups": number(arm.train_groups),
                "test_images": int(arm.test_images),
            }
            for arm in report.arms
        ],
        "rows": [
            {
                "name": row.name,
                "arm": row.arm,
                "seeds": [int(seed) for seed in row.seeds],
                "complete": bool(row.complete),
                **_table(row.table),
                "difference": None if row.difference is None else _table(row.difference),
                "by_seed": plain_data(row.by_seed),
                "over_seeds": {key: _estimate(one) for key, one in row.over_seeds.items()},
            }
            for row in report.rows
        ],
    }


def _tested(counts: tuple[int, int] | None) -> dict[str, int] | None:
    return None if counts is None else {"images": int(counts[0]), "groups": int(counts[1])}


def row_data(row: LeaderboardRow) -> dict[str, Any]:
    """A row as leaderboard.json has it."""
    facts = row.facts
    return {
        "name": row.name,
        "method": row.method,
        "kind": row.kind,
        "seeds": [int(seed) for seed in row.seeds],
        "folds": [int(fold) for fold in row.folds],
        "complete": bool(row.complete),
        "rank": {
            "best": number(row.rank.best),
            "low": number(row.rank.low),
            "high": number(row.rank.high),
            "p_best": number(row.rank.p_best),
            "shares": plain_data(row.rank.shares),
            "method": "percentile" if row.rank.low is not None else "",
            "marks": ["biased"] if row.rank.low is not None else [],
        },
        "tested": _tested(row.tested),
        **_table(row.table),
        "cost": {key: number(value) for key, value in facts.cost.items()},
        "confusion": plain_data(row.confusion),
        "by_fold": plain_data(row.by_fold),
        "seed_sd": plain_data(row.seed_sd),
        "clears_reference": bool(row.clears_reference),
        "unranked": facts.unranked,
        "variant": plain_data(facts.variant),
        "badges": list(facts.badges),
        "notes": list(facts.notes),
        "guards": plain_data(facts.guards),
        "command": facts.command,
        "environment": plain_data(facts.environment),
        "hashes": plain_data(facts.hashes),
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "a": one.a,
        "b": one.b,
        "metric": one.metric,
        "difference": number(one.difference),
        "low": number(one.low),
        "high": number(one.high),
        "p": number(one.p),
        "p_adjusted": number(one.p_adjusted),
        "verdict": one.verdict,
    }


def leaderboard_json(board: Leaderboard) -> str:
    """The text of leaderboard.json: strict JSON, an undefined value is null."""
    facts = board.dataset
    content = {
        "protocol": board.protocol,
        "unit": facts.unit,
        "dataset": {
            "name": facts.name,
            "title": facts.title,
            "roster_sha256": facts.roster_sha256,
            "images": int(facts.images),
            "groups": int(facts.groups),
            "synthetic": bool(facts.synthetic),
            "ungrouped": int(facts.ungrouped),
            "licence": facts.licence,
            "citation": facts.citation,
            "images_by_class": plain_data(facts.images_by_class),
            "groups_by_class": plain_data(facts.groups_by_class),
        },
        "classes": list(board.classes),
        "interval": {
            "level": number(board.interval.level),
            "resamples": int(board.interval.resamples),
            "unit": board.interval.unit,
            "method": board.interval.method,
        },
        "primary": board.primary,
        "best_reference": board.best_reference,
        "folds": int(board.folds),
        "repeats": int(board.repeats),
        "control": bool(board.control),
        "tested": _tested(board.tested),
        "methods": [row_data(row) | {"page": board.pages.get(row.name)} for row in board.rows],
        "absent": plain_data(board.absent),
        "comparisons": [_comparison(one) for one in board.comparisons],
        "tie_groups": plain_data(board.tie_groups),
        "mean_ranks": plain_data(board.mean_ranks),
        "arms": None if board.arms is None else _arms(board.arms),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


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


def closeup_json(board: Leaderboard, row: LeaderboardRow, look: RowReport) -> str:
    """The text of a row's JSON: strict, an undefined value is null.

    `row` is the row of leaderboard.json; `closeup` is what only this page has, with its own number
    of resamples.
    """
    content = {
        "protocol": board.protocol,
        "dataset": board.dataset.name,
        "roster_sha256": board.dataset.roster_sha256,
        "synthetic": bool(board.dataset.synthetic),
        "unit": board.interval.unit,
        "level": number(board.interval.level),
        "classes": list(board.classes),
        "row": row_data(row),
        "recipe": plain_data(row.facts.recipe),
        "history": plain_data(row.facts.history),
        "closeup": plain_data(look),
    }
    # a line a part: with an indent, json takes its slow way, most of a second for large rows
    lines = (
        f"{json.dumps(key)}: {json.dumps(part, ensure_ascii=False, allow_nan=False)}"
        for key, part in content.items()
    )
    return "{" + ",\n ".join(lines) + "}\n"


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
