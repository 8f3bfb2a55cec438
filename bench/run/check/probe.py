"""A probe: one training in a process of its own, as it is or with something changed.

It goes the way of a job: the same task from store and fold table, the same proof of what comes
back. Only then is the task changed, and the outcome is a file beside the log instead of a record.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import PredictionError
from bench.job import JobFile, Place
from bench.method import FoldTask, Images, LabelledPart, Part
from bench.run.execute import FolderJournal, keep_predictions, prepare_task
from bench.run.guard import guarded
from bench.run.registry import load_method, trained_by_engine

OUTCOME, LOG, BEGUN = "outcome.json", "log.txt", "begun"
BATCH_PER_CLASS = 2


@dataclass(frozen=True)
class Probe:
    """What a process of the check does.

    job_file  what to train; None only loads the method and tells what it is
    way       how the task is changed: a name of WAYS
    seconds, memory_gib  what it may take
    """

    name: str
    method: str
    baselines: Path
    folder: Path
    job_file: JobFile | None = None
    way: str = "as it is"
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0
    memory_gib: float = 8.0


def run_probe(probe: Probe) -> None:
    """Do a probe in a child of this process, as a job is done: this one becomes its guard."""
    os.setsid()
    probe.folder.mkdir(parents=True, exist_ok=True)
    log = os.open(probe.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    os.environ.update(probe.environment)
    place = Place(
        method_file="",
        store="",
        fold_table="",
        weights=None,
        folder=str(probe.folder),
        device="cpu",
        timeout_seconds=probe.seconds,
        memory_gib=probe.memory_gib,
    )
    sys.exit(guarded(lambda: _work(probe), place, watch_runner=False))


def _work(probe: Probe) -> int:
    """Do it, and leave its outcome in a file."""
    outcome: dict[str, Any] = {"fault": "", "kind": ""}
    started = time.perf_counter()
    try:
        outcome |= _describe(probe) if probe.job_file is None else _train(probe, probe.job_file)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a method raises is its fault
        traceback.print_exc()
        outcome["fault"] = f"{type(error).__name__}: {error}".splitlines()[0]
        outcome["kind"] = "predictions" if isinstance(error, PredictionError) else "method"
    outcome["seconds"] = time.perf_counter() - started
    (probe.folder / OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")
    return 0


def _describe(probe: Probe) -> dict[str, Any]:
    """What the method is called, wants and is trained by."""
    loaded = load_method(probe.method, probe.baselines)
    return {
        "name": loaded.method.name,
        "recipe": loaded.method.recipe.model_dump(mode="json"),
        "source_sha256": loaded.source_sha256,
        "address": loaded.address,
        "engine": trained_by_engine(loaded.method),
    }


def _train(probe: Probe, job_file: JobFile) -> dict[str, Any]:
    journal = FolderJournal(probe.folder, job_file.job.classes)
    method, task = prepare_task(job_file, journal)
    task = WAYS[probe.way](task)
    (probe.folder / BEGUN).touch()
    keep_predictions(probe.folder, task, method.fit_predict(task), journal.val)
    return {}


def _as_it_is(task: FoldTask) -> FoldTask:
    return task


def _shuffled(task: FoldTask) -> FoldTask:
    """The test part in another order."""
    order = np.random.default_rng(0).permutation(len(task.test))
    return replace(task, test=_taken(task.test, order))


def _halved(task: FoldTask) -> FoldTask:
    """Every other image of the test part."""
    return replace(task, test=_taken(task.test, np.arange(0, len(task.test), 2)))


def _permuted(task: FoldTask) -> FoldTask:
    """The labels of train dealt anew."""
    labels = np.random.default_rng(0).permutation(task.train.labels)
    return replace(task, train=replace(task.train, labels=labels))


def _one_batch(task: FoldTask) -> FoldTask:
    """The same few images of every class for learning, choosing and testing."""
    labels = task.train.labels
    rows = [np.flatnonzero(labels == label)[:BATCH_PER_CLASS] for label in np.unique(labels)]
    chosen = np.sort(np.concatenate(rows))
    part = _taken(task.train, chosen)
    batch = LabelledPart(part.records, part.images, labels[chosen], task.train.group_ids[chosen])
    return replace(task, train=batch, val=batch, test=part)


def _taken(part: Part, positions: np.ndarray) -> Part:
    """Some images of a part, without labels, in this order."""
    records = tuple(part.records[position] for position in positions)
    return Part(records, Images(part.images.pixels, part.images.rows[positions]))


WAYS: Mapping[str, Callable[[FoldTask], FoldTask]] = {
    "as it is": _as_it_is,
    "shuffled": _shuffled,
    "halved": _halved,
    "permuted": _permuted,
    "one batch": _one_batch,
}
