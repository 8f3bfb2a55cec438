"""Score rows and write the leaderboard's pages, its JSON and CSV files, and reports of rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bench.dataset import Dataset
from bench.errors import DataError
from bench.io import write_atomically
from bench.leaderboard import Leaderboard
from bench.predictions import Predictions
from bench.report.dataset_report import DatasetReport, KnownPairs
from bench.run import results as results_folder
from bench.run.published import compared_pages, leakage_meters, stored_comparisons
from bench.run.results import leaderboard_folder, refuse_unwritable
from bench.workflows.collect import CollectedRows, collect
from bench.workflows.compare import outdated, refreshed
from bench.workflows.events import Message, OnEvent, ignore
from bench.workflows.open import OpenBench
from bench.workflows.workspace import pair_files

COSTS = "costs.csv"
"""The cost matrix, kept beside the leaderboard that uses it."""
PARTS = ("test", "val", "train")


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report.

    costs        CSV of the cost of each mistake; kept beside the leaderboard and used from then on
    latex        also write LaTeX tables, figures and a methods paragraph for a paper
    baseline     row that the ranked rows are compared with; default: the leader
    all_pairs    compare all pairs of ranked rows instead
    with_images  put small pictures of the highest-loss lesions into the row pages; needs the images
    """

    costs: Path | None = None
    latex: bool = False
    with_images: bool = False
    baseline: str = ""
    all_pairs: bool = False


DEFAULTS = ReportOptions()


@dataclass(frozen=True, repr=False)
class Report:
    """A written leaderboard: its numbers, the address of its page, and the rows it was made of."""

    leaderboard: Leaderboard
    page: Path
    collected: CollectedRows

    def __repr__(self) -> str:
        return f"Report({str(self.page)!r}, {len(self.leaderboard.rows)} rows)"

    @property
    def paper(self) -> Path:
        """The LaTeX file, where it was asked for."""
        return self.page.parent / "paper" / "main.tex"


def score(bench: OpenBench, results: Path, on_event: OnEvent = ignore) -> Leaderboard:
    """Score every row of `results` and the committed rows. Writes nothing."""
    return score_rows(bench, _collected(bench, results, on_event))


def score_rows(
    bench: OpenBench, collected: CollectedRows, options: ReportOptions = DEFAULTS
) -> Leaderboard:
    """Score rows that are collected already."""
    from bench.score.comparison import find_row
    from bench.score.leaderboard import score

    baseline = find_row(options.baseline, collected.rows) if options.baseline else ""

    workers = os.cpu_count() or 1
    board = score(
        bench.protocol,
        bench.dataset,
        bench.roles,
        collected.rows,
        collected.facts,
        baseline=baseline,
        all_pairs=options.all_pairs,
        workers=workers,
    )
    return replace(board, absent=collected.absent)


def report(
    bench: OpenBench,
    results: Path,
    options: ReportOptions = DEFAULTS,
    on_event: OnEvent = ignore,
) -> Report:
    """Score every row of `results` and the committed rows; write the leaderboard's pages.

    Stored comparisons whose rows changed are written again; so are classification reports and
    prediction tables beside the predictions.
    """
    refuse_unwritable(results)
    if options.costs is not None:
        _keep_costs(options.costs, _folder(bench, results), bench.dataset.classes)
    collected = _collected(bench, results, on_event)
    board = write_pages(bench, results, collected, options, on_event)
    _write_row_reports(bench, results)
    return Report(board, _folder(bench, results) / "index.html", collected)


def write_pages(
    bench: OpenBench,
    results: Path,
    collected: CollectedRows,
    options: ReportOptions = DEFAULTS,
    on_event: OnEvent = ignore,
) -> Leaderboard:
    """Score rows that are collected already; write the leaderboard's pages."""
    from bench.report.render import write

    folder = _folder(bench, results)
    links = compared_pages(folder, [row.name for row in collected.rows])
    facts, files = board_files(bench, results, collected, options, links=links, on_event=on_event)
    write(files, folder)
    stored = [one for one in stored_comparisons(folder) if outdated(one, facts.board)]
    for page in refreshed(bench, collected, stored):
        write(page.files, folder / page.folder)
    if options.latex:
        from bench.report.paper import FOLDER, render_paper

        write(render_paper(facts), folder / FOLDER)
    return facts.board


def _collected(bench: OpenBench, results: Path, on_event: OnEvent) -> CollectedRows:
    collected = collect(bench, results)
    for fault in collected.damaged:
        on_event(Message(fault, "warning"))
    return collected


def _folder(bench: OpenBench, results: Path) -> Path:
    return leaderboard_folder(results, bench.protocol.name, bench.dataset.name)


def board_files(
    bench: OpenBench,
    results: Path,
    collected: CollectedRows,
    options: ReportOptions = DEFAULTS,
    *,
    links: Sequence[tuple[str, str]] = (),
    home: str = "",
    on_event: OnEvent = ignore,
) -> tuple[DatasetReport, dict[str, str]]:
    """Score rows; make the leaderboard's files by name, the dataset's page included.

    links  address and title of the comparison pages
    home   address of the site's index from these pages, in a site
    """
    from bench.report import render
    from bench.report.arms import leak
    from bench.report.dataset_page import render_dataset
    from bench.score.row_report import row_reports
    from bench.workflows.artifacts import highest_loss_pictures

    render.begin()
    board = score_rows(bench, collected, options)
    folder = _folder(bench, results)
    costs = _kept_costs(folder, bench.dataset.classes)
    details = row_reports(bench.protocol, bench.dataset, bench.roles, collected.rows, costs)
    meters = leakage_meters(folder, bench.dataset.roster_sha256)
    leakage = (leak("" if home else href, meter) for href, meter in meters)
    meter = next(filter(None, leakage), None)
    facts = dataset_report(bench, board)
    beside = render_dataset(facts, home)
    pictures = {}
    if options.with_images:
        pictures = highest_loss_pictures(bench, results, details, on_event)
    pages = render.render(
        board, links, details, meter, pictures=pictures, study=next(iter(beside)), home=home
    )
    return facts, {**pages, **beside}


def dataset_report(bench: OpenBench, board: Leaderboard) -> DatasetReport:
    """Facts for the page of the dataset under the protocol. Needs no images."""
    from bench.data.issues import ISSUE_KINDS
    from bench.folds.balance import balance_table
    from bench.folds.power import Assumptions, detectable_table

    protocol, dataset, roles = bench.protocol, bench.dataset, bench.roles
    left_out = Counter(ISSUE_KINDS[issue.kind].title for issue in bench.source.left_out)
    assumed = Assumptions(level=protocol.interval.level)
    return DatasetReport(
        protocol=protocol,
        manifest=dataset,
        roles=roles,
        board=board,
        left_out=dict(left_out),
        balance={part: balance_table(roles, dataset, part) for part in PARTS},
        detectable=detectable_table(roles, dataset, protocol, assumed),
        assumed=asdict(assumed),
        pairs=committed_pairs(dataset),
        proven=bench.proven,
    )


def committed_pairs(dataset: Dataset) -> KnownPairs:
    """Committed lists of a dataset's duplicates: those joined when roles were frozen, and later."""
    return KnownPairs(
        _pairs(f"*/{dataset.name}_duplicates.csv", dataset),
        _pairs(f"*/{dataset.name}_duplicates_missed.csv", dataset),
    )


def _pairs(pattern: str, dataset: Dataset) -> pd.DataFrame:
    """Read lists of pairs beside the protocols; keep pairs whose images the dataset has."""
    tables = [
        pd.read_csv(path, dtype={"image_a": str, "image_b": str}) for path in pair_files(pattern)
    ]
    if not tables:
        return pd.DataFrame({"image_a": [], "image_b": []}, dtype=str)
    table = pd.concat(tables, ignore_index=True)
    known = set(dataset.image_ids.tolist())
    mine = table[["image_a", "image_b"]].map(known.__contains__).all(axis=1)
    return table[mine].reset_index(drop=True)


def _write_row_reports(bench: OpenBench, root: Path) -> None:
    """Write a classification report beside each job's predictions; one and a table for each row.

    The tables hold no labels, because a method could read them.
    """
    dataset = bench.dataset
    labels = pd.Series(dataset.labels, index=dataset.image_ids)
    rows: dict[Path, list[tuple[str, Predictions]]] = {}
    stored = results_folder.scan_jobs(root, bench.protocol.name, dataset.name)
    for folder, record in results_folder.whole_records(stored):
        job = record.job
        if (job.roster_sha256, job.roles_sha256) != (dataset.roster_sha256, bench.roles_sha256):
            continue
        path = folder / results_folder.PREDICTIONS
        predictions = results_folder.read_predictions(path, job.classes)
        name = f"seed {job.seed}, fold {job.column}"
        _write_report(folder, f"{job.row}, {name}, {bench.protocol.name}", [predictions], labels)
        rows.setdefault(results_folder.row_folder(root, job), []).append((name, predictions))
    for folder, jobs in rows.items():
        title = f"{folder.name}, {len(jobs)} jobs pooled, {bench.protocol.name}"
        _write_report(folder, title, [predictions for _, predictions in jobs], labels)
        tables = [results_folder.predictions_table(each).assign(job=name) for name, each in jobs]
        results_folder.write_table(folder / results_folder.TABLE, pd.concat(tables))


def _write_report(
    folder: Path, title: str, parts: Sequence[Predictions], labels: pd.Series[int]
) -> None:
    from bench.score.row_report import report_text

    truth = np.concatenate([labels[part.image_ids].to_numpy() for part in parts])
    probs = np.concatenate([part.probs for part in parts])
    path = folder / results_folder.REPORT
    text = report_text(title, parts[0].classes, truth, probs).encode()
    if not path.is_file() or path.read_bytes() != text:  # spares thousands of writes
        write_atomically(path, text)


def _keep_costs(path: Path, leaderboard: Path, classes: tuple[str, ...]) -> None:
    """Keep a cost matrix beside the leaderboard. Raises DataError for a file that is not one."""
    text, _ = _read_costs(path, classes, f"--costs {path}")
    write_atomically(leaderboard / COSTS, text.encode())


def _kept_costs(leaderboard: Path, classes: tuple[str, ...]) -> np.ndarray | None:
    """The cost matrix kept beside the leaderboard (C, C), if there is one."""
    path = leaderboard / COSTS
    return _read_costs(path, classes, str(path))[1] if path.exists() else None


def _read_costs(path: Path, classes: tuple[str, ...], where: str) -> tuple[str, np.ndarray]:
    """Text and matrix of a file of costs."""
    from bench.score.row_report import parse_costs

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{where}: is not UTF-8 text") from None
    return text, parse_costs(text, classes, where)
