"""Publish every leaderboard with its pages, tables and predictions as a static site."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.images import with_image_sizes
from bench.data.open import DatasetSpec, OpenDataset
from bench.errors import DataError, ResultsError, listing
from bench.io import Changes, files_in, recover_folder, replace_folder
from bench.report.eda_page import Gallery
from bench.report.site import MARK, SUMS, Board, is_mark, listed_files, render_site
from bench.run.published import boards_in, downloads, stored_comparisons
from bench.run.results import leaderboard_folder
from bench.settings import COMMITTED, DEFAULT_RESULTS
from bench.workflows.collect import collect
from bench.workflows.compare import refreshed
from bench.workflows.events import Message, OnEvent, ignore
from bench.workflows.open import prove_bench
from bench.workflows.report import ReportOptions, board_files
from bench.workflows.workspace import find_protocol, find_protocols

EXAMPLES = 6
SEED = 20180814
HOME = "../../index.html"


@dataclass(frozen=True)
class Site:
    """A published site: its index, how many leaderboards it has, what changed, what is left out."""

    index: Path
    boards: int
    changes: Changes
    left_out: tuple[str, ...]


def publish(
    to: Path,
    data: Sequence[DatasetSpec],
    results: Path = DEFAULT_RESULTS,
    *,
    protocols: Sequence[str] = (),
    pairs: Collection[tuple[str, str]] | None = None,
    with_images: bool = False,
    image_sizes: bool = False,
    on_event: OnEvent = ignore,
) -> Site:
    """Make a static site of every leaderboard; publishing again changes only what changed.

    to         a new or empty folder, or one that `publish` made
    data       datasets to publish; the synthetic dataset is always among them
    protocols  publish only these; empty: all
    pairs      publish only these protocols on these datasets; None: all
    with_images  show small copies of some images; without it the site holds no image

    Raises ResultsError for a folder that holds other files, DataError where a dataset with rows in
    `results` is not given.
    """
    if results != DEFAULT_RESULTS and not results.is_dir():
        raise ResultsError(
            f"--results {results}: no such folder; without --results, committed rows"
        )
    recover_folder(to)
    _refuse_other_files(to, results)
    specs = list(data)
    if all(spec.folder is not None for spec in specs):
        specs.append(DatasetSpec())
    sources = _open(specs, images=with_images or image_sizes)
    if image_sizes:
        sources = {name: with_image_sizes(source) for name, source in sources.items()}
    boards: list[Board] = []
    absent: list[tuple[str, str]] = []
    for protocol, dataset in _known_boards(results, protocols):
        if pairs is not None and (protocol, dataset) not in pairs:
            continue
        if dataset in sources:
            on_event(Message(f"{protocol} on {sources[dataset].manifest.title}"))
            boards.append(_board(protocol, sources[dataset], results, images=with_images))
        else:
            absent.append((protocol, dataset))
    _refuse_lost(absent, results)
    if not boards:
        raise DataError(
            f"nothing to publish: neither {results} nor the committed rows hold a row of "
            f"{listing(sorted(sources))}; run or submit one, or give the data of others with --also"
        )
    left_out = [
        f"{protocol} on {dataset}: its metadata was not given" for protocol, dataset in absent
    ]
    changes = replace_folder(to, render_site(boards, left_out))
    return Site(to / "index.html", len(boards), changes, tuple(left_out))


def _refuse_other_files(to: Path, results: Path) -> None:
    """Raise ResultsError for a folder that is not a site, or that holds more than a site."""
    inside = to.resolve()
    if inside.is_relative_to(results.resolve()) or results.resolve().is_relative_to(inside):
        raise ResultsError(f"--to {to}: is inside the results folder, or holds it; name another")
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
    others = sorted(set(files_in(to)) - known)
    if others:
        raise ResultsError(
            f"--to {to}: holds files that are not the site's: {listing(others)}; move them away, "
            "or publish into a new folder"
        )


def _open(specs: Sequence[DatasetSpec], *, images: bool) -> dict[str, OpenDataset]:
    """The datasets by name. Raises DataError for two of the same name."""
    found: dict[str, OpenDataset] = {}
    for spec in specs:
        source = spec.open(images=images)
        name = source.manifest.name
        if name in found and found[name].folder != source.folder:
            raise DataError(f"{source.folder}: is {name}, as {found[name].folder} is; give one")
        found[name] = source
    return found


def _known_boards(results: Path, only: Sequence[str]) -> list[tuple[str, str]]:
    """Protocol and dataset of every leaderboard with a row, here or committed."""
    for name in only:
        find_protocol(name)
    known = find_protocols()
    every = sorted({*boards_in(results), *boards_in(COMMITTED)})
    return [
        (protocol, dataset)
        for protocol, dataset in every
        if protocol in known and dataset in known[protocol].roles and protocol in (only or known)
    ]


def _refuse_lost(absent: Sequence[tuple[str, str]], results: Path) -> None:
    """Raise DataError where rows of the user would be left out."""
    lost = sorted({dataset for _, dataset in set(boards_in(results)) & set(absent)})
    if lost:
        raise DataError(
            f"{results} holds rows of {listing(lost)}, but no --data or --also names a folder with "
            "the metadata; give it (no image is needed)"
        )


def _board(protocol: str, source: OpenDataset, results: Path, *, images: bool) -> Board:
    """One leaderboard with its pages, comparisons, files and pictures."""
    bench = prove_bench(protocol, source)
    collected = collect(bench, results)
    folder = leaderboard_folder(results, protocol, source.manifest.name)
    comparisons = list(refreshed(bench, collected, stored_comparisons(folder), f"../../{HOME}"))
    links = [(f"{one.folder}/index.html", one.title) for one in comparisons]
    facts, pages = board_files(
        bench, results, collected, ReportOptions(with_images=images), links=links, home=HOME
    )
    for one in comparisons:
        pages |= {f"{one.folder}/{name}": text for name, text in one.files.items()}
    offers = downloads((results, COMMITTED), protocol, source.manifest.name, bench.roles_sha256)
    shown = {row.name for row in facts.board.rows}
    kept = [one for one in offers if one.row in shown]
    return Board(facts, pages, kept, _galleries(source) if images else ())


def _galleries(source: OpenDataset) -> tuple[Gallery, ...]:
    """Small copies of some images of each class."""
    from bench.data.exploration import examples, thumbnail
    from bench.data.images import find_images, loader
    from bench.report.eda_page import gallery

    dataset = source.manifest
    table = dataset.table.assign(group=dataset.native_groups)
    chosen = examples(table, EXAMPLES, np.random.default_rng(SEED))
    load = loader(find_images(source))
    labels = dict(zip(dataset.image_ids, dataset.table["label"], strict=True))
    return tuple(
        gallery(label, [(one, thumbnail(load(one))) for one in chosen[label]], labels)
        for label in dataset.classes
        if label in chosen
    )
