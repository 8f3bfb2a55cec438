"""Add rows to a leaderboard without training: submissions and ensembles."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pandas as pd

from bench.calibrate import fit_pool
from bench.errors import PredictionError
from bench.io import sha256_of
from bench.predictions import Predictions, RowPredictions, TrainingKey
from bench.run.ensembles import (
    EnsembleFit,
    ensemble_job,
    is_ensemble,
    shared_slots,
    write_ensemble,
)
from bench.run.registry import method_names
from bench.run.results import refuse_unwritable
from bench.run.submissions import (
    Submission,
    declared_models,
    holds_submission,
    keep_submission,
    read_submission,
    refuse_committed,
    refuse_name,
    refuse_odd_name,
    row_folder,
)
from bench.score.comparison import find_row
from bench.settings import BASELINES, COMMITTED
from bench.workflows.collect import collect
from bench.workflows.open import OpenBench

FEWEST_MEMBERS = 2
Pool = Literal["linear", "log"]


@dataclass(frozen=True)
class Origin:
    """Where a submission comes from, as its submitter states it.

    pretraining_data  data that the model saw before; an undeclared row is shown unranked
    models            number of separately trained models; None if not stated. At least one for each
                      fold: only then is the method compared, beside its models
    """

    origin: str = "not stated"
    licence: str = "not stated"
    pretraining_data: str = "undeclared"
    models: int | None = None


@dataclass(frozen=True)
class NewEnsemble:
    """A written ensemble: its folder, its members, and the seeds that not all members have."""

    folder: Path
    members: tuple[str, ...]
    left_out_seeds: tuple[int, ...]


def submit(
    bench: OpenBench,
    file: Path,
    name: str,
    results: Path,
    origin: Origin,
    *,
    replace: bool = False,
) -> Path:
    """Check a file of out-of-fold predictions and keep it as the row `name`; give its folder.

    file     CSV or Parquet: `image_id` and `p_<class>` of every class, every test image once;
             optionally `model`, the name of the model that made a prediction
    replace  whether an earlier submission of this name is replaced

    Raises PredictionError that names the first offenders.
    """
    refuse_unwritable(results)
    protocol, dataset = bench.protocol.name, bench.dataset
    folder = row_folder(results, protocol, dataset.name, name)
    refuse_name(name, folder, method_names(BASELINES), replace=replace)
    refuse_committed(name, row_folder(COMMITTED, protocol, dataset.name, name))
    read_submission(file, bench.submission_spec)
    submission = Submission(
        name=name,
        protocol=protocol,
        dataset=dataset.name,
        roster_sha256=dataset.roster_sha256,
        roles_sha256=bench.roles_sha256,
        file=f"submission{'.parquet' if file.suffix.lower() == '.parquet' else '.csv'}",
        sha256=sha256_of(file),
        original=file.name,
        origin=origin.origin,
        licence=origin.licence,
        pretraining_data=origin.pretraining_data,
        models=declared_models(file, bench.submission_spec, origin.models),
        accepted=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    keep_submission(folder, file, submission)
    return folder


def submit_frame(
    bench: OpenBench,
    predictions: pd.DataFrame,
    name: str,
    results: Path,
    origin: Origin,
    *,
    replace: bool = False,
) -> Path:
    """Submit a DataFrame: image_id as a column or the index, and p_<class> of every class.

    An index of strings without a name holds the image ids.
    """
    table = predictions
    if not {"image_id", "image"} & set(table.columns):
        unnamed = table.index.name is None and table.index.inferred_type == "string"
        table = (table.rename_axis(index="image_id") if unnamed else table).reset_index()
    with TemporaryDirectory(prefix="submission-") as folder:
        file = Path(folder) / f"{name if name.isidentifier() else 'predictions'}.parquet"
        table.to_parquet(file, index=False)
        try:
            return submit(bench, file, name, results, origin, replace=replace)
        except PredictionError as error:  # the user has a DataFrame, not the temporary file
            raise PredictionError(str(error).replace(str(file), "predictions")) from None


def ensemble(
    bench: OpenBench,
    rows: Sequence[str],
    name: str,
    results: Path,
    *,
    pool: Pool = "linear",
    data_words: Sequence[str] = (),
    replace: bool = False,
) -> NewEnsemble:
    """Join rows by weights chosen on val alone, fold by fold, as the row `name`.

    rows        names of rows, or of methods that have one row; joined on the seeds all have whole
    pool        linear: the weighted mean; log: the weighted product
    data_words  options that name the data, for the command that is recorded

    Raises PredictionError for fewer than two different rows, reference rows, or a name in use.
    """
    refuse_unwritable(results)
    protocol, dataset = bench.protocol, bench.dataset
    folder, public = (
        row_folder(root, protocol.name, dataset.name, name) for root in (results, COMMITTED)
    )
    _refuse_ensemble_name(name, folder, public, replace=replace)
    collected = collect(bench, results)
    names = [find_row(row, collected.rows) for row in rows]
    if len(names) < FEWEST_MEMBERS or len(set(names)) < len(names):
        raise PredictionError(f"ensemble takes two different rows or more, not {' '.join(names)}")
    references = [row for row in names if row not in collected.facts]
    if references:
        raise PredictionError(f"{references[0]}: is a reference row, which was not trained")
    by_name = {row.name: row for row in collected.rows}
    members = [by_name[row] for row in names]
    keys = shared_slots(members)
    base = {
        "protocol": protocol.name,
        "dataset": dataset.name,
        "roster_sha256": dataset.roster_sha256,
        "roles_sha256": bench.roles_sha256,
    }
    facts = {row: collected.facts[row] for row in names}
    job = ensemble_job(base, name, pool, facts, dataset.classes)
    fits = {key: _fit(bench, members, key, pool) for key in keys}
    words = ["python", "bench.py", "ensemble", *names, "--name", name, "--pool", pool]
    command = shlex.join([*words, "--protocol", protocol.name, *data_words])
    write_ensemble(results, protocol.split.repeats, protocol.folds, job, fits, command)
    used = {key.seed for key in keys}
    further = sorted({seed for member in members for seed in member.seeds} - used)
    return NewEnsemble(folder, tuple(names), tuple(further))


def _refuse_ensemble_name(name: str, folder: Path, public: Path, *, replace: bool) -> None:
    """Raise PredictionError for a name that is invalid or in use.

    public  the row's folder among the committed rows; the name of a committed ensemble may be used
            again, because the leaderboard tells the two apart.
    """
    refuse_odd_name(name)
    for place in filter(holds_submission, (folder, public)):
        raise PredictionError(f"--name {name}: {place} holds a submission; take another name")
    if not is_ensemble(folder):
        refuse_name(name, folder, method_names(BASELINES), replace=False)
    elif not replace:
        raise PredictionError(f"--name {name}: {folder} holds an ensemble already; give --replace")


def _fit(
    bench: OpenBench, members: Sequence[RowPredictions], key: TrainingKey, pool: Pool
) -> EnsembleFit:
    """The ensemble of one training: weights fitted on val, used on test."""
    dataset = bench.dataset
    code = dict(zip(dataset.image_ids.tolist(), dataset.labels.tolist(), strict=True))
    val_ids, test_ids = members[0].val[key].image_ids, members[0].test[key].image_ids
    val = np.stack([member.val[key].for_ids(val_ids) for member in members])
    test = np.stack([member.test[key].for_ids(test_ids) for member in members])
    fitted = fit_pool(pool, val, np.array([code[image_id] for image_id in val_ids]))
    weights = zip([member.name for member in members], fitted.weights.tolist(), strict=True)
    return EnsembleFit(
        test=Predictions(test_ids, fitted(test), dataset.classes),
        val=Predictions(val_ids, fitted(val), dataset.classes),
        weights=dict(weights),
    )
