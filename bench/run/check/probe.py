"""A probe: one short training in a separate process.

The small dataset has one image per patient and equal classes, so that chance is simple: neither
groups nor class shares help. Next to the image cache is the metadata with all labels, which a job
never has; $BENCH_DATA points to it.

A probe is processed like a job: its task comes from cache and fold table, and its predictions are
checked in the same way. Only the task may be changed, and a file next to the log is the outcome.
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
from bench.run.registry import inputs_sha256, load_method, trained_by_engine
from bench.run.results import HISTORY
from bench.run.supervisor import GRACE_SECONDS, LOG_CUT, fault_in_log, supervise
from bench.run.worker import FolderJournal, keep_predictions, prepare_task

FOLDS = 5
PER_CLASS = 25
METADATA = "metadata.csv"


@dataclass(frozen=True)
class Cohort:
    """The small dataset on disk and its roles."""

    source: OpenDataset
    roles: Roles

    @property
    def dataset(self) -> Dataset:
        """The images and labels."""
        return self.source.manifest

    @property
    def metadata(self) -> Path:
        """The file with all labels."""
        return self.source.folder / METADATA

    def store(self, chain: Chain) -> ImageCache:
        """The image cache of a preprocessing chain."""
        return build_cache(self.source, chain)

    def table(self, column: int) -> Path:
        """The fold table of a column, as for a job."""
        return write_fold_table(fold_table(self.dataset, self.roles, column))

    def labels(self, image_ids: np.ndarray) -> np.ndarray:
        """Class indices (N,) of images."""
        codes = pd.Series(self.dataset.labels, index=self.dataset.image_ids)
        return codes.loc[image_ids].to_numpy()

    def write_metadata(self, swapped: np.ndarray | None = None) -> None:
        """Write the metadata; the images of `swapped` get the labels of other classes in it."""
        table = self.dataset.table.rename(columns={"label": "dx", "source": "dataset"})
        if swapped is not None:
            classes = self.dataset.classes
            after = dict(zip(classes, (*classes[1:], classes[0]), strict=True))
            rows = table["image_id"].isin(swapped)
            table.loc[rows, "dx"] = table.loc[rows, "dx"].map(after)
        table.to_csv(self.metadata, index=False)


def small_cohort(source: OpenDataset, folder: Path) -> Cohort:
    """Write the small dataset of a check into a folder, from a dataset with patients."""
    dataset = source.manifest
    table = dataset.table.iloc[_one_a_patient(dataset)]
    (folder / "images").mkdir(parents=True)
    for image_id in table["image_id"]:
        name = f"{image_id}.png"
        shutil.copyfile(source.folder / "images" / name, folder / "images" / name)
    small = Dataset(
        name="check",
        title="a part of the synthetic set",
        classes=dataset.classes,
        table=table,
        synthetic=True,
    )
    cohort = Cohort(OpenDataset(small, folder), _roles(small))
    cohort.write_metadata()
    return cohort


def _one_a_patient(dataset: Dataset) -> list[int]:
    """Rows of PER_CLASS images of each class, all of different patients; rarest class first."""
    taken: set[str] = set()
    rows: list[int] = []
    patients = dataset.table["patient_id"]
    by_rarity = dataset.table["label"].value_counts(ascending=True).index
    for label in by_rarity:
        own = patients[dataset.table["label"] == label].drop_duplicates()
        free = own[~own.isin(taken)].head(PER_CLASS)
        taken.update(free)
        rows += free.index.tolist()
    return sorted(rows)


def _roles(dataset: Dataset) -> Roles:
    """Five folds: one fifth of each class is test, the next fifth val, the rest train."""
    place = dataset.table.groupby("label").cumcount().to_numpy()
    turn = (place[:, None] - np.arange(FOLDS)) % FOLDS
    names = np.array(["test", "val", "train", "train", "train"])[turn]
    codes = np.vectorize(PARTS.index)(names).astype(np.uint8)
    return Roles(dataset.roster_sha256, dataset.image_ids, dataset.native_groups, codes)


OUTCOME, LOG, BEGUN = "outcome.json", "log.txt", "begun"
BATCH_PER_CLASS = 2


@dataclass(frozen=True)
class Probe:
    """One process of the check.

    job_file  the job; None loads the method and describes it
    change    the change of the task: a key of CHANGES
    seconds, memory_gib  its limits
    """

    name: str
    method: str
    baselines: Path
    folder: Path
    job_file: JobFile | None = None
    change: str = "none"
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0
    memory_gib: float = 8.0


def run_probe(probe: Probe) -> None:
    """Run a probe in a child of this process, which becomes its supervisor, as for a job."""
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
    """Run the probe and write its outcome into a file."""
    outcome: dict[str, Any] = {"fault": "", "kind": ""}
    started = time.perf_counter()
    try:
        outcome |= _describe(probe) if probe.job_file is None else _train(probe, probe.job_file)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a method may raise anything
        traceback.print_exc()
        outcome["fault"] = f"{type(error).__name__}: {error}".splitlines()[0]
        outcome["kind"] = "predictions" if isinstance(error, PredictionError) else "method"
    outcome["seconds"] = time.perf_counter() - started
    (probe.folder / OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")
    return 0


def _describe(probe: Probe) -> dict[str, Any]:
    """Name, recipe, source and engine of the method."""
    loaded = load_method(probe.method, probe.baselines)
    return {
        "name": loaded.method.name,
        "recipe": loaded.method.recipe.model_dump(mode="json"),
        "source_sha256": loaded.source_sha256,
        "inputs_sha256": inputs_sha256(loaded),
        "address": loaded.address,
        "engine": trained_by_engine(loaded.method),
    }


def _train(probe: Probe, job_file: JobFile) -> dict[str, Any]:
    journal = FolderJournal(probe.folder, job_file.job.classes)
    method, task = prepare_task(job_file, journal)
    task = CHANGES[probe.change](task)
    (probe.folder / BEGUN).touch()
    keep_predictions(probe.folder, task, method.fit_predict(task), journal.val)
    return {}


def _shuffled(task: FoldTask) -> FoldTask:
    """The test part in another order."""
    order = np.random.default_rng(0).permutation(len(task.test))
    return replace(task, test=_subset(task.test, order))


def _halved(task: FoldTask) -> FoldTask:
    """Every other image of the test part."""
    return replace(task, test=_subset(task.test, np.arange(0, len(task.test), 2)))


def _permuted(task: FoldTask) -> FoldTask:
    """Permuted labels of train."""
    labels = np.random.default_rng(0).permutation(task.train.labels)
    return replace(task, train=replace(task.train, labels=labels))


def _one_batch(task: FoldTask) -> FoldTask:
    """The same few images of every class as train, val and test."""
    labels = task.train.labels
    rows = [np.flatnonzero(labels == label)[:BATCH_PER_CLASS] for label in np.unique(labels)]
    chosen = np.sort(np.concatenate(rows))
    part = _subset(task.train, chosen)
    batch = LabelledPart(part.records, part.images, labels[chosen], task.train.group_ids[chosen])
    return replace(task, train=batch, val=batch, test=part)


def _subset(part: Part, positions: np.ndarray) -> Part:
    """The images at these positions, in this order, without labels."""
    records = tuple(part.records[position] for position in positions)
    return Part(records, Images(part.images.pixels, part.images.rows[positions]))


CHANGES: Mapping[str, Callable[[FoldTask], FoldTask]] = {
    "none": lambda task: task,
    "shuffled": _shuffled,
    "halved": _halved,
    "permuted": _permuted,
    "one batch": _one_batch,
}


POLL_SECONDS = 0.05
LOG_BYTES = 8 * 2**20
"""Limit for the log of a probe with a hundred images; the supervisor cuts a longer log later."""
PRELOADED = ("bench.train.fit", "timm", "sklearn.linear_model")
"""Imported once, in the process that all probes are forked from."""
EXCESSES = {"error: ran longer": "time", "error: took more memory": "memory",
            "error: did not stop": "stop"}  # fmt: skip
"""Limit by the start of the supervisor's message in the log."""


@dataclass(frozen=True)
class Outcome:
    """Result of a probe.

    excess  the exceeded limit: "time", "memory", "log", "stop", or ""
    fault   its exception or exit code; "" if it finished
    kind    "predictions" if these were invalid, otherwise "method"
    interrupted  whether it got SIGTERM before it finished
    stopping     seconds from SIGTERM to its end
    """

    probe: Probe
    seconds: float
    excess: str = ""
    fault: str = ""
    kind: str = ""
    interrupted: bool = False
    stopping: float = 0.0
    described: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it finished without an interruption."""
        return not (self.excess or self.fault or self.interrupted)


def watch(probe: Probe, stop_when: Callable[[], bool] = lambda: False) -> Outcome:
    """Run a probe in a separate process; send SIGTERM as soon as `stop_when` returns True."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=run_probe, args=(probe,))
    started = time.monotonic()
    process.start()
    deadline = started + probe.seconds + 2 * GRACE_SECONDS  # the supervisor ends it before
    stopped = 0.0
    while process.is_alive():
        process.join(POLL_SECONDS)
        if not stopped and process.is_alive() and stop_when():
            stopped = time.monotonic()
            process.terminate()  # no effect if it has just ended
        if time.monotonic() > deadline:
            process.kill()
    ended = time.monotonic()
    outcome, log = _read(probe.folder / OUTCOME), probe.folder / LOG
    last = fault_in_log(log) if log.exists() else ""
    excess = next((kind for start, kind in EXCESSES.items() if last.startswith(start)), "")
    if stopped and excess == "time":
        excess = "stop"  # SIGTERM was sent long before the limit of time
    if not excess and log.exists() and _flooded(log):
        excess = "log"
    fault = str(outcome.get("fault", ""))
    if not outcome and not stopped and not excess:
        fault = last or f"its process ended without a message (exit code {process.exitcode})"
    return Outcome(
        probe=probe,
        seconds=ended - started,
        excess=excess,
        fault=fault,
        kind=str(outcome.get("kind", "")),
        interrupted=bool(stopped) and not outcome,
        stopping=ended - stopped if stopped else 0.0,
        described=outcome,
    )


def has_history(probe: Probe) -> bool:
    """Whether a probe has finished an epoch."""
    return (probe.folder / HISTORY).exists()


def begun_seconds(probe: Probe) -> float:
    """Seconds since the method of a probe was called; 0 before that."""
    try:
        return time.time() - (probe.folder / BEGUN).stat().st_mtime
    except OSError:
        return 0.0


def _flooded(log: Path) -> bool:
    """Whether a log is too long, or was cut by the supervisor."""
    with log.open("rb") as stream:
        return log.stat().st_size > LOG_BYTES or stream.read(len(LOG_CUT)) == LOG_CUT


def _read(path: Path) -> dict[str, Any]:
    try:
        outcome: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return outcome
