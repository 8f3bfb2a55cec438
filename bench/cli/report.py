"""`report`: the leaderboard again from what is in the results folder. Needs no images by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from bench.cli.board import open_bench, print_arms, print_data, print_table, score_and_render
from bench.cli.places import (
    image_sizes_option,
    protocol_option,
    results_option,
    source_options,
)
from bench.data.sources import DataChoice
from bench.errors import DataError


@click.command()
@protocol_option
@source_options
@results_option
@click.option(
    "--costs",
    type=click.Path(path_type=Path),
    help="CSV of what each mistake costs: a header truth,<class>,... and a row a class.",
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
) -> None:
    """Score and render again from what is in the results folder, beside the committed rows."""
    from bench.data.images import with_image_sizes
    from bench.run.results import refuse_unwritable

    bench = open_bench(protocol_name, data, images=with_images or image_sizes)
    if image_sizes:
        bench = replace(bench, source=with_image_sizes(bench.source))
    matrix = read_costs(costs, bench.source.manifest.classes) if costs else None
    refuse_unwritable(results)
    print_data(bench)
    leaderboard, page = score_and_render(
        bench, results, matrix, latex=latex, with_images=with_images
    )
    print_table(leaderboard)
    print_arms(leaderboard)
    click.echo(f"leaderboard: {page}")
    if latex:
        click.echo(f"paper: {page.parent / 'paper' / 'main.tex'}")


def read_costs(path: Path, classes: tuple[str, ...]) -> np.ndarray:
    """The cost matrix of a file. Raises DataError that names it."""
    from bench.score.extras import parse_costs

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"--costs {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"--costs {path}: is not UTF-8 text") from None
    return parse_costs(text, classes, f"--costs {path}")
