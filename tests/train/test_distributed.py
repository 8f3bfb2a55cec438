"""Several processes train as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bench.data.cache import build_cache
from bench.data.fold_task import fold_table, write_fold_table
from bench.data.preprocess import preprocessing
from bench.errors import MethodError
from bench.method import Recipe
from bench.train.fabric import build_fabric, fabric_on, gather_rows, own_share, share_weight
from tests.conftest import CLASSES, ROOT
from tests.train import shared_training
from tests.train.conftest import small_roles

RECIPE = {
    "model": "convnext_atto", "image_size": 32, "epochs": 2, "batch_size": 7, "lr": 1e-3,
    "sampler_power": 0.5, "class_weight_power": 0.5, "cutmix_prob": 0.5, "mixup_prob": 0.3,
    "rotation": 30, "ema_decay": 0.9, "accumulate": 2, "grad_clip": 1.0,
}  # fmt: skip
"""Layer norms only, no dropout: nothing in it depends on how a batch is divided."""


class Rank:
    """What the dealing out needs of a Fabric."""

    def __init__(self, global_rank, world_size):
        self.global_rank, self.world_size = global_rank, world_size


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [5, 7, 30])
def test_shares_are_disjoint_complete_and_weigh_as_the_whole(world, count):
    shares = [np.arange(count)[own_share(Rank(rank, world))] for rank in range(world)]
    assert sorted(np.concatenate(shares)) == list(range(count))
    values = np.random.default_rng(0).random(count)
    means = [
        values[share].mean() * share_weight(Rank(0, world), len(share), count) for share in shares
    ]
    assert np.isclose(np.mean(means), values.mean())


def test_a_machine_with_slurm_trains_as_any_other(tmp_path, monkeypatch):
    """Fabric would warn of an unused srun, or take Slurm's tasks for processes of the training."""
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "bench")
    assert fabric_on("cpu").world_size == 1


def test_one_process_gathers_its_own_rows():
    rows = np.ones((3, 2), dtype=np.float32)
    assert gather_rows(Rank(0, 1), np.arange(3), rows, 3) is rows


def test_two_processes_give_one_process_gradients_and_predictions(
    small_source, tmp_path, monkeypatch
):
    manifest = small_source.manifest
    store = build_cache(small_source, preprocessing(Recipe(**RECIPE)))
    table = write_fold_table(fold_table(manifest, small_roles(manifest), 0))
    ask = {
        "store": str(store.folder), "table": str(table), "classes": CLASSES, "recipe": RECIPE,
        "folder": str(tmp_path),
    }  # fmt: skip
    task = shared_training.task_of(ask, 1)
    # one process has an image less than the other: of each batch, of val and of test
    assert all(len(part) % 2 for part in (task.val, task.test))
    monkeypatch.delenv("RANK", raising=False)
    (tmp_path / "ask.json").write_text(json.dumps(ask))
    shared_training.answer(ask, 1)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *words, "-m", "tests.train.shared_training", str(tmp_path / "ask.json")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = (np.load(tmp_path / f"answer{devices}.npz") for devices in (1, 2))
    assert set(one) == set(two)
    for name in set(one) - {"probs"}:
        assert np.abs(one[name] - two[name]).max() < 1e-6, name
    assert np.abs(one["probs"] - two["probs"]).max() < 1e-3


def test_a_batch_too_small_for_all_devices_is_refused(small_source, tmp_path):
    store = build_cache(small_source, preprocessing(Recipe(image_size=16)))
    manifest = small_source.manifest
    table = write_fold_table(fold_table(manifest, small_roles(manifest), 0))
    ask = {
        "store": str(store.folder), "table": str(table), "classes": CLASSES,
        "recipe": {"batch_size": 1, "image_size": 16}, "folder": str(tmp_path),
    }  # fmt: skip
    with pytest.raises(MethodError, match="batch_size=1"):
        build_fabric(shared_training.task_of(ask, 2))


def test_within_a_task_of_slurm_a_job_is_one_process(make_task, monkeypatch, tmp_path):
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in (("NTASKS", "4"), ("PROCID", "3"), ("LOCALID", "3"), ("JOB_NAME", "x")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = build_fabric(make_task(Recipe(image_size=16)))
    assert (fabric.global_rank, fabric.world_size) == (0, 1)
