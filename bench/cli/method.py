"""`method` and `doctor`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import FiniteRange, results_option

if TYPE_CHECKING:
    from bench.run.check.verdicts import Verdict
    from bench.run.doctor import Finding
    from bench.workflows.events import Event


@click.group()
def method() -> None:
    """List methods, write a starting file, check a method before long runs."""


@method.command("list")
def list_methods() -> None:
    """Show every baseline, example and installed method with its passport."""
    from bench.workflows.methods import list_methods

    for info in list_methods():
        click.echo(f"{click.style(info.name, bold=True)}\n{info.passport}\n")


@method.command("new")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["recipe", "model", "whole"]),
    default="recipe",
    show_default=True,
    help="recipe: a timm model with recipe options; model: your torch module, trained by the "
    "bench; whole: anything that predicts.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of the file. Default: the current folder.",
)
def new_method(name: str, kind: str, folder: Path) -> None:
    """Write NAME.py, a commented starting file for your method."""
    from bench.workflows.methods import new_method

    path = new_method(name, kind, folder)
    click.echo(f"{path}: written; next:")
    click.echo(f"  python bench.py method check {path}")
    click.echo(f"  python bench.py run --protocol groupkfold5 --method {path}")


@method.command("options")
@click.argument("name", required=False)
def list_options(name: str | None) -> None:
    """List the recipe options with default and help, or one option by NAME."""
    from rich.console import Console
    from rich.table import Table

    from bench.cli.terminal import PIPE_WIDTH
    from bench.workflows.methods import recipe_options

    table = Table("option", "type", "default", "help")
    for option in recipe_options(name):
        table.add_row(option.name, option.type, option.default, option.help)
    console = Console()
    Console(width=None if console.is_terminal else PIPE_WIDTH).print(table)


@method.command("check")
@click.argument("method_name", metavar="NAME or FILE.py")
@click.option(
    "--image-size",
    type=click.IntRange(8, 512),
    default=32,
    show_default=True,
    help="Side of the images in pixels.",
)
@click.option(
    "--seconds",
    type=FiniteRange(1),
    default=60.0,
    show_default=True,
    help="Time limit of one training on about a hundred images.",
)
@click.option(
    "--memory",
    "memory_gib",
    type=FiniteRange(0.1),
    default=8.0,
    show_default=True,
    help="Memory limit in GiB.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    help="Keep the logs of all trainings in this new folder.",
)
def check_method(
    method_name: str, image_size: int, seconds: float, memory_gib: float, folder: Path | None
) -> int:
    """Check a method in minutes, before days are spent on it.

    Trains it some fifteen times on a small part of the synthetic dataset: as it is, again,
    interrupted, and with one thing changed each time. Exit 1 if a check failed.
    """
    from bench.workflows.methods import CheckOptions, check_method

    options = CheckOptions(image_size, seconds, memory_gib, folder)
    failed = False
    for verdict in check_method(method_name, options, _print_probe):
        failed = failed or verdict.passed is False
        _print_verdict(verdict)
    return 1 if failed else 0


def _print_probe(event: Event) -> None:
    """Show which probe runs, on a terminal only."""
    from bench.workflows.events import Message

    if isinstance(event, Message) and sys.stderr.isatty():
        click.echo(f"\x1b[2K\r  {event.text} ...", err=True, nl=False)


def _print_verdict(verdict: Verdict) -> None:
    """Print a check in one line: passed, or what is wrong and how to fix it."""
    word, colour = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("-", "yellow")}[
        verdict.passed
    ]
    if sys.stderr.isatty():
        click.echo("\x1b[2K\r", err=True, nl=False)
    click.echo(f"{click.style(f'{word:6}', fg=colour)}  {verdict.check:36}  {verdict.message}")


@click.command()
@results_option
def doctor(results: Path) -> int:
    """Show what this machine has, and what is missing for which command.

    Exit 1 if the main job could not run (FAULT). Uses no network.
    """
    from bench.workflows.results import doctor

    return 0 if _print_findings(doctor(results)) else 1


def _print_findings(findings: Iterable[Finding]) -> bool:
    """Print findings; return whether the main job can run."""
    from bench.io import strip_control

    sound = True
    for finding in findings:
        sound &= finding.state != "FAULT"
        cure = f"\n{'':9}-> {finding.cure}" if finding.cure else ""
        click.echo(strip_control(f"{finding.state:8} {finding.what}: {finding.message}") + cure)
    return sound
