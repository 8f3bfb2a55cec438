"""`doctor`: what this machine has, and what is missing for what."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.places import ROOT, results_option

if TYPE_CHECKING:
    from bench.run.installed import Finding


@click.command()
@results_option
def doctor(results: Path) -> int:
    """Say what this machine has, and what is missing for what.

    Exit 1 where the main job could not run (FAULT). Asks nothing of a network.
    """
    from bench.run.installed import packages

    if not _told(packages(ROOT / "requirements.in")):
        return 1  # what looks further needs these packages

    from bench.run.doctor import examine

    sound = _told(_scoring())
    return 0 if _told(examine(ROOT, results)) and sound else 1


def _told(findings: Iterable[Finding]) -> bool:
    """Print findings as they come; whether the main job can run as far as they say."""
    from bench.foreign import printable

    sound = True
    for one in findings:
        sound &= one.state != "FAULT"
        cure = f"\n{'':9}-> {one.cure}" if one.cure else ""
        click.echo(printable(f"{one.state:8} {one.what}: {one.told}") + cure)
    return sound


def _scoring() -> Iterable[Finding]:
    """Whether the loops of the scoring are compiled here."""
    from bench.run.installed import Finding
    from bench.score.kernels import compiled

    form = compiled().form
    if form == "numba":
        yield Finding("ok", "scoring", "its loops are compiled by numba, and cached")
    else:
        told = "numba cannot compile here: the same numbers by NumPy, many times slower"
        yield Finding("note", "scoring", told, "use a machine and a Python that numba supports")
