"""`publish`: every leaderboard with its pages, tables and predictions as a static site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import image_sizes_option, results_option, source_options
from bench.data.open import DatasetSpec
from bench.errors import DataError, ResultsError, listing
from bench.settings import COMMITTED, DEFAULT_RESULTS, PROTOCOLS

if TYPE_CHECKING:
    from bench.data.open import OpenDataset
    from bench.report.eda_page import Gallery
    from bench.report.site import Board

EXAMPLES = 6
SEED = 20180814
HOME = "../../index.html"


@click.command()
@click.option(
    "--to", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="Folder of the site: a new or empty one, or a site that publish made.",
)  # fmt: skip
@source_options
@click.option(
    "--also", "others", type=click.Path(exists=True, path_type=Path), multiple=True,
    help="Folder of a further dataset; repeatable. The synthetic set needs none.",
)  # fmt: skip
@results_option
@click.option("--protocol", "-p", "only", multiple=True, help="Only this protocol; repeatable.")
@click.option(
    "--with-images",
    is_flag=True,
    help="Show small copies of some images of the data. Without it no image is published.",
)
@image_sizes_option
def publish(
    to: Path,
    data: DatasetSpec,
    others: tuple[Path, ...],
    results: Path,
    only: tuple[str, ...],
    *,
    with_images: bool,
    image_sizes: bool,
) -> None:
    """Make a static site of every leaderboard, to be looked at as files or on any host.

    Publishing again changes only what changed. A folder that holds anything else is refused.
    """
    from bench.data.images import with_image_sizes
    from bench.io import put_right, replace_folder
    from bench.report.format import counted
    from bench.report.site import render_site

    if results != DEFAULT_RESULTS and not results.is_dir():
        raise ResultsError(
            f"--results {results}: no such folder; without --results, committed rows"
        )
    put_right(to)
    refuse_foreign(to, results)
    choices = [data, *(DatasetSpec(folder) for folder in others)]
    if data.folder is not None:
        choices.append(DatasetSpec())
    sources = open_sources(choices, images=with_images or image_sizes)
    if image_sizes:
        sources = {name: with_image_sizes(source) for name, source in sources.items()}
    boards, absent = [], []
    for protocol, dataset in found_boards(results, only):
        if dataset in sources:
            click.echo(f"{protocol} on {sources[dataset].manifest.title}", err=True)
            boards.append(make_board(protocol, sources[dataset], results, images=with_images))
        else:
            absent.append((protocol, dataset))
    _refuse_lost(absent, results)
    if not boards:
        raise DataError(
            f"nothing to publish: neither {results} nor the committed rows hold a row of "
            f"{listing(sorted(sources))}; run or submit one, or give the data of others with --also"
        )
    told = [f"{protocol} on {dataset}: its metadata was not given" for protocol, dataset in absent]
    changes = replace_folder(to, render_site(boards, told))
    for sentence in told:
        click.echo(f"left out: {sentence} (--data or --also DIR)", err=True)
    pictures = "small copies of some images" if with_images else "no image"
    click.echo(
        f"site: {to / 'index.html'} ({counted(len(boards), 'leaderboard')}, "
        f"{changes.size / 2**20:.1f} MiB, {pictures}): {changes.new} files new, "
        f"{changes.changed} changed, {changes.removed} removed, {changes.same} as they were"
    )


def refuse_foreign(to: Path, results: Path) -> None:
    """Raise ResultsError for a folder that is no site of ours, or that holds more than one."""
    from bench.io import files_in
    from bench.report.site import MARK, SUMS, is_mark, listed_files

    inside = to.resolve()
    if inside.is_relative_to(results.resolve()) or results.resolve().is_relative_to(inside):
        raise ResultsError(f"--to {to}: lies in the results folder, or holds it; name another")
    if not to.exists():
        return
    if not to.is_dir():
        raise ResultsError(f"--to {to}: is a file; name a folder")
    if not any(to.iterdir()):
        return
    try:
        mark = is_mark((to / MARK).read_text(encoding="utf-8"))
        known = listed_files((to / SUMS).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        mark, known = False, set()
    if not mark:
        raise ResultsError(f"--to {to}: is neither empty nor a site of publish; name another")
    strange = sorted(set(files_in(to)) - known)
    if strange:
        raise ResultsError(
            f"--to {to}: holds files that are not the site's: {listing(strange)}; move them away, "
            "or publish into a folder of its own"
        )


def open_sources(choices: Sequence[DatasetSpec], *, images: bool) -> dict[str, OpenDataset]:
    """The datasets by name. Raises DataError for two of one name."""
    found: dict[str, OpenDataset] = {}
    for choice in choices:
        source = choice.open(images=images)
        name = source.manifest.name
        if name in found and found[name].folder != source.folder:
            raise DataError(f"{source.folder}: is {name}, as {found[name].folder} is; give one")
        found[name] = source
    return found


def found_boards(results: Path, only: Sequence[str]) -> list[tuple[str, str]]:
    """Protocol and dataset of every board with a row, here or committed, of known protocols."""
    from bench.protocol import load_protocol, load_protocols
    from bench.run.published import boards_in

    for name in only:
        load_protocol(name, PROTOCOLS)
    known = load_protocols(PROTOCOLS)
    every = sorted({*boards_in(results), *boards_in(COMMITTED)})
    return [
        (protocol, dataset)
        for protocol, dataset in every
        if protocol in known and dataset in known[protocol].roles and protocol in (only or known)
    ]


def _refuse_lost(absent: Sequence[tuple[str, str]], results: Path) -> None:
    """Raise DataError where rows of the user's own would be missing without a word."""
    from bench.run.published import boards_in

    lost = sorted({dataset for one, dataset in set(boards_in(results)) & set(absent)})
    if lost:
        raise DataError(
            f"{results} holds rows of {listing(lost)}, but no --data or --also names a folder with "
            "the metadata; give it (no image is needed)"
        )


def make_board(protocol: str, source: OpenDataset, results: Path, *, images: bool) -> Board:
    """A board scored, with its pages, comparisons, files and pictures."""
    from bench.report.site import Board
    from bench.run.published import asked_comparisons, downloads
    from bench.run.results import leaderboard_folder
    from bench.workflows.report import board_files, compared, gather, prove_bench

    bench = prove_bench(protocol, source)
    gathered = gather(bench, results)
    board = leaderboard_folder(results, protocol, source.manifest.name)
    made = list(compared(bench, gathered, asked_comparisons(board), f"../../{HOME}"))
    links = [(f"{one.folder}/index.html", one.title) for one in made]
    study, pages = board_files(bench, results, gathered, links=links, home=HOME, with_images=images)
    for one in made:
        pages |= {f"{one.folder}/{name}": text for name, text in one.files.items()}
    roots = (results, COMMITTED)
    offers = downloads(roots, protocol, source.manifest.name, bench.roles_sha256)
    shown = {row.name for row in study.board.rows}
    kept = [one for one in offers if one.row in shown]
    return Board(study, pages, kept, _galleries(source) if images else ())


def _galleries(source: OpenDataset) -> tuple[Gallery, ...]:
    """Small copies of some images of each class."""
    import numpy as np

    from bench.data.exploration import examples, thumbnail
    from bench.data.images import find_images, loader
    from bench.report.eda_page import gallery

    manifest = source.manifest
    table = manifest.table.assign(group=manifest.native_groups)
    chosen = examples(table, EXAMPLES, np.random.default_rng(SEED))
    load = loader(find_images(source))
    labels = dict(zip(manifest.image_ids, manifest.table["label"], strict=True))
    return tuple(
        gallery(label, [(one, thumbnail(load(one))) for one in chosen[label]], labels)
        for label in manifest.classes
        if label in chosen
    )
