"""A row's own page for programs: everything as JSON, the subgroups as CSV."""

from __future__ import annotations

import json

from bench.closeup import Closeup
from bench.estimates import Leaderboard, LeaderboardRow
from bench.foreign import text_cell
from bench.report.export import as_csv, ends_of, number, plain_data, row_data


def closeup_json(board: Leaderboard, row: LeaderboardRow, look: Closeup) -> str:
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


def subgroups_csv(look: Closeup) -> str:
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
