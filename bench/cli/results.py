"""`status`, `verify-results`, `merge`, `ensemble`: work on a results folder."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import (
    existing_results_option,
    protocol_option,
    results_option,
    source_options,
)
from bench.cli.terminal import print_table
from bench.data.open import DatasetSpec
from bench.errors import PredictionError, listing
from bench.settings import BASELINES, COMMITTED, PROTOCOLS
from bench.workflows.report import Bench, gather, open_bench, print_data, score_and_render

if TYPE_CHECKING:
    from bench.run.status import JobState, RowState


STATES = ("done", "running", "interrupted", "waiting", "failed", "damaged")


@click.command()
@existing_results_option
def status(results: Path) -> int:
    """Say what is done, running, failed or missing, and how long the rest will take.

    Exit 1 where a job has failed or, by the names of its files, is damaged; `verify-results` reads
    them, too.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bench.cli.terminal import minutes, title
    from bench.io import strip_control
    from bench.protocol import load_protocols
    from bench.run.status import read_status

    rows = read_status(results, load_protocols(PROTOCOLS))
    if not rows:
        click.echo(f"{results}: no jobs yet")
        return 0
    table = Table("row", *STATES, "never planned", "left, one job at a time")
    for row in rows:
        left = row.seconds_left
        table.add_row(
            Text(strip_control(f"{row.protocol}/{row.dataset}/{row.row}")),
            *(str(row.count(state) or "") for state in STATES),
            _missing(row),
            "unknown" if left is None else minutes(left) if left else "",
        )
    Console(width=None if Console().is_terminal else 160).print(table)
    for job in (job for row in rows for job in row.jobs):
        name = title(job.job) if job.job else str(job.folder)
        if job.state == "running":
            who = f" by {job.worker}" if job.worker else ""
            heard = f"last heard of {minutes(job.heartbeat or 0)} ago"
            click.echo(strip_control(f"running: {name}{who}, {heard}"))
        elif job.detail:
            click.echo(strip_control(f"{job.state}: {name}: {job.detail}"))
    return 1 if any(_is_bad(job) for row in rows for job in row.jobs) else 0


def _is_bad(job: JobState) -> bool:
    return job.state in {"failed", "damaged"}


def _missing(row: RowState) -> str:
    few = 3
    if len(row.missing) <= few:
        return ", ".join(row.missing)
    return f"{len(row.missing)} jobs"


@click.command("verify-results")
@existing_results_option
def verify_results(results: Path) -> int:
    """Check every record's hashes and every prediction's ids; name what nobody owns.

    Exit 1 where a number is in doubt. Needs neither metadata nor images.
    """
    from bench.io import strip_control
    from bench.protocol import load_protocols
    from bench.run.integrity import verify_results as verify

    checked = verify(results, load_protocols(PROTOCOLS), PROTOCOLS)
    for finding in checked.findings:
        kind = "FAULT" if finding.grave else "note"
        click.echo(strip_control(f"{kind}: {finding.path}: {finding.what}"))
    if checked.absent:
        told = ", ".join(f"{count} of {name}" for name, count in checked.absent.items())
        click.echo(strip_control(f"note: files that records name and that are not here: {told}"))
    click.echo(
        f"{results}: checked {checked.records} records, {checked.files} files of theirs and "
        f"{checked.submissions} submissions: {'sound' if checked.sound else 'NOT sound'}"
    )
    return 0 if checked.sound else 1


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@results_option
def merge(source: Path, results: Path) -> None:
    """Copy every finished job and submission of SOURCE into --results.

    Refuses where both hold something else at one place; then nothing is copied. What is damaged in
    SOURCE is named and left out; what is damaged in --results is replaced.
    """
    from bench.run.integrity import merge_results
    from bench.run.results import refuse_unwritable

    refuse_unwritable(results)
    merged = merge_results(source, results)
    for fault in merged.damaged:
        click.echo(f"left out, damaged: {fault}")
    click.echo(
        f"{results}: {merged.copied} copied from {source}, {merged.equal} were there already, "
        f"{merged.unfinished} unfinished jobs left where they are"
    )


FEWEST = 2


@click.command()
@click.argument("asked", metavar="ROW ROW [ROW...]", nargs=-1, required=True)
@click.option("--name", "row", required=True, help="Name of the new row.")
@click.option(
    "--pool",
    "kind",
    type=click.Choice(["linear", "log"]),
    default="linear",
    show_default=True,
    help="linear: the weighted mean; log: the weighted product, which fuses independent evidence, "
    "such as an image's and a patient's.",
)
@protocol_option
@partial(source_options, name_option="--dataset-name")
@results_option
@click.option("--replace", is_flag=True, help="Take the place of an earlier ensemble.")
def ensemble(
    asked: tuple[str, ...],
    row: str,
    kind: str,
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    replace: bool,  # noqa: FBT001
) -> None:
    """Join rows of the results by weights chosen on val, fold by fold, as a row of its own.

    Rows are named as `compare` names them, and joined on the seeds that all of them have whole.
    Needs no images, and trains nothing.
    """
    from bench.run.ensembles import ensemble_job, shared_slots, write_ensemble
    from bench.run.results import refuse_unwritable
    from bench.run.submissions import row_folder
    from bench.score.comparison import find_row

    bench = open_bench(protocol_name, data)
    refuse_unwritable(results)
    print_data(bench)
    manifest = bench.source.manifest
    _refuse_name(
        row,
        *(row_folder(root, protocol_name, manifest.name, row) for root in (results, COMMITTED)),
        replace=replace,
    )
    gathered = gather(bench, results)
    rows, facts = gathered.rows, gathered.facts
    names = [find_row(name, rows) for name in asked]
    if len(names) < FEWEST or len(set(names)) < len(names):
        raise PredictionError(f"ensemble takes two different rows or more, not {' '.join(names)}")
    strange = [name for name in names if name not in facts]
    if strange:
        raise PredictionError(f"{strange[0]}: is a reference row, which has learnt nothing")
    by_name = {each.name: each for each in rows}
    members = [by_name[name] for name in names]
    slots = shared_slots(members)
    used = {slot.seed for slot in slots}
    further = sorted({seed for each in members for seed in each.seeds} - used)
    if further:
        click.echo(f"left out, since not all members have them whole: seeds {listing(further)}")
    base = {
        "protocol": protocol_name,
        "dataset": manifest.name,
        "roster_sha256": manifest.roster_sha256,
        "roles_sha256": bench.roles_sha256,
    }
    job = ensemble_job(base, row, kind, {name: facts[name] for name in names}, manifest.classes)
    made = {slot: _joined(bench, members, slot, kind) for slot in slots}
    words = ["python", "bench.py", "ensemble", *names, "--name", row, "--pool", kind]
    command = shlex.join([*words, "--protocol", protocol_name, *data.words()])
    protocol = bench.protocol
    write_ensemble(results, protocol.split.repeats, protocol.folds, job, made, command)
    leaderboard, page, _ = score_and_render(bench, results)
    print_table(leaderboard)
    click.echo(f"leaderboard: {page}")


def _refuse_name(row: str, folder: Path, public: Path, *, replace: bool) -> None:
    """Raise PredictionError for a name that is none, or that another row has; `public` is its
    folder among the committed rows. A committed ensemble's may be taken: the board tells two apart.
    """
    from bench.run.ensembles import is_ensemble
    from bench.run.registry import method_names
    from bench.run.submissions import holds_submission, refuse_name, refuse_odd_name

    refuse_odd_name(row)
    for place in filter(holds_submission, (folder, public)):
        raise PredictionError(f"--name {row}: {place} holds a submission; take another name")
    if not is_ensemble(folder):
        refuse_name(row, folder, method_names(BASELINES), replace=False)
    elif not replace:
        raise PredictionError(f"--name {row}: {folder} holds an ensemble already; give --replace")


def _joined(bench: Bench, members: list[Any], slot: Any, kind: Any) -> Any:
    """The ensemble of one slot: weights from val, used on test."""
    import numpy as np

    from bench.calibrate import fit_pool
    from bench.predictions import Predictions
    from bench.run.ensembles import EnsembleFit

    manifest = bench.source.manifest
    ids = {part: getattr(members[0], part)[slot].image_ids for part in ("val", "test")}
    probs = {
        part: np.stack([getattr(member, part)[slot].for_ids(own) for member in members])
        for part, own in ids.items()
    }
    code = dict(zip(manifest.image_ids.tolist(), manifest.labels.tolist(), strict=True))
    pool = fit_pool(kind, probs["val"], np.array([code[each] for each in ids["val"]]))
    val, test = (Predictions(ids[part], pool(probs[part]), manifest.classes) for part in probs)
    weights = zip([member.name for member in members], pool.weights.tolist(), strict=True)
    return EnsembleFit(test=test, val=val, weights=dict(weights))
