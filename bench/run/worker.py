"""Run one job in this process: read the data, train, write predictions, then the record."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from bench.data.cache import open_cache
from bench.data.fold_task import read_fold
from bench.dataset import UnlabelledRecord
from bench.errors import MethodError, PredictionError, ResultsError
from bench.io import write_atomically
from bench.job import Job, JobFile, JobLocation, RunRecord, engine_sha256, to_json
from bench.method import FoldTask, Images, Journal, Method, Part
from bench.predictions import Predictions
from bench.run import results
from bench.run.registry import inputs_sha256, load_method
from bench.run.supervisor import ResourceMeter, ResourceUsage, read_usage, usage_file
from bench.settings import ROOT

PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow", "scikit-learn")
LOCK_SECONDS = 20


class JobBusyError(ResultsError):
    """Another process is working on the job."""


class FolderJournal:
    """Writes the reports of a method into the job's folder and prints them into the log."""

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.folder, self.classes = folder, classes
        self.rows: list[Mapping[str, float]] = []
        self.facts: dict[str, Any] = {}
        self.notes: list[str] = []
        self.val: Predictions | None = None

    def epoch(self, row: Mapping[str, float]) -> None:
        """Add a row to history.csv; the whole file is replaced atomically."""
        self.rows.append(row)
        columns = list(dict.fromkeys(name for each in self.rows for name in each))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.folder / "history.csv", text.getvalue().encode())
        shown = (f"{name} {value:.4g}" for name, value in row.items())
        print("  ".join(shown), flush=True)  # noqa: T201 - this is the job's log

    def fact(self, name: str, value: Any) -> None:
        """Keep a fact for the record."""
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, float) and not math.isfinite(value):
            value = None  # JSON has no undefined number
        json.dumps(value)  # fails now, with the method's line in the traceback
        self.facts[name] = value
        print(f"{name}: {value}", flush=True)  # noqa: T201

    def note(self, sentence: str) -> None:
        """Keep a sentence for record and page."""
        self.notes.append(sentence)
        print(f"NOTE {sentence}", flush=True)  # noqa: T201

    def val_predictions(self, predictions: Predictions) -> None:
        """Keep the predictions of the val part."""
        self.val = predictions


class SilentJournal:
    """The journal of a process that shares a job; the process of rank 0 writes."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Do nothing."""

    def fact(self, name: str, value: Any) -> None:
        """Do nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""

    def val_predictions(self, predictions: Predictions) -> None:
        """Do nothing."""


def helper_rank(job: Job) -> int:
    """Rank of this process among those that share a job; rank 0 writes the results."""
    return int(os.environ.get("RANK", "0")) if job.devices > 1 else 0


def run_job(job_file: JobFile) -> RunRecord:
    """Run one job and write its record; a finished job is returned unchanged.

    The state with which an interrupted training continues is removed after the record is written.

    Raises JobBusyError, MethodError, PredictionError or any exception of the method; then there is
    no record.
    """
    folder = Path(job_file.place.folder)
    lock = FileLock(folder / "job.lock", timeout=LOCK_SECONDS)
    try:
        with lock:
            done = results.read_record(folder)
            finished = done is not None and results.is_finished(job_file)
            record = done if done is not None and finished else _run(job_file, folder)
            if not job_file.place.keep_state:
                results.remove_training_state(folder)
            return record
    except Timeout:
        raise JobBusyError(f"{folder}: another process is working on this job") from None


def help_job(job_file: JobFile) -> None:
    """Run this process's share of a job that several processes share; rank 0 writes the results."""
    with ResourceMeter(usage_file(Path(job_file.place.folder), helper_rank(job_file.job))):
        method, task = prepare_task(job_file, SilentJournal())
        method.fit_predict(task)


def _run(job_file: JobFile, folder: Path) -> RunRecord:
    files = [usage_file(folder, rank) for rank in range(job_file.job.devices)]
    journal = FolderJournal(folder, job_file.job.classes)
    with ResourceMeter(files[0]) as meter:
        method, task = prepare_task(job_file, journal)
        predictions = method.fit_predict(task)
        keep_predictions(folder, task, predictions, journal.val)
        helpers_cpu = sum(read_usage(file).cpu_seconds for file in files[1:])
        record = _record(job_file, journal, folder, meter.usage(), helpers_cpu)
        write_atomically(folder / "record.json", to_json(record).encode())
    for file in files:
        file.unlink(missing_ok=True)
    return record


def prepare_task(job_file: JobFile, journal: Journal) -> tuple[Method, FoldTask]:
    """The method of a job and its task.

    Raises MethodError or ResultsError if code or pixels have changed since the plan.
    """
    job, place = job_file.job, job_file.place
    store = open_cache(Path(place.store))
    if store.index.pixels_sha256 != job.pixels_sha256:
        raise ResultsError(f"{place.store}: other pixels than the job was planned for; run again")
    train, val, test = read_fold(Path(place.fold_table), store)
    loaded = load_method(place.method_file, Path(place.method_file).parent)
    if loaded.source_sha256 != job.method_source:
        raise MethodError(
            f"{place.method_file}: it or a module beside it changed since the job was planned; run "
            "again"
        )
    if inputs_sha256(loaded) != job.inputs_sha256:
        raise MethodError(
            f"{place.method_file}: its input files changed since the job was planned; run again"
        )
    tensorboard = place.tensorboard and helper_rank(job) == 0
    task = FoldTask(
        classes=job.classes,
        train=train,
        val=val,
        test=test,
        recipe=job.recipe,
        seed=job.seed,
        column=job.draws_column,
        device=place.device,
        threads=job.threads,
        weights=Path(place.weights) if place.weights else None,
        folder=Path(place.folder) / results.CHECKPOINTS,
        journal=journal,
        chain=tuple(store.index.chain),
        devices=job.devices,
        checkpoint_seconds=place.checkpoint_seconds,
        tensorboard=Path(place.folder) / results.TENSORBOARD if tensorboard else None,
        dataset=job.dataset,
        unlabelled=_unlabelled(job, place),
    )
    return loaded.method, task


def _unlabelled(job: Job, place: JobLocation) -> Part | None:
    """The job's unlabelled images. Raises ResultsError if they have changed since the plan."""
    if place.unlabelled is None:
        return None
    store = open_cache(Path(place.unlabelled))
    if store.index.files_sha256[:16] != job.recipe.unlabelled:
        raise ResultsError(
            f"{place.unlabelled}: other images than the job was planned for; run again"
        )
    ids = store.index.image_ids
    records = tuple(UnlabelledRecord(image_id) for image_id in ids)
    return Part(records, Images(store.pixels, np.arange(len(ids))))


def keep_predictions(
    folder: Path, task: FoldTask, test: Predictions, val: Predictions | None
) -> None:
    """Check the predictions of a method and write them into the job's folder.

    Raises PredictionError if type, classes or image ids differ from the task's.
    """
    if not isinstance(test, Predictions):
        raise PredictionError(f"fit_predict returned {type(test).__name__}, not Predictions")
    for name, part, predictions in (("", task.test, test), ("val_", task.val, val)):
        if predictions is None:
            continue
        if tuple(predictions.classes) != task.classes:
            raise PredictionError(
                f"{name}predictions have the classes {predictions.classes}, not {task.classes}"
            )
        ordered = Predictions(part.image_ids, predictions.for_ids(part.image_ids), task.classes)
        results.write_predictions(folder / f"{name}predictions.parquet", ordered)
        if part is task.test:
            results.write_table(folder / results.TABLE, results.predictions_table(ordered))


def _record(
    job_file: JobFile,
    journal: FolderJournal,
    folder: Path,
    usage: ResourceUsage,
    helpers_cpu: float,
) -> RunRecord:
    host, versions, (commit, dirty) = bench_facts()
    return RunRecord(
        id=job_file.id,
        job=job_file.job,
        started=usage.started,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(usage.wall_seconds, 3),
        cpu_seconds=round(usage.cpu_seconds + helpers_cpu, 3),
        peak_memory_bytes=_peak_memory_bytes(),
        resumed=usage.processes - 1,
        host=host,
        versions=versions,
        git_commit=commit,
        git_dirty=dirty,
        device=str(journal.facts.get("device", "")),
        facts=journal.facts,
        notes=journal.notes,
        command=job_file.command,
        files=results.files_beside_record(folder),
        engine_sha256=engine_sha256(),
    )


def _peak_memory_bytes() -> int:
    """Peak resident memory of this process in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@cache
def bench_facts() -> tuple[dict[str, Any], dict[str, str], tuple[str, bool]]:
    """Machine, package versions and git state, read once a process."""
    return host_facts(), package_versions(), git_state()


def host_facts() -> dict[str, Any]:
    """The machine, without host and user names."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that influence numbers."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def git_state() -> tuple[str, bool]:
    """The commit of the bench's code, and whether files differ from it; ("", False) without git."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "", False
    return commit, bool(changed)
