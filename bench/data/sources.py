"""Where data comes from: a folder as people have it, read as a Manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.manifest import Manifest


@dataclass(frozen=True)
class Source:
    """A dataset on disk: who is in it, and the folder below which its images lie."""

    manifest: Manifest
    folder: Path
