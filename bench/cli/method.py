"""`method`: the methods and what is known of them; a starting file for another."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.places import BASELINES


@click.group()
def method() -> None:
    """List the methods with their passports; write a starting file for another."""


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
    from bench.run.starting import starting_file

    text = starting_file(name, kind, taken=[*method_names(BASELINES), *installed_methods()])
    path = folder / f"{name}.py"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise MethodError(f"{path}: is there already; take another name, or move it") from None
    click.echo(f"{path}: written; next:")
    click.echo(f"  python bench.py run --protocol groupkfold5 --method {path} --folds 0")
