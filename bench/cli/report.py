"""`report`: the leaderboard again from what is in the results folder. Needs no images by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from bench.cli.board import open_bench, print_data, score_and_render
from bench.cli.board_text import print_arms, print_table
from bench.cli.costs import keep_costs
from bench.cli.places import (
    image_sizes_option,
    protocol_option,
    results_option,
    source_options,
)
from bench.data.sources import DataChoice


@click.command()
@protocol_option
@source_options
@results_option
@click.option(
    "--costs",
    type=click.Path(path_type=Path),
    help="CSV of what each mistake costs: a header truth,<class>,... and a row a class. Kept as "
    "costs.csv beside the leaderboard, and used until that is removed.",
)
@click.option(
    "--latex",
    is_flag=True,
    help="Write the parts of a paper, too: tables, figures, methods, references.",
)
@click.option(
    "--with-images",
    is_flag=True,
    help="Put small pictures of the lesions a row does worst on into its page, with Grad-CAM where "
    "its checkpoints are. Needs the images.",
)
@image_sizes_option
def report(
    protocol_name: str,
    data: DataChoice,
    results: Path,
    costs: Path | None,
    *,
    latex: bool,
    with_images: bool,
    image_sizes: bool,
) -> int:
    """Score and render again from what is in the results folder, beside the committed rows.

    Exit 1 where a fold counts as missing because its record or predictions are damaged.
    """
    from bench.data.images import with_image_sizes
    from bench.run.results import leaderboard_folder, refuse_unwritable

    bench = open_bench(protocol_name, data, images=with_images or image_sizes)
    if image_sizes:
        bench = replace(bench, source=with_image_sizes(bench.source))
    refuse_unwritable(results)
    if costs is not None:
        manifest = bench.source.manifest
        board = leaderboard_folder(results, bench.protocol.name, manifest.name)
        keep_costs(costs, board, manifest.classes)
    print_data(bench)
    leaderboard, page, found = score_and_render(
        bench, results, latex=latex, with_images=with_images
    )
    print_table(leaderboard)
    print_arms(leaderboard)
    click.echo(f"leaderboard: {page}")
    if latex:
        click.echo(f"paper: {page.parent / 'paper' / 'main.tex'}")
    return 1 if found.damaged else 0
