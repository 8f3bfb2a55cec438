"""What a site tells programs: its boards as JSON and CSV, and a feed of its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from bench.foreign import text_cell
from bench.report.catalogue import metric
from bench.report.cells import cell
from bench.report.export import as_csv, number
from bench.report.feed import Entry
from bench.report.html import page_names
from bench.report.names import name
from bench.report.rows import REFERENCE
from bench.report.site_board import Board


def boards_json(boards: Sequence[Board]) -> str:
    """Every board with the primary metric of its rows."""
    content = [
        {
            "protocol": board.study.protocol.name,
            "dataset": board.study.manifest.name,
            "title": board.study.manifest.title,
            "synthetic": board.study.manifest.synthetic,
            "unit": board.study.manifest.unit,
            "href": f"{board.folder}/index.html",
            "json": f"{board.folder}/leaderboard.json",
            "csv": f"{board.folder}/leaderboard.csv",
            "primary": board.study.board.primary,
            "rows": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "complete": row.complete,
                    "rank": row.rank.best,
                    **{
                        end: number(getattr(row.table.metrics[board.study.board.primary], end))
                        for end in ("value", "low", "high", "n")
                    },
                }
                for row in board.study.board.rows
            ],
        }
        for board in boards
    ]
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def boards_csv(boards: Sequence[Board]) -> str:
    """The same, a line a row."""
    lines = [["protocol", "dataset", "row", "kind", "complete", "rank", "metric"]]
    lines[0] += ["value", "low", "high", "n"]
    for board in boards:
        found = board.study.board
        for row in found.rows:
            value = row.table.metrics[found.primary]
            ends = (value.value, value.low, value.high, value.n)
            told = ["" if number(end) is None else repr(number(end)) for end in ends]
            names = (found.protocol, found.dataset.name, row.name, row.kind)
            rank = "" if row.rank.best is None else str(row.rank.best)
            lines.append(
                [
                    *map(text_cell, names),
                    str(row.complete).lower(),
                    rank,
                    found.primary,
                    *told,
                ]
            )
    return as_csv(lines)


def entries(board: Board) -> list[Entry]:
    """An entry for every row that was trained or handed in."""
    found = board.study.board
    about = metric(found.primary)
    done: dict[str, str] = {}
    for one in board.offers:
        done[one.row] = max(done.get(one.row, ""), one.finished)
    pages = page_names([row.name for row in found.rows])
    entries = []
    for row in found.rows:
        if row.kind == REFERENCE:
            continue
        page = f"{board.folder}/methods/{quote(pages[row.name])}.html"
        there = f"methods/{pages[row.name]}.html" in board.pages
        value = cell(row.table.metrics.get(found.primary), about, found.interval)
        rank = f", rank {row.rank.best}" if row.rank.best is not None else ", not ranked"
        warning = "Synthetic data. " if found.dataset.synthetic else ""
        updated = row.facts.environment.get("finished") or row.facts.environment.get("accepted")
        entries.append(
            Entry(
                key="\0".join((board.folder, row.name, row.facts.hashes.get("row", ""))),
                title=f"{name(row.name).short} on {name(found.dataset.title).short}, "
                f"{found.protocol}",
                summary=f"{warning}{about.label} {value.text}{rank}.",
                href=page if there else f"{board.folder}/index.html",
                updated=updated or done.get(row.name, ""),
            )
        )
    return entries
