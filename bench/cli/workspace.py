"""`init`: write the workspace's bench.toml."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import results_option


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option("--dataset-name", help="Short name of the dataset, where its source has none.")
@click.option(
    "--groups",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with image_id and patient_id (or lesion_id, group_id).",
)
@click.option("--columns", help="Columns of your CSV table: image=...,label=...,group=...")
@click.option("--layout", help="Metadata layout, if the folder holds several.")
@click.option("--malignant", metavar="CLASS,...", help="Malignant classes.")
@results_option
@click.option("--replace", is_flag=True, help="Replace an existing bench.toml.")
def init(
    data: Path | None,
    dataset_name: str | None,
    groups: Path | None,
    columns: str | None,
    layout: str | None,
    malignant: str | None,
    results: Path,
    *,
    replace: bool,
) -> None:
    """Write bench.toml into the workspace: options that commands would repeat.

    Flags override it. The file explains each option.
    """
    from bench.config import Config, write_config
    from bench.settings import DEFAULT_RESULTS

    config = Config(
        data=None if data is None else str(data.resolve()),
        dataset_name=dataset_name,
        groups=None if groups is None else str(groups.resolve()),
        columns=columns,
        layout=layout,
        malignant=malignant,
        results=None if results == DEFAULT_RESULTS else str(results.resolve()),
    )
    click.echo(f"written: {write_config(config, overwrite=replace)}")
