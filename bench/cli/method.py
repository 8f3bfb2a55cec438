"""`method` and `doctor`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import FiniteRange, results_option
from bench.settings import BASELINES, ROOT

if TYPE_CHECKING:
    from bench.run.doctor import Finding


@click.group()
def method() -> None:
    """List the methods with their passports; write a starting file; prove one fit for the bench."""


@method.command("list")
def list_methods() -> None:
    """Show every baseline, example and installed method with its passport."""
    from bench.run.registry import installed_methods, load_method, method_names

    for name in [*method_names(BASELINES), *installed_methods()]:
        loaded = load_method(name, BASELINES)
        click.echo(f"{click.style(name, bold=True)}\n{loaded.passport}\n")


@method.command("new")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["recipe", "model", "whole"]),
    default="recipe",
    show_default=True,
    help="recipe: a timm model and switches; model: a torch module of your own, which the bench "
    "trains; whole: anything that predicts.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of the file. Default: this one.",
)
def new_method(name: str, kind: str, folder: Path) -> None:
    """Write NAME.py, a commented file to start a method of your own from."""
    from bench.errors import MethodError
    from bench.run.registry import installed_methods, method_names
    from bench.run.templates import starting_file

    text = starting_file(name, kind, taken=[*method_names(BASELINES), *installed_methods()])
    path = folder / f"{name}.py"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise MethodError(f"{path}: is there already; take another name, or move it") from None
    click.echo(f"{path}: written; next:")
    click.echo(f"  python bench.py method check {path}")
    click.echo(f"  python bench.py run --protocol groupkfold5 --method {path}")


@method.command("check")
@click.argument("method_name", metavar="NAME or FILE.py")
@click.option(
    "--image-size",
    type=click.IntRange(8, 512),
    default=32,
    show_default=True,
    help="Pixels a side of the images that it is tried on.",
)
@click.option(
    "--seconds",
    type=FiniteRange(1),
    default=60.0,
    show_default=True,
    help="What one training on about a hundred images may take.",
)
@click.option(
    "--memory",
    "memory_gib",
    type=FiniteRange(0.1),
    default=8.0,
    show_default=True,
    help="GiB that it may hold.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    help="Keep the logs of all trainings in this folder, which must not exist.",
)
def check_method(
    method_name: str, image_size: int, seconds: float, memory_gib: float, folder: Path | None
) -> int:
    """Prove a method fit for the bench, in minutes, before days are spent on it.

    It is trained some fifteen times on a small part of the synthetic set: as it is, again,
    interrupted, with one thing changed each time. Exit 1 where a check failed.
    """
    from tempfile import TemporaryDirectory

    from bench.data.synthetic import open_synthetic
    from bench.run.check.check import Checkup, refuse_unknown

    refuse_unknown(method_name, BASELINES)
    with TemporaryDirectory(prefix="method-check-") as scratch:
        place = folder or Path(scratch) / "check"
        place.mkdir(parents=True)
        source = open_synthetic()
        os.environ["BENCH_CACHE"] = str(place.resolve() / "cache")  # nothing of a check stays
        checkup = Checkup(
            method_name, BASELINES, place.resolve(), image_size, seconds, memory_gib, _tell
        )
        failed = False
        for verdict in checkup.verdicts(source):
            failed = failed or verdict.passed is False
            _print(verdict)
    return 1 if failed else 0


def _tell(probe: str) -> None:
    """Say what is being tried, on a terminal alone."""
    if sys.stderr.isatty():
        click.echo(f"\x1b[2K\r  {probe} ...", err=True, nl=False)


def _print(verdict: Any) -> None:
    """A check in a line: green, or what is wrong and how to mend it."""
    word, colour = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("-", "yellow")}[
        verdict.passed
    ]
    if sys.stderr.isatty():
        click.echo("\x1b[2K\r", err=True, nl=False)
    click.echo(f"{click.style(f'{word:6}', fg=colour)}  {verdict.check:36}  {verdict.said}")


@click.command()
@results_option
def doctor(results: Path) -> int:
    """Say what this machine has, and what is missing for what.

    Exit 1 where the main job could not run (FAULT). Asks nothing of a network.
    """
    from bench.run.doctor import packages

    if not _told(packages(ROOT / "requirements.in")):
        return 1  # what looks further needs these packages

    from bench.run.doctor import examine

    sound = _told(_scoring())
    return 0 if _told(examine(ROOT, results)) and sound else 1


def _told(findings: Iterable[Finding]) -> bool:
    """Print findings as they come; whether the main job can run as far as they say."""
    from bench.io import strip_control

    sound = True
    for one in findings:
        sound &= one.state != "FAULT"
        cure = f"\n{'':9}-> {one.cure}" if one.cure else ""
        click.echo(strip_control(f"{one.state:8} {one.what}: {one.told}") + cure)
    return sound


def _scoring() -> Iterable[Finding]:
    """Whether the loops of the scoring are compiled here."""
    from bench.run.doctor import Finding

    try:
        import numpy as np

        from bench.score import kernels

        kernels.draw(np.uint64(0), 0, np.zeros((1, 64), np.uint8))
    except Exception as error:  # noqa: BLE001 - whatever numba raises where it cannot compile
        fault = f"numba cannot compile: {error}"
        yield Finding("FAULT", "scoring", fault, "use a Python and a NumPy that numba supports")
    else:
        yield Finding("ok", "scoring", "its loops are compiled by numba, and cached")
