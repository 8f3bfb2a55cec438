"""The page of an audit.

The page of real images shows them: it is the user's own copy.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.data.audit import Audit, Finding, Pair
from bench.data.images import decode
from bench.data.issues import ISSUE_KINDS
from bench.report.format import count, counted, plain, said
from bench.report.render import render_page

PICTURED = 60
"""So many pairs are shown with their pictures; all of them stand in the JSON."""
WIDTH = 300
QUALITY = 80
SIZES_SHOWN = 8
STANDINGS = {"frozen": "known, united", "missed": "known, left apart", "new": "new"}


@dataclass(frozen=True, slots=True)
class Half:
    """One picture of a pair."""

    image_id: str
    group: str
    label: str
    source: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair with its pictures side by side."""

    title: str
    grave: bool
    standing: str
    evidence: str
    halves: tuple[Half, Half]


def render_audit(done: Audit) -> str:
    """The page of an audit."""
    return render_page("audit.html.j2", page=_page(done))


def _page(done: Audit) -> dict[str, object]:
    manifest = done.manifest
    grave = [finding for finding in done.findings if finding.about.grave]
    mild = [finding for finding in done.findings if not finding.about.grave]
    title = f"{'Synthetic data: ' if manifest.synthetic else ''}{said(manifest.title)}, audit"
    return {
        "title": title,
        "kicker": "Audit of a dataset",
        "heading": plain(manifest.title),
        "synthetic": manifest.synthetic,
        "failed": done.failed,
        "headline": _headline(grave),
        "standfirst": _standfirst(done),
        "facts": _facts(done),
        "sections": [
            _section("grave", "Must be mended", "They forbid or falsify training.", grave),
            _section("notes", "To be known", "They forbid nothing, but say what to expect.", mild),
        ],
        "pairs": _pairs(done),
        "pairs_all": len(done.pairs),
        "search": done.search and done.search.method,
    }


def _headline(grave: list[Finding]) -> str:
    if not grave:
        return "Nothing was found that must not be ignored."
    kinds = counted(len(grave), "kind")
    return f"{kinds} of fault must not be ignored: {counted(sum(f.count for f in grave), 'case')}."


def _standfirst(done: Audit) -> list[str]:
    if not done.images_read:
        return ["There are no image files here: only the metadata was looked at."]
    if done.search is None:
        return [
            "Every image was read and decoded to its end; files of the same bytes are named.",
            "Near duplicates were not searched.",
        ]
    return ["Every image was read and decoded to its end, and compared with all others."]


def _facts(done: Audit) -> list[tuple[str, str]]:
    manifest = done.manifest
    facts = [
        ("Rows used", count(len(manifest))),
        ("Groups", f"{counted(len(set(manifest.native_groups.tolist())), manifest.unit)}"),
        ("Without a group", counted(manifest.ungrouped, "image")),
        ("Images read", count(done.images_read)),
    ]
    if done.sizes:
        shown = list(done.sizes.items())[:SIZES_SHOWN]
        more = len(done.sizes) - len(shown)
        lines = [f"{size}: {count(number)}" for size, number in shown]
        facts.append(("Sizes", "\n".join(lines + ([f"and {more} more sizes"] if more else []))))
    if done.search is not None:
        told = f"{count(done.search.candidates)} candidates, {count(done.search.dropped)} dropped"
        facts.append(("Near duplicates across groups", told))
        facts.append(("Near pairs within groups", count(done.search.within)))
    if done.pairs or done.known.united:
        facts.append(("Known and new pairs", done.standing.text))
    return [*facts, ("Roster", manifest.roster_sha256), ("Licence", plain(manifest.licence))]


def _section(anchor: str, title: str, about: str, found: list[Finding]) -> dict[str, object]:
    findings = [_finding(finding) for finding in found]
    return {"id": anchor, "title": title, "about": about, "findings": findings}


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "title": finding.about.title,
        "meaning": finding.about.meaning,
        "count": count(finding.count),
        "more": finding.count - len(finding.named),
        "named": [(plain(fault.where), plain(fault.what)) for fault in finding.named],
    }


def _pairs(done: Audit) -> list[Shown]:
    return [_shown(pair, done.files) for pair in done.pairs[:PICTURED]]


def _shown(pair: Pair, files: Mapping[str, Path]) -> Shown:
    kind = ISSUE_KINDS[pair.kind]
    halves = (
        _half(pair.image_a, pair.group_a, pair.label_a, files),
        _half(pair.image_b, pair.group_b, pair.label_b, files),
    )
    standing = STANDINGS[pair.standing]
    return Shown(kind.title, kind.grave, standing, plain(pair.evidence), halves)


def _half(image_id: str, group: str, label: str, files: Mapping[str, Path]) -> Half:
    return Half(plain(image_id), plain(group), plain(label), _data_uri(image_id, files))


def _data_uri(image_id: str, files: Mapping[str, Path]) -> str:
    """The picture, small, as a data URI; nothing where it cannot be read."""
    try:
        image = Image.fromarray(decode(files[image_id].read_bytes()))
    except (OSError, ValueError, KeyError):
        return ""
    image.thumbnail((WIDTH, WIDTH))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
