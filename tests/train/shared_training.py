"""One of the processes that share a training, started by torchrun from `test_distributed`.

    torchrun --nproc-per-node=2 -m tests.train.shared_training REQUEST.json

REQUEST names a cache, a fold table, a recipe and a folder for the answers.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.data.cache import open_cache
from bench.data.fold_task import read_fold
from bench.method import FoldTask, LabelledPart, Part, Recipe
from bench.run.worker import SilentJournal
from bench.train import fit_predict
from bench.train.evaluate import Scale
from bench.train.fabric import build_fabric
from bench.train.loop import Training
from bench.train.models import build_model


class GradientsThereError(Exception):
    """The first gradients are there."""


def without_last(part: Part) -> Part:
    """A part with one image less."""
    fewer = {
        "records": part.records[:-1],
        "images": replace(part.images, rows=part.images.rows[:-1]),
    }
    if isinstance(part, LabelledPart):
        fewer |= {"labels": part.labels[:-1], "group_ids": part.group_ids[:-1]}
    return replace(part, **fewer)


def task_of(ask: dict, devices: int) -> FoldTask:
    """The task, its val and test parts of odd sizes."""
    train, val, test = read_fold(Path(ask["table"]), open_cache(Path(ask["store"])))
    val, test = without_last(val), without_last(test)
    return FoldTask(
        tuple(ask["classes"]), train, val, test, Recipe(**ask["recipe"]), 0, 0, "cpu", 1, None,
        Path(ask["folder"]) / f"job{devices}", SilentJournal(), devices=devices,
    )  # fmt: skip


def first_gradients(task: FoldTask) -> dict[str, np.ndarray]:
    """Gradients by parameter of a custom CNN's first batch, its batch norms frozen."""
    fabric = build_fabric(task)
    torch.manual_seed(0)
    model = build_model(Recipe(model="custom_cnn"), len(task.classes), None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
    found = {}

    def stop() -> None:
        found.update({n: p.grad.clone().numpy() for n, p in model.named_parameters()})
        raise GradientsThereError

    training = Training(task, fabric, model, Scale.of(model, fabric.device))
    training._start_phase(0)
    training.freezing.enter = lambda _: model.eval()
    training._take_step = stop
    try:
        training._train_epoch(0)
    except GradientsThereError:
        return found
    raise AssertionError("no gradients")


def answer(ask: dict, devices: int) -> None:
    task = task_of(ask, devices)
    gradients = first_gradients(task)
    predictions = fit_predict(task)
    if int(os.environ.get("RANK", "0")) == 0:
        path = Path(ask["folder"]) / f"answer{devices}.npz"
        np.savez(path, probs=predictions.probs, **gradients)


if __name__ == "__main__":
    answer(json.loads(Path(sys.argv[1]).read_text()), devices=2)
