"""From results to pages: what `run`, `report` and others do at their end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.comparisons import compared, outdated
from bench.cli.costs import kept_costs
from bench.cli.places import BASELINES, COMMITTED, PROTOCOLS
from bench.data.sources import DataChoice, Source
from bench.estimates import Leaderboard, RowFacts
from bench.foreign import printable
from bench.predictions import RowPredictions
from bench.protocol import Protocol, Roles, load_protocol, load_roles
from bench.run.pages import asked_comparisons, compared_pages, leakage_meters
from bench.run.results import damaged_folds, leaderboard_folder
from bench.run.rows import BESIDE_OWN
from bench.run.submissions import Wanted

if TYPE_CHECKING:
    from bench.report.study import Study


@dataclass(frozen=True)
class Bench:
    """A protocol on a dataset, proven to belong together; proven says what was, in sentences."""

    protocol: Protocol
    source: Source
    roles: Roles
    proven: tuple[str, ...] = ()

    @property
    def roles_sha256(self) -> str:
        """Hash of the frozen roles file."""
        return self.protocol.roles[self.source.manifest.name].sha256

    @property
    def wanted(self) -> Wanted:
        """What a submission to this protocol must hold."""
        protocol = self.protocol
        return Wanted(
            self.roles, self.source.manifest.classes, protocol.folds, protocol.run.seeds[0]
        )


def open_bench(protocol_name: str, data: DataChoice, *, images: bool = False) -> Bench:
    """Read the protocol, the data's manifest and the frozen roles; prove that they fit and leak
    nothing. Raises BenchError that says what does not.
    """
    return prove_bench(protocol_name, data.open(images=images))


def prove_bench(protocol_name: str, source: Source) -> Bench:
    """The same of a dataset that is open already."""
    from bench.splits.leakage import verify

    protocol = load_protocol(protocol_name, PROTOCOLS)
    refuse_unknown_metrics(protocol)
    roles = load_roles(protocol, source.manifest.name, PROTOCOLS)
    roles.refuse_other_roster(source.manifest)
    proven = verify(roles, source.manifest, protocol)
    return Bench(protocol, source, roles, tuple(proven))


def refuse_unknown_metrics(protocol: Protocol) -> None:
    """Raise ProtocolError for metrics that nobody knows, before anything is trained for them."""
    from bench.score.metrics import refuse_unknown

    wanted = (protocol.metrics.primary, *protocol.metrics.others)
    refuse_unknown(wanted, f"[metrics] of protocol {protocol.name}")


@dataclass(frozen=True)
class Gathered:
    """Every row of a board as found on disk, references among them.

    facts    what is known of a row, by its name
    absent   rows of which no fold is done, and what became of their jobs
    damaged  a sentence for each fold that counts as missing since it is damaged
    """

    rows: list[RowPredictions]
    facts: dict[str, RowFacts]
    absent: dict[str, str]
    damaged: list[str]


def score_and_render(
    bench: Bench, results: Path, *, latex: bool = False, with_images: bool = False
) -> tuple[Leaderboard, Path, Gathered]:
    """Score every row of the results and the committed ones; write the leaderboard's pages, and
    the texts beside the predictions.
    """
    from bench.cli.row_texts import write_row_texts

    found = gather(bench, results)
    board, page = write_board(bench, results, found, latex=latex, with_images=with_images)
    write_row_texts(bench, results)
    return board, page, found


Jobs = dict[str, list[str]]
"""What became of the jobs that are begun and not done, or damaged, by row."""


def _told(row: RowPredictions, facts: RowFacts, own: Jobs, public: Jobs) -> RowFacts:
    """What is known of a row, with a note for every job of its here, or among committed rows."""
    committed = "committed" in facts.badges
    damaged = public.get(row.name.removesuffix(BESIDE_OWN), []) if committed else []
    return replace(facts, notes=(*facts.notes, *own.get(row.name, []), *damaged))


def _absent(own: Jobs, public: Jobs, shown: set[str]) -> dict[str, str]:
    """Rows of which no fold is done, and what became of their jobs: missing, but not silently."""
    here = shown | {name.removesuffix(BESIDE_OWN) for name in shown}
    begun = {row: jobs for row, jobs in public.items() if row not in here} | own
    return {row: "; ".join(jobs) for row, jobs in begun.items() if row not in shown}


def gather(bench: Bench, results: Path) -> Gathered:
    """Every row: of the results, the committed ones, the references. Warns of damaged folds."""
    from bench.run.registry import method_files, split_passport
    from bench.run.rows import Expected, collect_rows
    from bench.run.submissions import submitted_rows
    from bench.run.survey import unfinished
    from bench.score.references import references

    protocol, manifest = bench.protocol, bench.source.manifest
    expected = Expected(
        protocol=protocol.name,
        dataset=manifest.name,
        classes=manifest.classes,
        roster_sha256=manifest.roster_sha256,
        roles_sha256=bench.roles_sha256,
        seeds=tuple(protocol.run.seeds),
    )
    passports = {
        method: split_passport(path.read_text(encoding="utf-8"), path)[0]
        for method, path in method_files(BASELINES).items()
    }
    rows = collect_rows(results, COMMITTED, expected, passports)
    rows += submitted_rows(
        (results, COMMITTED),
        protocol.name,
        manifest.name,
        bench.wanted,
        bench.roles_sha256,
        {row.name for row, _ in rows},
    )
    roots, where = (results, COMMITTED), (protocol.name, manifest.name)
    own, public = (unfinished(root, *where) for root in roots)
    damaged = [fault for root in roots for fault in damaged_folds(root, *where)]
    for fault in damaged:
        click.echo(printable(f"warning: {fault}"), err=True)
    every = [row for row, _ in rows]
    every += references(protocol, manifest, bench.roles, protocol.run.seeds)
    facts = {row.name: _told(row, known, own, public) for row, known in rows}
    return Gathered(every, facts, _absent(own, public, {row.name for row in every}), damaged)


def write_board(
    bench: Bench, results: Path, found: Gathered, *, latex: bool = False, with_images: bool = False
) -> tuple[Leaderboard, Path]:
    """Score these rows; write the leaderboard's pages, and anew those comparisons beside them that
    rest on what has changed since.

    latex  write the parts of a paper, too
    with_images  as in `board_files`
    """
    from bench.report.html import write

    folder = leaderboard_folder(results, bench.protocol.name, bench.source.manifest.name)
    study, files = board_files(
        bench,
        results,
        found,
        links=compared_pages(folder, [row.name for row in found.rows]),
        with_images=with_images,
    )
    write(files, folder)
    old = [asked for asked in asked_comparisons(folder) if outdated(asked, study.board)]
    for made in compared(bench, found, old):
        write(made.files, folder / made.folder)
    if latex:
        from bench.report.paper import FOLDER, render_paper

        write(render_paper(study), folder / FOLDER)
    return study.board, folder / "index.html"


def board_files(
    bench: Bench,
    results: Path,
    found: Gathered,
    *,
    links: Sequence[tuple[str, str]] = (),
    home: str = "",
    with_images: bool = False,
) -> tuple[Study, dict[str, str]]:
    """Score these rows; the leaderboard's pages by name, that of data and protocol among them.

    links        address and title of the comparisons' pages
    home         address of the site's index from them, where they stand in a site
    with_images  small pictures of what a row does worst on go into its page; needs the images
    """
    from bench.cli.pictures import pictures
    from bench.cli.study import study_of
    from bench.report import html, vega
    from bench.report.leak import leak
    from bench.report.study_page import render_study
    from bench.score.closeup import closeups
    from bench.score.table import score

    html.begin()
    vega.begin()
    protocol, manifest = bench.protocol, bench.source.manifest
    workers = os.cpu_count() or 1
    scored = score(protocol, manifest, bench.roles, found.rows, found.facts, workers=workers)
    leaderboard = replace(scored, absent=found.absent)
    board_folder = leaderboard_folder(results, protocol.name, manifest.name)
    costs = kept_costs(board_folder, manifest.classes)
    looks = closeups(protocol, manifest, bench.roles, found.rows, costs)
    meters = leakage_meters(board_folder, manifest.roster_sha256)
    told = (leak("" if home else href, found) for href, found in meters)
    meter = next(filter(None, told), None)
    study = study_of(bench, leaderboard)
    beside = render_study(study, home)
    page = next(iter(beside))
    shown = pictures(bench, results, looks) if with_images else {}
    pages = html.render(leaderboard, links, looks, meter, pictures=shown, study=page, home=home)
    return study, {**pages, **beside}


def print_data(bench: Bench) -> None:
    """Say what data the numbers come from, and which unit its groups are."""
    manifest = bench.source.manifest
    groups = len(set(bench.roles.group_ids.tolist()))
    click.echo(
        f"{manifest.title}: {len(manifest)} images in {groups} groups, "
        f"{manifest.unit}-level{' (SYNTHETIC data)' if manifest.synthetic else ''}"
    )
    for arm, columns in bench.protocol.split.arm_columns.items():
        click.echo(f"arm {arm}: folds {', '.join(map(str, columns))}")
    if manifest.ungrouped:
        click.echo(f"grouping incomplete: {manifest.ungrouped} images without a group id")
