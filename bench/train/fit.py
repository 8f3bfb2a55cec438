"""One training from start to predictions: set up, train, choose on val, predict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from bench.calibrate import fit_temperature, temper
from bench.data.appearance import LOOKED_AT, Appearance
from bench.method import FoldTask, Part
from bench.predictions import Predictions
from bench.recipe import TrainingSetup
from bench.train import checkpoint, sampling
from bench.train.diagnostics import idle_sentence
from bench.train.evaluate import Scale, predict_probs
from bench.train.fabric import (
    build_fabric,
    device_name,
    precision_name,
    same_bits,
    synchronised,
    wait_for_all,
)
from bench.train.final_checks import review_checkpoints, review_length, review_predictions
from bench.train.fusion import fusion_of
from bench.train.loop import Training
from bench.train.models import build_model, memory_layout, unmatched_weights
from bench.train.pseudo_labels import taught


def fit_predict(task: FoldTask, own_model: Callable[[int], nn.Module] | None) -> Predictions:
    """Train the task's recipe and predict its test part; the choice is made on val alone.

    own_model  builds the model for a number of classes, in place of the recipe's
    """
    torch.set_num_threads(task.threads)
    with same_bits(wanted=task.recipe.deterministic):
        return _fit_predict(task, own_model)


def _fit_predict(task: FoldTask, own_model: Callable[[int], nn.Module] | None) -> Predictions:
    if task.recipe.unlabelled:
        task = taught(task, lambda teacher: _fit_predict(teacher, own_model))
    fabric = build_fabric(task)
    torch.manual_seed(sampling.derived_seed(task.seed, task.column, sampling.WEIGHTS))
    model = build_model(task.recipe, len(task.classes), task.weights, own_model)
    model = synchronised(model, fabric, task.recipe)
    layout = memory_layout(task.recipe)
    model = model.to(fabric.device).to(memory_format=layout)  # type: ignore[call-overload]
    scale = Scale.of(model, fabric.device, layout)
    tell_origin(task, own_model)

    if task.recipe.supcon_epochs or task.recipe.head == "prototypes":
        from bench.train.contrastive import start_from_classes

        start_from_classes(task, fabric, model, scale)
    training = Training(task, fabric, model, scale)
    if task.weights is not None:
        passed = unmatched_weights(model, task.weights, task.recipe.unmatched_weights)
        training.guards.say("unmatched weights", passed)
    start = TrainingSetup(weights=task.weights is not None, devices=task.devices)
    training.guards.say("idle switches", idle_sentence(task.recipe, start))
    if task.recipe.compile:
        model.compile()  # in place: names of weights stay, and the average is a plain copy
    best = training.run()
    wait_for_all(fabric)  # the first process has written the checkpoints
    review_checkpoints(training)
    review_length(training)

    path = task.folder / f"{best.kind}.safetensors"
    checkpoint.load_best(path, model)

    def probs_of(part: Part) -> np.ndarray:
        recipe = task.recipe
        return predict_probs(fabric, model, part.images, scale, recipe.tta, recipe.evaluation_batch)

    val, test = probs_of(task.val), probs_of(task.test)
    alone = fit_temperature(val, task.val.labels)
    fusion = fusion_of(task, val)
    val, test = fusion(task.val, val), fusion(task.test, test)
    review_predictions(training, val, test)
    _tell_outcome(task, training, fabric)
    temperature = fit_temperature(val, task.val.labels)
    task.journal.fact("temperature", round(temperature, 6))
    applied = temperature if task.recipe.temperature else 1.0
    wait_for_all(fabric)  # all have read it
    if fabric.is_global_zero:
        known = {"temperature": applied, "image_temperature": alone, **_told_of_training(task)}
        checkpoint.complete_header(path, model, known)

    def predict(part: Part, probs: np.ndarray) -> Predictions:
        return Predictions(part.image_ids, temper(probs, applied), task.classes)

    task.journal.val_predictions(predict(task.val, val))
    return predict(task.test, test)


def _told_of_training(task: FoldTask) -> dict[str, Any]:
    """What a checkpoint tells of its training part: whose it is, and what it looks like."""
    count, images = len(task.train), task.train.images
    positions = np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(int)
    looks = Appearance.of(images.take(at)[0] for at in positions[:, None])
    place = {
        "dataset": task.dataset or "data without a name",
        "seed": task.seed,
        "column": task.column,
        "images": count,
    }
    return {"trained_on": place, "looks": looks and looks.to_dict()}


def tell_origin(task: FoldTask, own_model: Callable[[int], nn.Module] | None = None) -> None:
    """Tell the record what the model starts from, and what that has seen."""
    recipe = task.recipe
    if own_model is not None and task.weights is None:
        # what it starts from only its author knows
        task.journal.fact("initial_weights", "build_model")
        task.journal.fact("pretraining_data", recipe.pretraining_data or "undeclared")
        return
    if task.weights is not None:
        task.journal.fact("initial_weights", task.weights.name)
        task.journal.fact("pretraining_data", recipe.pretraining_data or "undeclared")
        return
    task.journal.fact("initial_weights", "random")
    if recipe.pretrained is not None:
        task.journal.note(
            f"trained from scratch: the recipe wants {recipe.pretrained} "
            f"({recipe.pretraining_data}), and neither --weights nor the hub gave it"
        )


def _tell_outcome(task: FoldTask, training: Training, fabric: Fabric) -> None:
    best, epochs = training.best, len(training.history)
    shown = epochs * len(training.batches) * min(task.recipe.batch_size, len(task.train))
    facts: dict[str, Any] = {
        "selected_epoch": best.epoch,
        "selected_weights": "ema" if best.kind == "best_ema" else "raw",
        "val_score": best.score,
        "epochs": epochs,
        "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
        "train_seconds": round(training.train_seconds, 3),
        "images_per_second": round(shown / training.train_seconds, 1),
        "device": device_name(fabric.device),
        "precision": precision_name(fabric),
        "guards": training.guards.said,
        **training.usage.facts(),
    }
    if task.devices > 1:
        facts["devices"] = task.devices
    for name, value in facts.items():
        task.journal.fact(name, value)
