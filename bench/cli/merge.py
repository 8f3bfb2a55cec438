"""`merge`: two results folders made one."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.places import results_option


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@results_option
def merge(source: Path, results: Path) -> None:
    """Copy every finished job and submission of SOURCE into --results.

    Refuses where both hold something else at one place; then nothing is copied. What is damaged in
    SOURCE is named and left out; what is damaged in --results is replaced.
    """
    from bench.run.merging import merge_results
    from bench.run.results import refuse_unwritable

    refuse_unwritable(results)
    merged = merge_results(source, results)
    for fault in merged.damaged:
        click.echo(f"left out, damaged: {fault}")
    click.echo(
        f"{results}: {merged.copied} copied from {source}, {merged.equal} were there already, "
        f"{merged.unfinished} unfinished jobs left where they are"
    )
