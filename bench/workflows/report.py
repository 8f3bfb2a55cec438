"""Score rows and write leaderboard pages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pandas as pd

from bench.data.open import DatasetSpec, OpenDataset
from bench.errors import DataError, PredictionError
from bench.io import strip_control, write_atomically
from bench.leaderboard import Leaderboard, RowFacts
from bench.predictions import Predictions, RowPredictions
from bench.protocol import Protocol, Roles, load_protocol, load_roles
from bench.report.dataset_report import DatasetReport, KnownPairs
from bench.run import results
from bench.run.published import asked_comparisons, compared_pages, leakage_meters
from bench.run.results import damaged_folds, leaderboard_folder
from bench.run.rows import BESIDE_OWN
from bench.run.submissions import SubmissionSpec
from bench.settings import BASELINES, COMMITTED, PROTOCOLS

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.run.published import StoredComparison


@dataclass(frozen=True)
class Made:
    """A comparison's folder below its leaderboard's, its title, and its files by name."""

    folder: str
    title: str
    files: dict[str, str]


def outdated(asked: StoredComparison, board: Leaderboard) -> bool:
    """Whether the rows that a comparison's p values are adjusted over, or their values of its
    metric, are others on this board: a row was trained, handed in or taken away since.
    """
    from bench.score.reference_rows import KIND

    now = {
        row.name: row.table.metrics[asked.metric].value
        for row in board.rows
        if row.name in asked.rows or (row.kind != KIND and row.complete and not row.facts.unranked)
        if asked.metric in row.table.metrics
    }
    defined = {name: None if isnan(value) else value for name, value in now.items()}
    return defined != dict(asked.family)


def compared(
    bench: Bench, gathered: Gathered, asked: Iterable[StoredComparison], home: str = ""
) -> Iterator[Made]:
    """Comparisons made again, of rows that are still there and have trainings in common.

    home  address of the site's index from their pages, where they stand in one
    """
    from bench.report.comparison_page import render_comparison
    from bench.run.results import compare_folder
    from bench.score.comparison import ComparisonRequest, compare_rows_in_full
    from bench.score.metrics import IMAGE_METRICS

    there = {row.name for row in gathered.rows}
    protocol, manifest = bench.protocol, bench.source.manifest
    for one in asked:
        names = list(one.rows)
        if one.metric not in IMAGE_METRICS or not there.issuperset(names):
            continue
        question = ComparisonRequest(one.metric, margin=one.margin)
        if one.rope is not None:
            question = replace(question, rope=one.rope)
        try:
            found = compare_rows_in_full(
                protocol, manifest, bench.roles, gathered.rows, gathered.facts, names, question
            )
        except PredictionError:
            continue  # no training in common any more
        folder = compare_folder(Path(), names, other_metric(one.metric, protocol.metrics.primary))
        yield Made(folder.as_posix(), one.title, render_comparison(found, home))


def other_metric(metric: str, primary: str) -> str:
    """The metric by which a comparison's folder is told apart; "" for the primary one."""
    return "" if metric == primary else metric


KEPT = "costs.csv"


def keep_costs(path: Path, leaderboard: Path, classes: tuple[str, ...]) -> None:
    """Put a matrix of costs into a leaderboard's folder, so that every later page is made with it.

    Raises DataError where it is none.
    """
    from bench.io import write_atomically

    text, _ = _read(path, classes, f"--costs {path}")
    write_atomically(leaderboard / KEPT, text.encode())


def kept_costs(leaderboard: Path, classes: tuple[str, ...]) -> np.ndarray | None:
    """The matrix (C, C) that was kept, if one was. Raises DataError where it is none any more."""
    path = leaderboard / KEPT
    return _read(path, classes, str(path))[1] if path.exists() else None


def _read(path: Path, classes: tuple[str, ...], where: str) -> tuple[str, np.ndarray]:
    from bench.score.row_report import parse_costs

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{where}: is not UTF-8 text") from None
    return text, parse_costs(text, classes, where)


@dataclass(frozen=True)
class Bench:
    """A protocol on a dataset, proven to belong together; proven says what was, in sentences."""

    protocol: Protocol
    source: OpenDataset
    roles: Roles
    proven: tuple[str, ...] = ()

    @property
    def roles_sha256(self) -> str:
        """Hash of the frozen roles file."""
        return self.protocol.roles[self.source.manifest.name].sha256

    @property
    def wanted(self) -> SubmissionSpec:
        """What a submission to this protocol must hold."""
        protocol = self.protocol
        return SubmissionSpec(
            self.roles, self.source.manifest.classes, protocol.folds, protocol.run.seeds[0]
        )


def open_bench(protocol_name: str, data: DatasetSpec, *, images: bool = False) -> Bench:
    """Read the protocol, the data's manifest and the frozen roles; prove that they fit and leak
    nothing. Raises BenchError that says what does not.
    """
    return prove_bench(protocol_name, data.open(images=images))


def prove_bench(protocol_name: str, source: OpenDataset) -> Bench:
    """The same of a dataset that is open already."""
    from bench.folds.verify import verify

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
    from bench.run.status import unfinished
    from bench.run.submissions import submitted_rows
    from bench.score.reference_rows import references

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
        click.echo(strip_control(f"warning: {fault}"), err=True)
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
    from bench.report.render import write

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
) -> tuple[DatasetReport, dict[str, str]]:
    """Score these rows; the leaderboard's pages by name, that of data and protocol among them.

    links        address and title of the comparisons' pages
    home         address of the site's index from them, where they stand in a site
    with_images  small pictures of what a row does worst on go into its page; needs the images
    """
    from bench.report import charts, render
    from bench.report.arms import leak
    from bench.report.dataset_page import render_study
    from bench.score.leaderboard import score
    from bench.score.row_report import row_reports
    from bench.workflows.artifacts import pictures

    render.begin()
    charts.begin()
    protocol, manifest = bench.protocol, bench.source.manifest
    workers = os.cpu_count() or 1
    scored = score(protocol, manifest, bench.roles, found.rows, found.facts, workers=workers)
    leaderboard = replace(scored, absent=found.absent)
    board_folder = leaderboard_folder(results, protocol.name, manifest.name)
    costs = kept_costs(board_folder, manifest.classes)
    looks = row_reports(protocol, manifest, bench.roles, found.rows, costs)
    meters = leakage_meters(board_folder, manifest.roster_sha256)
    told = (leak("" if home else href, found) for href, found in meters)
    meter = next(filter(None, told), None)
    study = study_of(bench, leaderboard)
    beside = render_study(study, home)
    page = next(iter(beside))
    shown = pictures(bench, results, looks) if with_images else {}
    pages = render.render(leaderboard, links, looks, meter, pictures=shown, study=page, home=home)
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


PARTS = ("test", "val", "train")


def study_of(bench: Bench, board: Leaderboard) -> DatasetReport:
    """Everything the page of data and protocol shows, worked out. Needs no images."""
    from bench.data.issues import ISSUE_KINDS
    from bench.folds.balance import balance_table
    from bench.folds.power import Assumptions, detectable_table

    protocol, manifest, roles = bench.protocol, bench.source.manifest, bench.roles
    passed = Counter(ISSUE_KINDS[fault.kind].title for fault in bench.source.left_out)
    assumed = Assumptions(level=protocol.interval.level)
    return DatasetReport(
        protocol=protocol,
        manifest=manifest,
        roles=roles,
        board=board,
        left_out=dict(passed),
        balance={part: balance_table(roles, manifest, part) for part in PARTS},
        detectable=detectable_table(roles, manifest, protocol, assumed),
        assumed=asdict(assumed),
        pairs=committed_pairs(manifest),
        proven=bench.proven,
    )


def committed_pairs(manifest: Dataset) -> KnownPairs:
    """The committed lists of a dataset's duplicates: those frozen, and those found later."""
    return KnownPairs(
        _pairs(f"*/{manifest.name}_duplicates.csv", manifest),
        _pairs(f"*/{manifest.name}_duplicates_missed.csv", manifest),
    )


def _pairs(pattern: str, manifest: Dataset) -> pd.DataFrame:
    """The lists that lie beside the protocols, of pairs whose images the dataset has."""
    import pandas as pd

    tables = [
        pd.read_csv(path, dtype={"image_a": str, "image_b": str})
        for path in sorted(PROTOCOLS.glob(pattern))
    ]
    if not tables:
        return pd.DataFrame({"image_a": [], "image_b": []}, dtype=str)
    table = pd.concat(tables, ignore_index=True)
    known = set(manifest.image_ids.tolist())
    mine = table[["image_a", "image_b"]].map(known.__contains__).all(axis=1)
    return table[mine].reset_index(drop=True)


def write_row_texts(bench: Bench, root: Path) -> None:
    """A classification report beside each job's predictions; that of all and a table a row.

    The tables hold no labels, since a method could read them.
    """
    manifest = bench.source.manifest
    labels = pd.Series(manifest.labels, index=manifest.image_ids)
    rows: dict[Path, list[tuple[str, Predictions]]] = {}
    for folder, record in results.whole_records(root, bench.protocol.name, manifest.name):
        job = record.job
        if (job.roster_sha256, job.roles_sha256) != (manifest.roster_sha256, bench.roles_sha256):
            continue
        predictions = results.read_predictions(folder / results.PREDICTIONS, job.classes)
        name = f"seed {job.seed}, fold {job.column}"
        _write_report(folder, f"{job.row}, {name}, {bench.protocol.name}", [predictions], labels)
        rows.setdefault(results.row_folder(root, job), []).append((name, predictions))
    for folder, jobs in rows.items():
        every = [predictions for _, predictions in jobs]
        title = f"{folder.name}, {len(jobs)} jobs pooled, {bench.protocol.name}"
        _write_report(folder, title, every, labels)
        tables = [results.predictions_table(each).assign(job=name) for name, each in jobs]
        results.write_table(folder / results.TABLE, pd.concat(tables))


def _write_report(
    folder: Path, title: str, parts: Sequence[Predictions], labels: pd.Series[int]
) -> None:
    from bench.score.row_report import report_text

    truth = np.concatenate([labels[part.image_ids].to_numpy() for part in parts])
    probs = np.concatenate([part.probs for part in parts])
    path, text = (
        folder / results.REPORT,
        report_text(title, parts[0].classes, truth, probs).encode(),
    )
    if not path.is_file() or path.read_bytes() != text:  # thousands of writes to the disk spared
        write_atomically(path, text)
