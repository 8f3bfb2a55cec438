"""Real jobs of a small dataset, by methods that misbehave in a way of their own.

`plan` freezes a protocol `p` of five folds over the small dataset and gives its jobs; they run as
any others, in processes of their own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from bench.data.cache import build_cache
from bench.data.fold_task import fold_table, write_fold_table
from bench.data.open import OpenDataset
from bench.data.preprocess import preprocessing
from bench.job import JobFile, JobLocation
from bench.protocol import PARTS, Roles, format_roles, load_protocols
from bench.run.integrity import Checked, verify_results
from bench.run.planner import MethodRequest, Pixels, Weights, plan_jobs
from bench.run.registry import load_method
from bench.run.results import job_folder
from tests.conftest import ROOT

BENCH = ROOT / "bench.py"
METHOD = '''"""{name}: what a test needs."""
import os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
from bench.method import Method, Recipe
from bench.predictions import Predictions

def fit_predict(task):
    {before}
    means = task.train.images.take(np.arange(len(task.train))).mean(axis=(1, 2))
    centres = np.stack([means[task.train.labels == c].mean(axis=0) for c in range(3)])
    def probs(part):
        colours = part.images.take(np.arange(len(part))).mean(axis=(1, 2))
        near = np.exp(-np.linalg.norm(colours[:, None] - centres, axis=2) / 50)
        return Predictions(part.image_ids, near / near.sum(axis=1, keepdims=True), task.classes)
    task.journal.val_predictions(probs(task.val))
    task.journal.epoch({{"epoch": 1, "seconds": 0.1}})
    return probs(task.test)

METHOD = Method("{name}", Recipe(image_size=8, epochs=1), fit_predict)
'''


def write_method(folder: Path, name: str, before: str = "pass") -> Path:
    """A method file: nearest class colours, after `before` has been done."""
    path = folder / f"{name}.py"
    path.write_text(METHOD.format(name=name, before=before.replace("\n", "\n    ")))
    return path


def rotating_roles(source: OpenDataset, folds: int = 5) -> Roles:
    """Whole lesions in turn: every lesion is tested once in five folds."""
    manifest = source.manifest
    lesion = manifest.table["lesion_id"].str[1:].astype(int).to_numpy()
    parts = np.array([PARTS.index(part) for part in ("train", "val", "test", "train", "train")])
    codes = [parts[(lesion // 3 + fold) % 5] for fold in range(folds)]
    return Roles(
        manifest.roster_sha256,
        manifest.image_ids,
        manifest.native_groups,
        np.stack(codes, axis=1).astype(np.uint8),
    )


def freeze(folder: Path, roles: Roles) -> Path:
    """A protocol `p` with these roles, in a folder of protocols."""
    protocols = folder / "protocols"
    text = format_roles(roles).encode()
    (protocols / "p").mkdir(parents=True, exist_ok=True)
    (protocols / "p" / "small.csv").write_bytes(text)
    (protocols / "p.toml").write_text(
        'name = "p"\ntitle = "P"\n[split]\nkind = "groupkfold"\nfolds = 5\nseed = 0\nval = 0.2\n'
        f'[roles.small]\nfile = "p/small.csv"\nsha256 = "{hashlib.sha256(text).hexdigest()}"\n'
    )
    return protocols


def plan(
    source: OpenDataset,
    root: Path,
    method: Path,
    *,
    folds: int = 5,
    seeds: int = 1,
    **place: object,
) -> list[JobFile]:
    """The jobs of a method on the first folds, with their results below `root`."""
    roles = rotating_roles(source)
    protocols = load_protocols(freeze(root.parent, roles))
    loaded = load_method(str(method), ROOT / "baselines")
    chain = preprocessing(loaded.method.recipe)
    store = build_cache(source, chain)
    jobs = plan_jobs(
        protocols["p"],
        source.manifest,
        protocols["p"].roles["small"].sha256,
        [MethodRequest(loaded, {}, Weights())],
        {chain: Pixels(store.index.pixels_sha256, store.index.file_sizes, native=True)},
        seeds=range(seeds),
        folds=range(folds),
        threads=1,
    )
    tables = [
        write_fold_table(fold_table(source.manifest, roles, column)) for column in range(folds)
    ]
    return [
        JobFile(
            id=job.id,
            command="python bench.py run",
            job=job,
            place=JobLocation(
                method_file=str(method),
                store=str(store.folder),
                fold_table=str(tables[job.column]),
                weights=None,
                folder=str(job_folder(root, job, 1)),
                device="cpu",
                **place,
            ),
        )
        for job in jobs
    ]


def verified(root: Path) -> Checked:
    """What `verify-results` finds of the results of `plan`."""
    protocols = root.parent / "protocols"
    return verify_results(root, load_protocols(protocols), protocols)


def predicted(job_files: list[JobFile]) -> list[bytes]:
    """The bytes of all test predictions of jobs, which must be done."""
    return [Path(file.place.folder, "predictions.parquet").read_bytes() for file in job_files]
