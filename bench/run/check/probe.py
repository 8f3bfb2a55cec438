"""A probe: one short training in its own process.

One image a patient and equal classes make chance simple: no group, no prior can be learnt by heart.
Beside the store lies what a job never has: the metadata with all labels, where $BENCH_DATA points.

It goes the way of a job: the same task from store and fold table, the same proof of what comes
back. Only then is the task changed, and the outcome is a file beside the log instead of a record.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.data.cache import ImageCache, build_cache
from bench.data.fold_task import fold_table, write_fold_table
from bench.data.open import OpenDataset
from bench.data.preprocess import Chain
from bench.dataset import Dataset
from bench.errors import PredictionError
from bench.job import JobFile, ResourceLimits
from bench.method import FoldTask, Images, LabelledPart, Part
from bench.protocol import PARTS, Roles
from bench.run.registry import load_method, trained_by_engine
from bench.run.results import HISTORY
from bench.run.supervisor import GRACE_SECONDS, LOG_CUT, fault_in_log, supervise
from bench.run.worker import FolderJournal, keep_predictions, prepare_task

FOLDS = 5
PER_CLASS = 25
METADATA = "metadata.csv"


@dataclass(frozen=True)
class Cohort:
    """The cohort on disk: its source, its roles, and the folder of the data with its labels."""

    source: OpenDataset
    roles: Roles

    @property
    def manifest(self) -> Dataset:
        """Who is in it."""
        return self.source.manifest

    @property
    def metadata(self) -> Path:
        """The file that tells every label."""
        return self.source.folder / METADATA

    def store(self, chain: Chain) -> ImageCache:
        """The images after a chain."""
        return build_cache(self.source, chain)

    def table(self, column: int) -> Path:
        """The fold table of a column, as a job gets it."""
        return write_fold_table(fold_table(self.manifest, self.roles, column))

    def labels(self, image_ids: np.ndarray) -> np.ndarray:
        """Class indices (N,) of images."""
        codes = pd.Series(self.manifest.labels, index=self.manifest.image_ids)
        return codes.loc[image_ids].to_numpy()

    def write_metadata(self, swapped: np.ndarray | None = None) -> None:
        """Write the metadata; the images of these ids get the labels of other classes in it."""
        table = self.manifest.table.rename(columns={"label": "dx", "source": "dataset"})
        if swapped is not None:
            classes = self.manifest.classes
            after = dict(zip(classes, (*classes[1:], classes[0]), strict=True))
            rows = table["image_id"].isin(swapped)
            table.loc[rows, "dx"] = table.loc[rows, "dx"].map(after)
        table.to_csv(self.metadata, index=False)


def small_cohort(source: OpenDataset, folder: Path) -> Cohort:
    """Put the cohort of a check into a folder, from a dataset with patients."""
    manifest = source.manifest
    table = manifest.table.iloc[_one_a_patient(manifest)]
    (folder / "images").mkdir(parents=True)
    for image_id in table["image_id"]:
        name = f"{image_id}.png"
        shutil.copyfile(source.folder / "images" / name, folder / "images" / name)
    small = Dataset(
        name="check",
        title="a part of the synthetic set",
        classes=manifest.classes,
        table=table,
        synthetic=True,
    )
    cohort = Cohort(OpenDataset(small, folder), _roles(small))
    cohort.write_metadata()
    return cohort


def _one_a_patient(manifest: Dataset) -> list[int]:
    """Rows of PER_CLASS images of each class, all of different patients; the rarest class first."""
    taken: set[str] = set()
    rows: list[int] = []
    patients = manifest.table["patient_id"]
    by_rarity = manifest.table["label"].value_counts(ascending=True).index
    for label in by_rarity:
        own = patients[manifest.table["label"] == label].drop_duplicates()
        free = own[~own.isin(taken)].head(PER_CLASS)
        taken.update(free)
        rows += free.index.tolist()
    return sorted(rows)


def _roles(manifest: Dataset) -> Roles:
    """Five folds: of every class a fifth tests, the next fifth is val, the rest trains."""
    place = manifest.table.groupby("label").cumcount().to_numpy()
    turn = (place[:, None] - np.arange(FOLDS)) % FOLDS
    names = np.array(["test", "val", "train", "train", "train"])[turn]
    codes = np.vectorize(PARTS.index)(names).astype(np.uint8)
    return Roles(manifest.roster_sha256, manifest.image_ids, manifest.native_groups, codes)


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
    limits = ResourceLimits(probe.seconds, probe.memory_gib)
    sys.exit(supervise(lambda: _work(probe), probe.folder, limits, watch_runner=False))


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


POLL_SECONDS = 0.05
LOG_BYTES = 8 * 2**20
"""Of a probe, which trains on a hundred images: more is a flood. The guard cuts it later."""
PRELOADED = ("bench.train.fit", "timm", "sklearn.linear_model")
"""What most methods import: loaded once, in the process that all probes are forked from."""
EXCESSES = {"error: ran longer": "time", "error: took more memory": "memory",
            "error: did not stop": "stop"}  # fmt: skip
"""What the guard says of a probe that it has ended."""


@dataclass(frozen=True)
class Outcome:
    """How a probe ended.

    excess  which limit it broke: "time", "memory", "log", "stop", or "" for none
    fault   what it raised, or how it ended without a word; "" where it did all
    kind    "predictions" where these were at fault, else "method"
    told    whether it was told to stop before it had ended; stopping: the seconds it then took
    """

    probe: Probe
    seconds: float
    excess: str = ""
    fault: str = ""
    kind: str = ""
    told: bool = False
    stopping: float = 0.0
    described: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it came to its end, and by itself."""
        return not (self.excess or self.fault or self.told)


def watch(probe: Probe, stop_when: Callable[[], bool] = lambda: False) -> Outcome:
    """Do a probe in a process of its own; tell it to stop when `stop_when` says so."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=run_probe, args=(probe,))
    begun = time.monotonic()
    process.start()
    latest = begun + probe.seconds + 2 * GRACE_SECONDS  # the guard ends it long before
    told = 0.0
    while process.is_alive():
        process.join(POLL_SECONDS)
        if not told and process.is_alive() and stop_when():
            told = time.monotonic()
            process.terminate()  # nothing happens if it has just ended by itself
        if time.monotonic() > latest:
            process.kill()
    ended = time.monotonic()
    outcome, log = _read(probe.folder / OUTCOME), probe.folder / LOG
    last = fault_in_log(log) if log.exists() else ""
    excess = next((kind for said, kind in EXCESSES.items() if last.startswith(said)), "")
    if told and excess == "time":
        excess = "stop"  # it was told long before its time was over
    if not excess and log.exists() and _flooded(log):
        excess = "log"
    fault = str(outcome.get("fault", ""))
    if not outcome and not told and not excess:
        fault = last or f"its process ended without a word (exit code {process.exitcode})"
    return Outcome(
        probe=probe,
        seconds=ended - begun,
        excess=excess,
        fault=fault,
        kind=str(outcome.get("kind", "")),
        told=bool(told) and not outcome,
        stopping=ended - told if told else 0.0,
        described=outcome,
    )


def has_history(probe: Probe) -> bool:
    """Whether a probe has told of an epoch."""
    return (probe.folder / HISTORY).exists()


def begun_seconds(probe: Probe) -> float:
    """Seconds since a probe's method was called; 0 before that."""
    try:
        return time.time() - (probe.folder / BEGUN).stat().st_mtime
    except OSError:
        return 0.0


def _flooded(log: Path) -> bool:
    """Whether a log is too long, or was, until the guard cut it."""
    with log.open("rb") as stream:
        return log.stat().st_size > LOG_BYTES or stream.read(len(LOG_CUT)) == LOG_CUT


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
