"""A leaderboard as a site holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bench.files import Download
from bench.report.eda import Gallery
from bench.report.study import Study


@dataclass(frozen=True)
class Board:
    """A board as a site shows it: its pages by name, the files of its rows, pictures if any."""

    study: Study
    pages: Mapping[str, str | bytes]
    offers: Sequence[Download]
    galleries: tuple[Gallery, ...] = ()

    @property
    def folder(self) -> str:
        """Where its pages lie in the site."""
        return f"{self.study.protocol.name}/{self.study.manifest.name}"

    @property
    def up(self) -> str:
        """The way from there to the site's root: `../../`."""
        return "../" * len(PurePosixPath(self.folder).parts)
