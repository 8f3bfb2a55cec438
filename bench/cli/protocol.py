"""`protocol`: list, show, freeze and verify protocols."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import FiniteRange, source_options
from bench.cli.terminal import print_data
from bench.errors import RolesError

if TYPE_CHECKING:
    from bench.data.open import DatasetSpec


duplicates_option = click.option(
    "--duplicates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns image_a,image_b: images that must share a group. Default: the "
    "dataset's committed list, if there is one.",
)


@click.group()
def protocol() -> None:
    """List, show, freeze and verify protocols."""


@protocol.command("list")
def list_protocols() -> int:
    """List every protocol and the datasets it has frozen roles for. Exit 1 if one is broken."""
    from bench.workflows import protocols

    known, broken = protocols.list_protocols()
    for each in known:
        datasets = ", ".join(sorted(each.roles)) or "no roles"
        click.echo(f"{each.name}: {each.title} [{datasets}]")
    for error in broken:
        click.echo(f"BROKEN: {error}", err=True)
    return 1 if broken else 0


@protocol.command("show")
@click.argument("protocol_name", metavar="PROTOCOL")
@source_options
@click.option(
    "--disagreement",
    type=FiniteRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Assumed share of images on which two methods differ.",
)
@click.option(
    "--correlation",
    type=FiniteRange(0, 1),
    default=0.3,
    show_default=True,
    help="Assumed correlation of their differences within a group.",
)
@click.option(
    "--power",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Power to detect the smallest difference shown.",
)
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the folds to a .csv or .json, or to nnU-Net's splits_final.json.",
)
def show(
    protocol_name: str,
    data: DatasetSpec,
    disagreement: float,
    correlation: float,
    power: float,
    export: Path | None,
) -> None:
    """Show how balanced a protocol's folds are and what they can detect. Needs no images."""
    from bench.workflows.open import open_bench
    from bench.workflows.protocols import Assumed, describe_folds, export_folds

    bench = open_bench(protocol_name, data)
    rules, dataset = bench.protocol, bench.dataset
    if export is not None:
        export_folds(bench, export)
        click.echo(f"written: {export}")
    other = "" if dataset.unit == rules.unit else f"; here {dataset.unit}-level"
    click.echo(f"{rules.name}: {rules.title}{other}")
    click.echo(
        f"{rules.split.kind}, {rules.split.repeats} x {rules.split.folds} folds, "
        f"stratified by {', '.join(rules.split.stratify)}"
    )
    print_data(bench)
    balance, detectable = describe_folds(bench, Assumed(disagreement, correlation, power))
    click.echo(f"\nTest images (groups) of every fold:\n\n{balance}\n{detectable}")


@protocol.command("verify")
@click.argument("protocol_name", metavar="PROTOCOL")
@source_options
@duplicates_option
def verify_roles(protocol_name: str, data: DatasetSpec, duplicates: Path | None) -> int:
    """Prove frozen roles sound and drawn for this dataset. Exit 1 if they are not."""
    from bench.workflows import protocols

    try:
        verified = protocols.verify_roles(protocol_name, data, duplicates)
    except RolesError as error:
        click.echo(f"NOT SOUND: {error}", err=True)
        return 1
    click.echo(f"{verified.file}: sound")
    for statement in verified.proven:
        click.echo(f"- {statement}")
    for pair in verified.apart:
        click.echo(
            "known duplicates in two groups, because frozen roles never change: "
            f"{pair.image_a} and {pair.image_b} ({pair.verdict}; {pair.file})"
        )
    return 0


@protocol.command("freeze")
@click.argument("protocol_name", metavar="PROTOCOL")
@source_options
@click.option("--as", "new_name", help="Name of a new protocol with the same rules.")
@click.option("--folds", type=click.IntRange(1), help="Folds of the new protocol; needs --as.")
@click.option(
    "--dealer",
    "assigner",
    type=click.Choice(["greedy", "iterative"]),
    help="How groups are assigned to folds in the new protocol; needs --as.",
)
@duplicates_option
def freeze_roles(
    protocol_name: str,
    data: DatasetSpec,
    new_name: str | None,
    folds: int | None,
    assigner: str | None,
    duplicates: Path | None,
) -> None:
    """Draw the roles of a dataset once, by a protocol's rules, and write them."""
    from bench.workflows import protocols

    frozen = protocols.freeze_roles(
        protocol_name,
        data,
        new_name=new_name,
        folds=folds,
        assigner=assigner,
        duplicates=duplicates,
    )
    for statement in frozen.proven:
        click.echo(f"- {statement}")
    click.echo(
        f"frozen: {frozen.file} (sha256 {frozen.sha256[:12]}...), named in {frozen.protocol_file}"
    )
