"""An Atom feed (RFC 4287) of what a site shows: an entry a row, the latest first.

It is worked out from the rows as they are, so the same rows give the same bytes, and a row that is
removed is gone from it. Times are those of records, never of publishing.
"""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.report.format import plain

ATOM = "http://www.w3.org/2005/Atom"
NAMESPACE = uuid.UUID("6f0b6a4e-0f0e-5c53-9d0f-3a3c2b1c7d11")
EPOCH = "1970-01-01T00:00:00+00:00"
MOST = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A row on a board: what it is called, where it stands, when it was done."""

    key: str
    title: str
    summary: str
    href: str
    updated: str


def feed(title: str, entries: Sequence[Entry]) -> str:
    """The text of feed.xml; the address of an entry is relative to the feed's."""
    latest = sorted(entries, key=lambda one: (_time(one.updated), one.key), reverse=True)[:MOST]
    root = ET.Element("feed", xmlns=ATOM)
    _add(root, "id", _urn("feed", "rows"))  # the title may change, the feed stays the same
    _add(root, "title", title)
    _add(root, "updated", _time(latest[0].updated if latest else EPOCH))
    author = ET.SubElement(root, "author")
    _add(author, "name", "lesion-bench")
    ET.SubElement(root, "link", href="index.html", rel="alternate", type="text/html")
    for one in latest:
        entry = ET.SubElement(root, "entry")
        _add(entry, "id", _urn("row", one.key))
        _add(entry, "title", one.title)
        _add(entry, "updated", _time(one.updated))
        ET.SubElement(entry, "link", href=one.href, rel="alternate", type="text/html")
        _add(entry, "summary", one.summary)
    ET.indent(root, " ")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(root, encoding='unicode')}\n"


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = plain(text)


def _urn(kind: str, key: str) -> str:
    known = f"{kind}\0{key}".encode("utf-8", "backslashreplace").decode()
    return uuid.uuid5(NAMESPACE, known).urn


def _time(stated: str) -> str:
    """A time as RFC 3339 in UTC; one that cannot be read is the epoch."""
    try:
        found = datetime.fromisoformat(stated)
    except ValueError:
        found = datetime.fromisoformat(EPOCH)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
