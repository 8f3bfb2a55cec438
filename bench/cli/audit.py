"""`data audit`: what is wrong with a dataset, as a page and a JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.places import PROTOCOLS, refuse_unwritable, source_options
from bench.data.sources import DataChoice

if TYPE_CHECKING:
    from bench.data.audit.known import KnownPairs
    from bench.data.audit.whole import Audit
    from bench.manifest import Manifest


@click.command("audit")
@source_options
@click.option("--protocol", "-p", "protocol_name", help="Duplicates its roles unite are known.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("audit"),
    show_default=True,
    help="Folder for index.html and audit.json. The page shows images of the dataset.",
)
@click.option(
    "--merge-groups",
    "merged",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write groups that unite sure duplicates, to be given as --groups.",
)
@click.option(
    "--near/--no-near",
    default=True,
    show_default=True,
    help="Search for near duplicates, too; of 400,000 images this takes most of the time.",
)
def audit(
    data: DataChoice,
    protocol_name: str | None,
    folder: Path,
    merged: Path | None,
    near: bool,  # noqa: FBT001
) -> int:
    """List what is wrong with metadata and images. Exit 1 where it must not be ignored."""
    from bench.data.audit.whole import audit_json
    from bench.report.audit import render_audit
    from bench.report.html import write

    refuse_unwritable("--to", folder / "index.html", folder / "audit.json")
    if merged is not None:
        refuse_unwritable("--merge-groups", merged)
    done = _audit(data, protocol_name, near=near)
    if merged is not None:
        _write_groups(done, merged)
    write({"audit.json": audit_json(done), "index.html": render_audit(done)}, folder)
    _print(done)
    click.echo(f"audit: {folder / 'index.html'}")
    return 1 if done.failed else 0


def _audit(data: DataChoice, protocol_name: str | None, *, near: bool) -> Audit:
    """The audit, with a bar a stage."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.data.audit.whole import audit as audit_data

    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        stages: dict[str, TaskID] = {}

        def advance(stage: str, done: int, whole: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=whole)
            bars.update(stages[stage], completed=done)

        def know(manifest: Manifest) -> KnownPairs:
            return _known_pairs(manifest, protocol_name)

        return audit_data(data, know, advance, near=near)


def _known_pairs(manifest: Manifest, protocol_name: str | None) -> KnownPairs:
    """What the committed lists say, united as a protocol's roles have it, else as the lists do."""
    from bench.cli.frozen import known_pairs, missed_pairs
    from bench.data.audit.known import KnownPairs
    from bench.protocol import load_protocol, load_roles
    from bench.splits.groups import join_groups

    ids = manifest.image_ids.tolist()
    listed = known_pairs(None, manifest.name, ids)
    if protocol_name is None:
        group_of = dict(zip(ids, join_groups(manifest, listed), strict=True))
    else:
        roles = load_roles(load_protocol(protocol_name, PROTOCOLS), manifest.name, PROTOCOLS)
        group_of = dict(zip(roles.image_ids, roles.group_ids, strict=True))
    united = frozenset((a, b) for a, b in listed if group_of.get(a, a) == group_of.get(b, b))
    return KnownPairs(group_of, united, missed_pairs(manifest.name, ids))


def _write_groups(done: Audit, path: Path) -> None:
    """A group file in which all pairs that are sure, and those that are known, are united."""
    import pandas as pd

    from bench.files import write_atomically
    from bench.splits.groups import join_groups

    manifest = done.manifest
    groups = join_groups(manifest, [*done.united, *sorted(done.known.united)])
    table = pd.DataFrame({"image_id": manifest.image_ids, "group_id": groups})
    write_atomically(path, table.to_csv(index=False, lineterminator="\n").encode())
    united = len(set(manifest.native_groups.tolist())) - len(set(groups.tolist()))
    click.echo(f"groups: {path} ({united} fewer than the dataset's own)")


def _print(done: Audit) -> None:
    """The findings in the terminal."""
    from bench.errors import listing

    manifest = done.manifest
    click.echo(
        f"{manifest.title}{' (SYNTHETIC data)' if manifest.synthetic else ''}: {len(manifest)} rows"
        f" used, {done.images_read} image files read"
    )
    for finding in done.findings:
        mark = "MUST BE MENDED" if finding.about.grave else "note"
        click.echo(f"{mark}: {finding.about.title}: {finding.count}")
        named: list[Any] = [f"{f.where} {f.what}".strip() for f in finding.named]
        more = finding.count - len(named)
        click.echo(f"  {listing(named)}{f' and {more} more' if more else ''}")
    if done.pairs or done.known.united:
        click.echo(f"duplicates across the dataset's own groups: {done.standing.told}")
    if not done.findings:
        click.echo("nothing is wrong, as far as was looked")
