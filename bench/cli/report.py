"""`report`: the leaderboard again from what is in the results folder. Needs no images."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.board import open_bench, print_arms, print_data, print_table, score_and_render
from bench.cli.places import data_options, protocol_option, results_option


@click.command()
@protocol_option
@data_options
@results_option
def report(protocol_name: str, data: Path | None, name: str | None, results: Path) -> None:
    """Score and render again from what is in the results folder, beside the committed rows."""
    from bench.run.results import refuse_unwritable

    bench = open_bench(protocol_name, data, name)
    refuse_unwritable(results)
    print_data(bench)
    leaderboard, page = score_and_render(bench, results)
    print_table(leaderboard)
    print_arms(leaderboard)
    click.echo(f"leaderboard: {page}")
