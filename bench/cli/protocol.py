"""`protocol`: list, show, freeze and verify protocols."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import click

from bench.cli.options import FiniteRange, source_options
from bench.data.open import DatasetSpec
from bench.errors import ProtocolError, RolesError
from bench.settings import PROTOCOLS

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
    """Name every protocol, and the datasets it has frozen roles for. Exit 1 if one is broken."""
    from bench.protocol import load_protocol
    from bench.workflows.report import refuse_unknown_metrics

    broken = []
    for path in sorted(PROTOCOLS.glob("*.toml")):
        try:
            known = load_protocol(path.stem, PROTOCOLS)
            refuse_unknown_metrics(known)
        except (ProtocolError, OSError) as error:
            broken.append(error)
            continue
        datasets = ", ".join(sorted(known.roles)) or "no roles"
        click.echo(f"{known.name}: {known.title} [{datasets}]")
    for fault in broken:
        click.echo(f"BROKEN: {fault}", err=True)
    return 1 if broken else 0


@protocol.command("show")
@click.argument("protocol_name", metavar="PROTOCOL")
@source_options
@click.option(
    "--disagreement",
    type=FiniteRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of images on which two methods are assumed to differ.",
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
    help="Chance of finding the smallest difference that is shown.",
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
    """Show how even a protocol's folds are and what they can detect. Needs no images."""
    from bench.folds.balance import balance_markdown, balance_table
    from bench.folds.export import export_text
    from bench.folds.power import Assumptions, detectable_markdown, detectable_table
    from bench.workflows.report import open_bench, print_data

    bench = open_bench(protocol_name, data)
    split, manifest = bench.protocol.split, bench.source.manifest
    if export is not None:
        _write_export(export, export_text(bench.roles, bench.protocol, export))
    other = "" if manifest.unit == bench.protocol.unit else f"; here {manifest.unit}-level"
    click.echo(f"{bench.protocol.name}: {bench.protocol.title}{other}")
    click.echo(
        f"{split.kind}, {split.repeats} x {split.folds} folds, "
        f"stratified by {', '.join(split.stratify)}"
    )
    print_data(bench)
    click.echo("\nTest images (groups) of every fold:\n")
    click.echo(balance_markdown(balance_table(bench.roles, manifest)))
    level = bench.protocol.interval.level
    assumed = Assumptions(disagreement, correlation, power, level)
    table = detectable_table(bench.roles, manifest, bench.protocol, assumed)
    click.echo(detectable_markdown(table, assumed))


def _write_export(path: Path, text: str) -> None:
    from bench.io import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise ProtocolError(f"--export {path}: cannot be written: {error.strerror}") from None
    click.echo(f"written: {path}")


@protocol.command("verify")
@click.argument("protocol_name", metavar="PROTOCOL")
@source_options
@duplicates_option
def verify_roles(protocol_name: str, data: DatasetSpec, duplicates: Path | None) -> int:
    """Prove frozen roles sound and the data's own; say what was proven. Exit 1 if they are not."""
    from bench.folds.verify import verify
    from bench.protocol import load_protocol, load_roles
    from bench.workflows.protocols import known_pairs, missed_pairs
    from bench.workflows.report import refuse_unknown_metrics

    known = load_protocol(protocol_name, PROTOCOLS)
    refuse_unknown_metrics(known)
    manifest = data.open(images=False).manifest
    try:
        roles = load_roles(known, manifest.name, PROTOCOLS)
        roles.refuse_other_roster(manifest)
        pairs = known_pairs(duplicates, manifest.name, manifest.image_ids.tolist())
        proven = verify(roles, manifest, known, pairs)
    except RolesError as error:
        click.echo(f"NOT SOUND: {error}", err=True)
        return 1
    click.echo(f"{known.roles[manifest.name].file}: sound")
    for statement in proven:
        click.echo(f"- {statement}")
    group_of = dict(zip(roles.image_ids, roles.group_ids, strict=True))
    for pair in missed_pairs(manifest.name, manifest.image_ids.tolist()):
        if group_of[pair.image_a] != group_of[pair.image_b]:
            click.echo(
                f"known, but left apart, for frozen roles never change: {pair.image_a} and "
                f"{pair.image_b} ({pair.verdict}; {pair.file})"
            )
    return 0


@protocol.command("freeze")
@click.argument("protocol_name", metavar="PROTOCOL")
@source_options
@click.option("--as", "new_name", help="Name of a new protocol with the same rules.")
@click.option("--folds", type=click.IntRange(1), help="Folds of the new protocol; needs --as.")
@click.option(
    "--dealer",
    type=click.Choice(["greedy", "iterative"]),
    help="Who deals the groups of the new protocol; needs --as.",
)
@duplicates_option
def freeze_roles(
    protocol_name: str,
    data: DatasetSpec,
    new_name: str | None,
    folds: int | None,
    dealer: str | None,
    duplicates: Path | None,
) -> None:
    """Draw the roles of a dataset once, by a protocol's rules, and write them into it."""
    from bench.folds.kinds import freeze
    from bench.folds.verify import absent_classes, verify
    from bench.io import write_atomically
    from bench.protocol import NAME, format_roles, load_protocol, parse_protocol
    from bench.workflows.protocols import known_pairs, missed_pairs, renamed, with_roles

    if new_name is not None and not re.fullmatch(NAME, new_name):
        raise ProtocolError(
            f"--as {new_name!r}: a protocol is named by lower-case letters, digits and hyphens"
        )
    rules = load_protocol(protocol_name, PROTOCOLS)
    manifest = data.open(images=False).manifest
    target = new_name or protocol_name
    toml = PROTOCOLS / f"{target}.toml"
    if new_name is None and manifest.name in rules.roles:
        raise ProtocolError(
            f"{protocol_name} has roles for {manifest.name}, and frozen roles never change; "
            f"give the new protocol a name: --as NAME"
        )
    if new_name is not None and toml.exists():
        raise ProtocolError(f"{toml} exists; choose another name")
    if folds is not None and new_name is None:
        raise ProtocolError("--folds: a protocol of other folds is another one; name it: --as NAME")
    if dealer is not None and new_name is None:
        raise ProtocolError(
            "--dealer: a protocol dealt by another is another one; name it: --as NAME"
        )
    text = (PROTOCOLS / f"{protocol_name}.toml").read_text(encoding="utf-8")
    if new_name is not None:
        text = renamed(text, new_name, folds, dealer)
        rules = parse_protocol(text, str(toml))
    ids = manifest.image_ids.tolist()
    pairs = known_pairs(duplicates, manifest.name, ids)
    if duplicates is None:  # what older roles leave apart need not stay so
        pairs += [(pair.image_a, pair.image_b) for pair in missed_pairs(manifest.name, ids)]
    roles = freeze(manifest, rules.split, pairs)
    content = format_roles(roles).encode()
    file = f"{target}/{manifest.name}.csv"
    sha256 = hashlib.sha256(content).hexdigest()
    by_source = rules.split.kind == "source-holdout"
    absent = absent_classes(roles, manifest) if by_source else {}
    text = with_roles(text, manifest.name, file, sha256, absent)
    try:
        proven = verify(roles, manifest, parse_protocol(text, str(toml)), pairs)
    except RolesError as error:
        raise RolesError(f"what was drawn is not sound, so nothing is written: {error}") from None
    for statement in proven:
        click.echo(f"- {statement}")
    write_atomically(PROTOCOLS / file, content)
    write_atomically(toml, text.encode())
    click.echo(f"frozen: {PROTOCOLS / file} (sha256 {sha256[:12]}...), named in {toml}")
