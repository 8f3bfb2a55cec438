"""Collect the rows of a leaderboard: trained, committed, submitted and reference rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.leaderboard import RowFacts
from bench.predictions import RowPredictions
from bench.run.registry import method_files, split_passport
from bench.run.results import damaged_folds, scan_jobs
from bench.run.rows import BESIDE_OWN, Expected, collect_rows
from bench.run.status import unfinished
from bench.run.submissions import submitted_rows
from bench.score.reference_rows import references
from bench.settings import BASELINES, COMMITTED
from bench.workflows.open import OpenBench

JobNotes = dict[str, list[str]]
"""Sentences about unfinished or damaged jobs, by row."""


@dataclass(frozen=True)
class CollectedRows:
    """Every row of a leaderboard as found on disk, reference rows included.

    facts    facts of each trained or submitted row, by its name
    absent   rows without a finished fold, each with the state of its jobs
    damaged  one sentence for each fold that counts as missing because it is damaged
    """

    rows: list[RowPredictions]
    facts: dict[str, RowFacts]
    absent: dict[str, str]
    damaged: list[str]


def collect(bench: OpenBench, results: Path) -> CollectedRows:
    """Collect the rows of `results`, the committed rows and the reference rows."""
    protocol, dataset = bench.protocol, bench.dataset
    expected = Expected(
        protocol=protocol.name,
        dataset=dataset.name,
        classes=dataset.classes,
        roster_sha256=dataset.roster_sha256,
        roles_sha256=bench.roles_sha256,
        seeds=tuple(protocol.run.seeds),
    )
    passports = {
        method: split_passport(path.read_text(encoding="utf-8"), path)[0]
        for method, path in method_files(BASELINES).items()
    }
    own_jobs, public_jobs = (
        scan_jobs(root, protocol.name, dataset.name) for root in (results, COMMITTED)
    )
    known = collect_rows(own_jobs, public_jobs, expected, passports)
    known += submitted_rows(
        (results, COMMITTED),
        protocol.name,
        dataset.name,
        bench.submission_spec,
        bench.roles_sha256,
        {row.name for row, _ in known},
    )
    own, public = unfinished(results, own_jobs), unfinished(COMMITTED, public_jobs)
    damaged = [*damaged_folds(own_jobs), *damaged_folds(public_jobs)]
    rows = [row for row, _ in known]
    rows += references(protocol, dataset, bench.roles, protocol.run.seeds)
    facts = {row.name: _with_job_notes(row, about, own, public) for row, about in known}
    return CollectedRows(rows, facts, _absent(own, public, {row.name for row in rows}), damaged)


def _with_job_notes(
    row: RowPredictions, facts: RowFacts, own: JobNotes, public: JobNotes
) -> RowFacts:
    """Add a note for every unfinished or damaged job of the row."""
    committed = "committed" in facts.badges
    damaged = public.get(row.name.removesuffix(BESIDE_OWN), []) if committed else []
    return replace(facts, notes=(*facts.notes, *own.get(row.name, []), *damaged))


def _absent(own: JobNotes, public: JobNotes, shown: set[str]) -> dict[str, str]:
    """Rows without a finished fold, each with the state of its jobs."""
    here = shown | {name.removesuffix(BESIDE_OWN) for name in shown}
    begun = {row: jobs for row, jobs in public.items() if row not in here} | own
    return {row: "; ".join(jobs) for row, jobs in begun.items() if row not in shown}
