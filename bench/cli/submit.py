"""`submit`: predictions made elsewhere, checked and taken as a row of the leaderboard."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from bench.cli.board import open_bench, print_data, score_and_render
from bench.cli.board_text import print_table
from bench.cli.places import BASELINES, COMMITTED, protocol_option, results_option, source_options
from bench.data.sources import DataChoice

NOT_STATED = "not stated"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", "row", required=True, help="Name of the row.")
@protocol_option
@partial(source_options, name_option="--dataset-name")
@results_option
@click.option("--origin", default=NOT_STATED, help="Who made the predictions; paper or URL.")
@click.option("--licence", default=NOT_STATED, help="Licence of the predictions.")
@click.option(
    "--pretraining-data",
    default="undeclared",
    show_default=True,
    help='What the model saw before, such as "ImageNet-1k" or "none"; undeclared is not ranked.',
)
@click.option("--replace", is_flag=True, help="Take the place of an earlier submission.")
def submit(
    file: Path,
    row: str,
    protocol_name: str,
    data: DataChoice,
    results: Path,
    origin: str,
    licence: str,
    pretraining_data: str,
    replace: bool,  # noqa: FBT001
) -> None:
    """Take out-of-fold predictions made elsewhere (CSV or Parquet) as a row of the leaderboard.

    One row a test image: image_id and p_<class> of every class (or the ISIC challenges' header),
    with a column `fold` where the protocol tests an image more than once. Needs no images.
    """
    from bench.files import sha256_of
    from bench.run.registry import method_names
    from bench.run.results import refuse_unwritable
    from bench.run.submissions import (
        Submission,
        keep_submission,
        read_submission,
        refuse_committed,
        refuse_name,
        row_folder,
    )

    bench = open_bench(protocol_name, data)
    refuse_unwritable(results)
    print_data(bench)
    manifest = bench.source.manifest
    folder = row_folder(results, protocol_name, manifest.name, row)
    refuse_name(row, folder, method_names(BASELINES), replace=replace)
    refuse_committed(row, row_folder(COMMITTED, protocol_name, manifest.name, row))
    read_submission(file, bench.wanted)
    submission = Submission(
        name=row,
        protocol=protocol_name,
        dataset=manifest.name,
        roster_sha256=manifest.roster_sha256,
        roles_sha256=bench.roles_sha256,
        file=f"submission{'.parquet' if file.suffix.lower() == '.parquet' else '.csv'}",
        sha256=sha256_of(file),
        original=file.name,
        origin=origin,
        licence=licence,
        pretraining_data=pretraining_data,
        accepted=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    keep_submission(folder, file, submission)
    click.echo(f"accepted: {folder}; submitted: training not verified")
    leaderboard, page, _ = score_and_render(bench, results)
    print_table(leaderboard)
    click.echo(f"leaderboard: {page}")
