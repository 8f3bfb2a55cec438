"""`data duplicates`: pictures of one lesion that stand in a dataset under different groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bench.cli.places import PROTOCOLS, refuse_unwritable, source_options
from bench.data.sources import DataChoice


@click.command("duplicates")
@source_options
@click.option("--protocol", "-p", "protocol_name", help="Name pairs that its roles leave apart.")
@click.option(
    "--thorough",
    is_flag=True,
    help="Look for further photographs of a lesion, too: minutes, and 170 kB an image in memory.",
)
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV for the pairs, as protocol freeze --duplicates reads it once a person has looked.",
)
def duplicates(
    data: DataChoice,
    protocol_name: str | None,
    file: Path | None,
    *,
    thorough: bool,
) -> int:
    """Find pictures that stand in a dataset under two groups. Exit 1 if a sure pair does."""
    from bench.data.duplicates.pairs import format_pairs
    from bench.files import write_atomically

    if file is not None:
        refuse_unwritable("--to", file)
    source = data.open()
    group_of = _groups(source.manifest, protocol_name)
    found = _search(source, thorough=thorough)
    if file is not None:
        write_atomically(file, format_pairs(found.pairs).encode())
    click.echo(f"{source.manifest.title}: {found.method}")
    click.echo(
        f"{found.candidates} candidates across groups, {len(found.pairs)} kept; "
        f"{found.within} near pairs within groups; {len(found.blank)} blank images"
    )
    apart = found.apart(group_of)
    sure = [pair for pair in apart if pair.verdict == "sure"]
    where = f"the roles of {protocol_name}" if protocol_name else "the dataset's own groups"
    click.echo(f"{where} leave {len(apart)} pairs apart, {len(sure)} of them sure:")
    for pair in sorted(apart, key=lambda pair: (pair.verdict != "sure", -pair.correlation)):
        click.echo(
            f"{pair.verdict}  {pair.image_a} ({pair.lesion_a})  {pair.image_b} ({pair.lesion_b})  "
            f"{pair.phash_distance} bits, {pair.inliers} spots, correlation {pair.correlation:.2f}"
        )
    return 1 if sure else 0


def _groups(manifest: Any, protocol_name: str | None) -> Mapping[str, str]:
    """The group of every image: as a protocol's roles have it, else the dataset's own."""
    from bench.protocol import load_protocol, load_roles

    if protocol_name is None:
        return dict(zip(manifest.image_ids, manifest.native_groups, strict=True))
    roles = load_roles(load_protocol(protocol_name, PROTOCOLS), manifest.name, PROTOCOLS)
    roles.refuse_other_roster(manifest)
    return dict(zip(roles.image_ids, roles.group_ids, strict=True))


def _search(source: Any, *, thorough: bool) -> Any:
    """The search, with a bar a stage."""
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.data.duplicates.near import find_near_duplicates
    from bench.data.duplicates.search import find_duplicates
    from bench.data.images import find_images, loader

    console = Console(stderr=True)
    load = loader(find_images(source))
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        stages: dict[str, TaskID] = {}

        def advance(stage: str, done: int, whole: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=whole)
            bars.update(stages[stage], completed=done)

        if thorough:
            return find_duplicates(source.manifest, load, np.random.default_rng(0), advance)
        return find_near_duplicates(source.manifest, load, advance)
