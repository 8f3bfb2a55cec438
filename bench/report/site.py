"""A site of all leaderboards as files: index, pages, tables, predictions, feed, checksums.

`render_site` touches no disk but the templates: what it gives depends on its input alone, so the
same results make the same bytes. Every link is relative.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report.feed import feed
from bench.report.html import as_bytes, render_page
from bench.report.site_board import Board
from bench.report.site_index import index_page, title
from bench.report.site_offers import images_page, predictions_page
from bench.report.site_tables import boards_csv, boards_json, entries

MARK = "site.json"
SUMS = "SHA256SUMS"
FEED = "feed.xml"
KIND = "lesion-bench site"
VERSION = 1
PREDICTIONS = "predictions.html"
IMAGES = "images.html"
FILES = (
    ("boards.csv", "this table"),
    ("boards.json", "the same for programs"),
    (FEED, "rows by when they were done, for a feed reader (Atom)"),
    (SUMS, "sha256 of every file: sha256sum -c SHA256SUMS"),
)

Content = bytes | Path


def render_site(boards: Sequence[Board], absent: Sequence[str] = ()) -> dict[str, Content]:
    """Every file of the site by its path in it.

    absent  boards that are not shown, and why, a sentence each
    """
    files: dict[str, Content] = {}
    for board in boards:
        for path, content in board.pages.items():
            files[f"{board.folder}/{path}"] = as_bytes(content)
        files[f"{board.folder}/{PREDICTIONS}"] = as_bytes(predictions_page(board))
        if board.galleries:
            files[f"{board.folder}/{IMAGES}"] = as_bytes(images_page(board))
        for offer in board.offers:
            files[offer.name] = offer.source
    files["index.html"] = as_bytes(
        render_page("site.html.j2", page=index_page(boards, absent, FILES), feed=FEED)
    )
    files["boards.json"] = as_bytes(boards_json(boards))
    files["boards.csv"] = as_bytes(boards_csv(boards))
    files[FEED] = as_bytes(
        feed(title(boards), [entry for board in boards for entry in entries(board)])
    )
    files[MARK] = as_bytes(json.dumps({"kind": KIND, "version": VERSION}) + "\n")
    files[SUMS] = as_bytes(_sums(files))
    return files


def _sums(files: Mapping[str, Content]) -> str:
    """sha256 and path of every file, as `sha256sum -c` reads it."""
    lines = []
    for path, content in sorted(files.items()):
        data = content.read_bytes() if isinstance(content, Path) else content
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {path}\n")
    return "".join(lines)


def listed_files(sums: str) -> set[str]:
    """The paths that a SHA256SUMS names, itself among them."""
    paths = {line.partition("  ")[2] for line in sums.splitlines() if "  " in line}
    return paths | {SUMS}


def is_mark(text: str) -> bool:
    """Whether this is what site.json says in a site of ours, of whatever version."""
    try:
        return bool(json.loads(text)["kind"] == KIND)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
