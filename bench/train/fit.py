"""One training from start to predictions: set up, train, check, predict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.calibrate import fit_temperature, temper
from bench.data.appearance import LOOKED_AT, Appearance
from bench.method import FoldTask, Part
from bench.predictions import Predictions
from bench.recipe import TrainingSetup
from bench.train import checkpoint, diagnostics, sampling
from bench.train.evaluate import Scale, predict_probs, val_metrics
from bench.train.fabric import (
    build_fabric,
    device_name,
    precision_name,
    same_bits,
    synchronised,
    wait_for_all,
)
from bench.train.fusion import build_fusion
from bench.train.loop import Training, score_name
from bench.train.models import (
    build_model,
    memory_layout,
    normalisation,
    unmatched_weights,
    weights_entry,
)
from bench.train.pseudo_labels import student_task

GPU_TOLERANCE = 5e-3
"""Largest difference in macro-F1 of two evaluations of the same weights on a GPU or in compiled
code; a CPU gives the same bits."""


def fit_predict(task: FoldTask, own_model: Callable[[int], nn.Module] | None) -> Predictions:
    """Train the task's recipe and predict its test part; weights are selected on val alone.

    own_model  builds the model for a number of classes, instead of the recipe's
    """
    torch.set_num_threads(task.threads)
    with same_bits(wanted=task.recipe.deterministic):
        return _fit_predict(task, own_model)


def _fit_predict(task: FoldTask, own_model: Callable[[int], nn.Module] | None) -> Predictions:
    if task.recipe.unlabelled:
        task = student_task(task, lambda teacher: _fit_predict(teacher, own_model))
    training = _set_up(task, own_model)
    fabric, model, recipe = training.fabric, training.model, task.recipe
    best = training.run()
    wait_for_all(fabric)  # the first process has written the checkpoints
    _check_checkpoints(training)
    _check_length(training)
    path = task.folder / f"{best.kind}.safetensors"
    checkpoint.load_best(path, model)

    def image_probs(part: Part) -> np.ndarray:
        return predict_probs(
            fabric, model, part.images, training.scale, recipe.tta, recipe.evaluation_batch
        )

    val, test = image_probs(task.val), image_probs(task.test)
    image_temperature = fit_temperature(val, task.val.labels)
    fusion = build_fusion(task, val)
    val, test = fusion(task.val, val), fusion(task.test, test)
    _check_predictions(training, val, test)
    _record_outcome(training)
    temperature = fit_temperature(val, task.val.labels)
    task.journal.fact("temperature", round(temperature, 6))
    applied = temperature if recipe.temperature else 1.0
    wait_for_all(fabric)  # all processes have read the checkpoint
    if fabric.is_global_zero:
        more = {"temperature": applied, "image_temperature": image_temperature}
        checkpoint.add_metadata(path, model, more | _training_metadata(task))

    def predictions(part: Part, probs: np.ndarray) -> Predictions:
        return Predictions(part.image_ids, temper(probs, applied), task.classes)

    task.journal.val_predictions(predictions(task.val, val))
    return predictions(task.test, test)


def _set_up(task: FoldTask, own_model: Callable[[int], nn.Module] | None) -> Training:
    """Device, model with its initial weights, and the warnings that they give."""
    fabric = build_fabric(task)
    torch.manual_seed(sampling.derived_seed(task.seed, task.column, sampling.WEIGHTS))
    model = build_model(task.recipe, len(task.classes), task.weights, own_model)
    model = synchronised(model, fabric, task.recipe)
    layout = memory_layout(task.recipe)
    model = model.to(fabric.device).to(memory_format=layout)  # type: ignore[call-overload]
    scale = Scale.of(model, fabric.device, layout)
    record_origin(task, own_model)
    mean, std = normalisation(model)
    task.journal.fact("normalisation", {"mean": list(mean), "std": list(std)})
    if task.recipe.supcon_epochs or task.recipe.head == "prototypes":
        from bench.train.contrastive import start_from_classes

        start_from_classes(task, fabric, model, scale)
    training = Training(task, fabric, model, scale)
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    task.journal.fact("parameters", sum(counts.values()))
    learning = sum(counts[name] for name in training.freezing.learning)
    task.journal.fact("learning_parameters", learning)
    if task.weights is not None:
        unmatched = unmatched_weights(model, task.weights, task.recipe.unmatched_weights)
        training.warnings.add("unmatched weights", unmatched)
    setup = TrainingSetup(weights=task.weights is not None, devices=task.devices)
    training.warnings.add("idle switches", diagnostics.without_effect(task.recipe, setup))
    if task.recipe.compile:
        model.compile()  # in place: names of weights stay, and the average is a plain copy
    return training


def record_origin(task: FoldTask, own_model: Callable[[int], nn.Module] | None = None) -> None:
    """Record the initial weights and the data of their pretraining."""
    recipe, fact = task.recipe, task.journal.fact
    if task.weights is not None or own_model is not None:
        fact("initial_weights", "build_model" if task.weights is None else task.weights.name)
        # only the author of a method knows the data of its weights
        fact("pretraining_data", recipe.pretraining_data or "undeclared")
        if task.weights is not None and (entry := weights_entry(task.weights)):
            fact("weights_entry", entry)
        return
    fact("initial_weights", "random")
    if recipe.pretrained is not None:
        task.journal.note(
            f"trained from scratch: the weights {recipe.pretrained} ({recipe.pretraining_data}) "
            "of the recipe were neither given by --weights nor found on the hub"
        )


def _check_checkpoints(training: Training) -> None:
    """Score the saved checkpoints again, and compare averaged with raw weights.

    Leaves the model with the weights of the last checkpoint.
    """
    task, fabric, val = training.task, training.fabric, training.task.val
    exact = fabric.device.type == "cpu" and fabric.world_size == 1 and not task.recipe.compile
    tolerance = 0 if exact else GPU_TOLERANCE
    probs = {}
    for kind in ("best", "best_ema") if training.ema.module is not None else ("best",):
        checkpoint.load_best(task.folder / f"{kind}.safetensors", training.model)
        probs[kind] = predict_probs(
            fabric,
            training.model,
            val.images,
            training.scale,
            at_once=task.recipe.evaluation_batch,
        )
        again = val_metrics(val.labels, probs[kind])["val_macro_f1"]
        logged = max(row[score_name(kind)] for row in training.progress.history)
        text = diagnostics.score_differs(kind, logged, again, tolerance)
        training.warnings.add(f"saved {kind}", text)
    if "best_ema" in probs:
        rng = np.random.default_rng(sampling.derived_seed(task.seed, task.column, sampling.CHECK))
        difference = diagnostics.average_differs(
            val.labels, val.group_ids, probs["best_ema"], probs["best"], rng
        )
        training.warnings.add("averaged and raw apart", difference)
        steps = training.progress.step
        share = diagnostics.lagging_average(training.ema.get_decay, steps, "at the end")
        training.warnings.add("lagging average", share)


def _check_length(training: Training) -> None:
    """Warn of parts of the recipe that the training was too short for."""
    frozen, epochs = training.freezing.frozen_epochs, len(training.progress.history)
    training.warnings.add("cut short", diagnostics.cut_short(training.recipe, epochs, frozen))


def _check_predictions(training: Training, val: np.ndarray, test: np.ndarray) -> None:
    """Warn of classes that are never predicted on val (N, C) and on test (M, C)."""
    for part, probs in (("val", val), ("test", test)):
        text = diagnostics.never_predicted(part, probs, training.task.classes)
        training.warnings.add(f"never predicted on {part}", text)


def _training_metadata(task: FoldTask) -> dict[str, Any]:
    """Checkpoint metadata about the training part: its origin and its appearance."""
    count, images = len(task.train), task.train.images
    positions = np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(int)
    appearance = Appearance.of(images.take(at)[0] for at in positions[:, None])
    trained_on = {
        "dataset": task.dataset or "data without a name",
        "seed": task.seed,
        "column": task.column,
        "images": count,
    }
    return {"trained_on": trained_on, "looks": appearance and appearance.to_dict()}


def _record_outcome(training: Training) -> None:
    """Record the selected weights, cost, device and training warnings."""
    task, progress = training.task, training.progress
    best, epochs = progress.best, len(progress.history)
    images = epochs * len(training.batches) * min(task.recipe.batch_size, len(task.train))
    facts: dict[str, Any] = {
        "selected_epoch": best.epoch,
        "selected_weights": "ema" if best.kind == "best_ema" else "raw",
        "val_score": best.score,
        "epochs": epochs,
        "train_seconds": round(progress.train_seconds, 3),
        "images_per_second": round(images / progress.train_seconds, 1),
        "device": device_name(training.fabric.device),
        "precision": precision_name(training.fabric),
        diagnostics.FACT: training.warnings.texts,
        **training.usage.facts(),
    }
    if task.devices > 1:
        facts["devices"] = task.devices
    for name, value in facts.items():
        task.journal.fact(name, value)
