"""`protocol`: list, show, freeze and verify protocols."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from bench.cli.places import PROTOCOLS, data_options
from bench.errors import ProtocolError, RolesError, listing


@click.group()
def protocol() -> None:
    """List, show, freeze and verify protocols."""


@protocol.command("list")
def list_protocols() -> None:
    """Name every protocol, and the datasets it has frozen roles for."""
    from bench.protocol import load_protocol

    for path in sorted(PROTOCOLS.glob("*.toml")):
        known = load_protocol(path.stem, PROTOCOLS)
        datasets = ", ".join(sorted(known.roles)) or "no roles"
        click.echo(f"{known.name}: {known.title} [{datasets}]")


@protocol.command("show")
@click.argument("protocol_name", metavar="PROTOCOL")
@data_options
@click.option(
    "--disagreement",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of images on which two methods are assumed to differ.",
)
@click.option(
    "--correlation",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Assumed correlation of their differences within a group.",
)
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
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
    data: Path | None,
    name: str | None,
    disagreement: float,
    correlation: float,
    power: float,
    export: Path | None,
) -> None:
    """Show how even a protocol's folds are and what they can detect. Needs no images."""
    from bench.cli.board import open_bench, print_data
    from bench.splits.balance import balance_markdown, balance_table
    from bench.splits.detectable import Assumptions, detectable_markdown, detectable_table
    from bench.splits.export import export_text

    bench = open_bench(protocol_name, data, name)
    split, manifest = bench.protocol.split, bench.source.manifest
    if export is not None:
        _write_export(export, export_text(bench.roles, bench.protocol, export))
    click.echo(f"{bench.protocol.name}: {bench.protocol.title}")
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
    from bench.files import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise ProtocolError(f"--export {path}: cannot be written: {error.strerror}") from None
    click.echo(f"written: {path}")


@protocol.command("verify")
@click.argument("protocol_name", metavar="PROTOCOL")
@data_options
@click.option(
    "--duplicates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns image_a,image_b: known duplicates that must share a group.",
)
def verify_roles(
    protocol_name: str, data: Path | None, name: str | None, duplicates: Path | None
) -> int:
    """Prove frozen roles sound and the data's own; say what was proven. Exit 1 if they are not."""
    from bench.data.sources import open_source
    from bench.protocol import load_protocol, load_roles
    from bench.splits.leakage import verify

    known = load_protocol(protocol_name, PROTOCOLS)
    manifest = open_source(data, name, images=False).manifest
    try:
        roles = load_roles(known, manifest.name, PROTOCOLS)
        roles.refuse_other_roster(manifest)
        proven = verify(roles, manifest, known, duplicates=read_pairs(duplicates))
    except RolesError as error:
        click.echo(f"NOT SOUND: {error}", err=True)
        return 1
    click.echo(f"{known.roles[manifest.name].file}: sound")
    for statement in proven:
        click.echo(f"- {statement}")
    return 0


@protocol.command("freeze")
@click.argument("protocol_name", metavar="PROTOCOL")
@data_options
@click.option("--as", "new_name", help="Name of a new protocol with the same rules.")
@click.option(
    "--duplicates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns image_a,image_b: images that must share a group.",
)
def freeze_roles(
    protocol_name: str,
    data: Path | None,
    name: str | None,
    new_name: str | None,
    duplicates: Path | None,
) -> None:
    """Draw the roles of a dataset once, by a protocol's rules, and write them into it."""
    from bench.data.sources import open_source
    from bench.files import write_atomically
    from bench.protocol import format_roles, load_protocol, parse_protocol
    from bench.splits.freeze import freeze
    from bench.splits.leakage import absent_classes, verify

    rules = load_protocol(protocol_name, PROTOCOLS)
    manifest = open_source(data, name, images=False).manifest
    target = new_name or protocol_name
    toml = PROTOCOLS / f"{target}.toml"
    if new_name is None and manifest.name in rules.roles:
        raise ProtocolError(
            f"{protocol_name} has roles for {manifest.name}, and frozen roles never change; "
            f"give the new protocol a name: --as NAME"
        )
    if new_name is not None and toml.exists():
        raise ProtocolError(f"{toml} exists; choose another name")
    text = (PROTOCOLS / f"{protocol_name}.toml").read_text(encoding="utf-8")
    if new_name is not None:
        text = _renamed(text, new_name)
    roles = freeze(manifest, rules.split, read_pairs(duplicates))
    content = format_roles(roles).encode()
    file = f"{target}/{manifest.name}.csv"
    sha256 = hashlib.sha256(content).hexdigest()
    text = f'{text.rstrip()}\n\n[roles.{manifest.name}]\nfile = "{file}"\nsha256 = "{sha256}"\n'
    if rules.split.kind == "source-holdout":
        text += _absent_toml(absent_classes(roles, manifest))
    drawn = parse_protocol(text, str(toml))
    for statement in verify(roles, manifest, drawn, duplicates=read_pairs(duplicates)):
        click.echo(f"- {statement}")
    write_atomically(PROTOCOLS / file, content)
    write_atomically(toml, text.encode())
    click.echo(f"frozen: {PROTOCOLS / file} (sha256 {sha256[:12]}...), named in {toml}")


def _absent_toml(absent: Mapping[str, Sequence[str]]) -> str:
    """What a roles file lacks, as a key of its section."""
    entries = [
        f'"{place}" = [{", ".join(json.dumps(name) for name in names)}]'
        for place, names in absent.items()
    ]
    return f"absent = {{ {', '.join(entries)} }}\n" if entries else ""


def _renamed(text: str, name: str) -> str:
    """A protocol's TOML under another name, without the roles of the old one."""
    sections = re.split(r"(?m)^(?=\[)", text)
    kept = [section for section in sections if not section.startswith("[roles.")]
    return re.sub(r'(?m)^name = ".*"', f'name = "{name}"', "".join(kept), count=1)


def read_pairs(path: Path | None) -> list[tuple[str, str]]:
    """Pairs of image ids from a CSV with the columns image_a and image_b."""
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if not {"image_a", "image_b"} <= set(reader.fieldnames or ()):
                raise RolesError(f"{path}: needs the columns image_a and image_b")
            pairs = [(row["image_a"], row["image_b"]) for row in reader]
    except UnicodeDecodeError:
        raise RolesError(f"{path}: is not UTF-8 text") from None
    short = [line for line, pair in enumerate(pairs, start=2) if not all(pair)]
    if short:
        raise RolesError(f"{path}: lines without both images: {listing(short)}")
    return pairs
