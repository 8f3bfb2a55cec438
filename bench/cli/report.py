"""`report`: the leaderboard again from what is in the results folder. Needs no images."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.board import open_bench, print_arms, print_data, print_table, score_and_render
from bench.cli.places import protocol_option, results_option, source_options
from bench.data.sources import DataChoice


@click.command()
@protocol_option
@source_options
@results_option
def report(protocol_name: str, data: DataChoice, results: Path) -> None:
    """Score and render again from what is in the results folder, beside the committed rows."""
    from bench.run.results import refuse_unwritable

    bench = open_bench(protocol_name, data)
    refuse_unwritable(results)
    print_data(bench)
    leaderboard, page = score_and_render(bench, results)
    print_table(leaderboard)
    print_arms(leaderboard)
    click.echo(f"leaderboard: {page}")
