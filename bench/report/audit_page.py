"""The page of an audit, with the images of duplicate pairs; text in `reports/audit.html.j2`."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from bench.data.audit import Audit
from bench.data.images import decode
from bench.data.issues import ISSUE_KINDS
from bench.report.format import said
from bench.report.render import render_page

MOST_PAIRS = 60
"""Maximum number of pairs with images; the JSON lists all pairs."""
MOST_SIZES = 8
WIDTH = 300
QUALITY = 80


def render_audit(audit: Audit) -> str:
    """The page of an audit."""
    dataset, pairs = audit.manifest, audit.pairs[:MOST_PAIRS]
    synthetic = "Synthetic data: " if dataset.synthetic else ""
    page = {
        "title": f"{synthetic}{said(dataset.title)}, audit",
        "audit": audit,
        "groups": len(set(dataset.native_groups.tolist())),
        "blocking": [finding for finding in audit.findings if finding.about.grave],
        "notes": [finding for finding in audit.findings if not finding.about.grave],
        "kinds": ISSUE_KINDS,
        "pairs": pairs,
        "images": {
            image_id: _data_uri(image_id, audit.files)
            for pair in pairs
            for image_id in (pair.image_a, pair.image_b)
        },
        "most_sizes": MOST_SIZES,
    }
    return render_page("audit.html.j2", page=page)


def _data_uri(image_id: str, files: Mapping[str, Path]) -> str:
    """The image, small, as a data URI; "" if it cannot be read."""
    try:
        image = Image.fromarray(decode(files[image_id].read_bytes()))
    except (OSError, ValueError, KeyError):
        return ""
    image.thumbnail((WIDTH, WIDTH))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
