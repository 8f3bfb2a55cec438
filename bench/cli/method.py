"""`method`: the methods and what is known of them."""

from __future__ import annotations

import click

from bench.cli.places import BASELINES


@click.group()
def method() -> None:
    """List the methods with their passports."""


@method.command("list")
def list_methods() -> None:
    """Show every baseline with its passport."""
    from bench.run.registry import load_method, method_names

    for name in method_names(BASELINES):
        loaded = load_method(name, BASELINES)
        click.echo(f"{click.style(name, bold=True)}\n{loaded.passport}\n")
