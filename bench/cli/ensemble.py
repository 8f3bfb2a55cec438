"""`ensemble`: rows that are in the results, made one row by weights chosen on val alone."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import click

from bench.cli.board import Bench, gather, open_bench, print_data, score_and_render
from bench.cli.board_text import print_table
from bench.cli.places import BASELINES, COMMITTED, protocol_option, results_option, source_options
from bench.data.sources import DataChoice
from bench.errors import PredictionError, listing

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
    data: DataChoice,
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
    from bench.score.versus import find_row

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

    from bench.pool import fit_pool
    from bench.predictions import Predictions
    from bench.run.ensembles import Made

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
    return Made(test=test, val=val, weights=dict(weights))
