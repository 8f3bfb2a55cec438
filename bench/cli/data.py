"""`data`: what is in a dataset."""

from __future__ import annotations

import click

from bench.cli.audit import audit
from bench.cli.duplicates import duplicates
from bench.cli.eda import eda
from bench.cli.pixels import cache, preprocess
from bench.cli.places import source_options
from bench.data.sources import DataChoice


@click.group()
def data() -> None:
    """Show what is in a dataset."""


data.add_command(audit)
data.add_command(preprocess)
data.add_command(cache)
data.add_command(duplicates)
data.add_command(eda)


@data.command("info")
@source_options
def info(data: DataChoice) -> None:
    """Say who is in a dataset: images, groups, classes, what is missing. Needs no images."""
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    manifest = data.open(images=False).manifest
    click.echo(f"{manifest.title} ({manifest.name}){', SYNTHETIC' if manifest.synthetic else ''}")
    click.echo(f"licence: {manifest.licence}\ncitation: {manifest.citation}")
    click.echo(f"roster sha256: {manifest.roster_sha256}")
    click.echo(f"groups are {manifest.unit}s; {manifest.ungrouped} images without a group id")
    if manifest.ungrouped:
        click.echo("grouping incomplete: each of these images counts as a group of its own")
    frame = manifest.table.assign(group=manifest.native_groups)
    table = Table("class", "images", "groups", "lesions")
    for label in (*manifest.classes, None):
        rows = frame if label is None else frame[frame["label"] == label]
        lesions = rows["lesion_id"].nunique() if rows["lesion_id"].notna().any() else "n/a"
        counts = (len(rows), rows["group"].nunique(), lesions)
        table.add_row(label or "all", *map(str, counts))
    Console().print(table)
    missing = {c: int(pd.isna(frame[c]).sum()) for c in ("age", "sex", "localization", "source")}
    click.echo("missing: " + ", ".join(f"{column} {count}" for column, count in missing.items()))
