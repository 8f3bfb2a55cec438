"""`data`: info, audit, eda, duplicates, preprocess, cache."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import refuse_unwritable, results_option, source_options
from bench.cli.terminal import PIPE_WIDTH, stage_events
from bench.errors import listing

if TYPE_CHECKING:
    from bench.data.audit import Audit
    from bench.data.open import DatasetSpec


@click.group()
def data() -> None:
    """Inspect a dataset: contents, issues, duplicates, exploration, image cache."""


@data.command("info")
@source_options
def info(data: DatasetSpec) -> None:
    """Show images, groups, classes and missing values of a dataset. Needs no images."""
    from rich.console import Console
    from rich.table import Table

    from bench.workflows.dataset import class_counts, missing_values

    dataset = data.open(images=False).manifest
    click.echo(f"{dataset.title} ({dataset.name}){', SYNTHETIC' if dataset.synthetic else ''}")
    click.echo(f"licence: {dataset.licence}\ncitation: {dataset.citation}")
    click.echo(f"roster sha256: {dataset.roster_sha256}")
    click.echo(f"groups are {dataset.unit}s; {dataset.ungrouped} images without a group id")
    if dataset.ungrouped:
        click.echo("grouping incomplete: each of these images counts as its own group")
    table = Table("class", "images", "groups", "lesions")
    for row in class_counts(dataset):
        lesions = "n/a" if row.lesions is None else str(row.lesions)
        table.add_row(row.label or "all", str(row.images), str(row.groups), lesions)
    Console().print(table)
    counts = missing_values(dataset).items()
    click.echo("missing: " + ", ".join(f"{column} {count}" for column, count in counts))


@data.command("audit")
@source_options
@click.option("--protocol", "-p", "protocol_name", help="Duplicates that its roles join are known.")
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
    help="Write a groups file that joins sure duplicates, for --groups.",
)
@click.option(
    "--near/--no-near",
    default=True,
    show_default=True,
    help="Also search for near duplicates; with 400,000 images this takes most of the time.",
)
def audit(
    data: DatasetSpec,
    protocol_name: str | None,
    folder: Path,
    merged: Path | None,
    near: bool,  # noqa: FBT001
) -> int:
    """List issues of metadata and images. Exit 1 if one is blocking."""
    from bench.workflows.dataset import audit, write_audit, write_merged_groups

    refuse_unwritable("--to", folder / "index.html", folder / "audit.json")
    if merged is not None:
        refuse_unwritable("--merge-groups", merged)
    with stage_events() as on_event:
        done = audit(data, protocol_name, near=near, on_event=on_event)
    if merged is not None:
        fewer = write_merged_groups(done, merged)
        click.echo(f"groups: {merged} ({fewer} fewer than the dataset's own)")
    page = write_audit(done, folder)
    _print_audit(done)
    click.echo(f"audit: {page}")
    return 1 if done.failed else 0


def _print_audit(done: Audit) -> None:
    """Print the findings, blocking ones first."""
    dataset = done.manifest
    click.echo(
        f"{dataset.title}{' (SYNTHETIC data)' if dataset.synthetic else ''}: {len(dataset)} rows"
        f" used, {done.images_read} image files read"
    )
    for finding in done.findings:
        mark = "BLOCKING" if finding.about.grave else "note"
        click.echo(f"{mark}: {finding.about.title}: {finding.count}")
        named = [f"{issue.where} {issue.what}".strip() for issue in finding.named]
        more = finding.count - len(named)
        click.echo(f"  {listing(named)}{f' and {more} more' if more else ''}")
    if done.pairs or done.known.united:
        click.echo(f"duplicates across the dataset's own groups: {done.standing.text}")
    if not done.findings:
        click.echo("no issue found")


@data.command("duplicates")
@source_options
@click.option("--protocol", "-p", "protocol_name", help="Name pairs that its roles keep apart.")
@click.option(
    "--thorough",
    is_flag=True,
    help="Also search for further photographs of a lesion: minutes, and 170 kB of memory an image.",
)
@click.option(
    "--to",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV for the pairs, for protocol freeze --duplicates once a person has checked them.",
)
def duplicates(
    data: DatasetSpec,
    protocol_name: str | None,
    file: Path | None,
    *,
    thorough: bool,
) -> int:
    """Find images that are in a dataset under two groups. Exit 1 if a pair is sure."""
    from bench.workflows.dataset import duplicates, groups_of, write_pairs

    if file is not None:
        refuse_unwritable("--to", file)
    source = data.open()
    group_of = groups_of(source.manifest, protocol_name)
    with stage_events() as on_event:
        found = duplicates(source, thorough=thorough, on_event=on_event)
    if file is not None:
        write_pairs(found, file)
    click.echo(f"{source.manifest.title}: {found.method}")
    click.echo(
        f"{found.candidates} candidates across groups, {len(found.pairs)} kept; "
        f"{found.within} near pairs within groups; {len(found.blank)} blank images"
    )
    apart = found.apart(group_of)
    sure = [pair for pair in apart if pair.verdict == "sure"]
    where = f"the roles of {protocol_name}" if protocol_name else "the dataset's own groups"
    click.echo(f"{where} keep {len(apart)} pairs apart, {len(sure)} of them sure:")
    for pair in sorted(apart, key=lambda pair: (pair.verdict != "sure", -pair.correlation)):
        click.echo(
            f"{pair.verdict}  {pair.image_a} ({pair.lesion_a})  {pair.image_b} ({pair.lesion_b})  "
            f"{pair.phash_distance} bits, {pair.inliers} inliers, "
            f"correlation {pair.correlation:.2f}"
        )
    return 1 if sure else 0


@data.command("eda")
@source_options
@results_option
@click.option(
    "--protocol",
    "-p",
    "protocol_name",
    default="groupkfold5",
    show_default=True,
    help="Protocol whose folds are shown and used.",
)
@click.option("--no-images", is_flag=True, help="Use the metadata only.")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="File of the page.")
def eda(
    data: DatasetSpec,
    results: Path,
    protocol_name: str,
    to: Path | None,
    *,
    no_images: bool,
) -> None:
    """Explore a dataset on a page: classes, groups, images, metadata against diagnosis, folds."""
    from bench.workflows.dataset import explore, write_exploration

    if to is not None and to.suffix.lower() != ".html":
        raise click.UsageError(f"--to {to}: give a name that ends in .html; a .json goes beside it")
    # refused before the work; the dataset's folder is known only after its metadata is read
    page = to or results / "data" / "x"
    refuse_unwritable("--results" if to is None else "--to", page, page.with_suffix(".json"))
    with stage_events() as on_event:
        found = explore(data, protocol_name, images=not no_images, on_event=on_event)
    page = to or results / "data" / found.manifest.name / "eda.html"
    write_exploration(found, page)
    click.echo(f"EDA: {page}")


BYTES = 1000.0


@data.command("preprocess")
@click.argument(
    "images",
    nargs=-1,
    required=True,
    metavar="IMAGE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the panels: <image>.png of each.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    help="Option of a step: hair_removal, colour_constancy, clahe, image_size; repeatable. "
    "Default: all steps at their usual values.",
)
def preprocess(images: tuple[Path, ...], folder: Path, settings: tuple[str, ...]) -> None:
    """Show each image before, its hair mask, and after every step; print the cost of each step."""
    from bench.recipe import parse_overrides
    from bench.workflows.dataset import preprocess

    spent: dict[str, list[float]] = defaultdict(list)
    for shown in preprocess(images, folder, parse_overrides(settings)):
        for step, seconds in shown.seconds.items():
            spent[step].append(seconds)
        click.echo(f"{shown.panel}  hair on {shown.hair:.1%}")
    _print_cost(spent)


def _print_cost(spent: dict[str, list[float]]) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    table = Table("step", "ms an image (median)", "most")
    for name, seconds in spent.items():
        millis = np.array(seconds) * 1000
        table.add_row(name, f"{np.median(millis):.2f}", f"{millis.max():.2f}")
    Console().print(table)


@data.command("cache")
@click.option(
    "--verify", is_flag=True, help="Check every cache against its hash. Exit 1 if one differs."
)
@click.option("--clear", is_flag=True, help="Remove all caches that are not being built.")
@click.option("--unfinished", is_flag=True, help="With --clear: remove only incomplete caches.")
def cache(*, verify: bool, clear: bool, unfinished: bool) -> int:
    """List, check or remove caches of preprocessed images."""
    from rich.console import Console
    from rich.table import Table

    from bench.workflows.dataset import caches

    if unfinished and not clear:
        raise click.UsageError("--unfinished needs --clear")
    folder, found = caches(verify=verify, clear=clear, unfinished=unfinished)
    click.echo(f"{folder}: {len(found)} caches, {_size(sum(each.size for each in found))}")
    if found:
        table = Table("cache", "dataset", "images", "steps", "size", "state")
        for each in found:
            size = _size(each.size)
            table.add_row(each.name, each.dataset, each.images, each.steps, size, each.state)
        console = Console()
        Console(width=None if console.is_terminal else PIPE_WIDTH).print(table)
    return 1 if any(each.damaged for each in found) else 0


def _size(count: float) -> str:
    """A number of bytes with its unit, such as 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < BYTES:
            return f"{count:.4g} {unit}"
        count /= BYTES
    return f"{count:.4g} TB"
