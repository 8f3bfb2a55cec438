"""Checks of checkpoints and predictions after a training."""

from __future__ import annotations

import numpy as np

from bench.train import checkpoint, diagnostics, sampling
from bench.train.evaluate import predict_probs, val_metrics
from bench.train.loop import Training, score_name

GPU_TOLERANCE = 5e-3
"""Macro-F1 by which a GPU, or compiled code, may score the same weights twice; otherwise a CPU
agrees to the bit."""


def review_checkpoints(training: Training) -> None:
    """Score the saved checkpoints again, and compare averaged with raw weights.

    Leaves the model with the weights of the last checkpoint it looked at.
    """
    task, fabric, val = training.task, training.fabric, training.task.val
    exact = fabric.device.type == "cpu" and fabric.world_size == 1 and not task.recipe.compile
    found = {}
    for kind in ("best", "best_ema") if training.ema.module is not None else ("best",):
        path = task.folder / f"{kind}.safetensors"
        checkpoint.load_best(path, training.model)
        found[kind] = predict_probs(
            fabric,
            training.model,
            val.images,
            training.scale,
            at_once=task.recipe.evaluation_batch,
        )
        again = val_metrics(val.labels, found[kind])["val_macro_f1"]
        logged = max(row[score_name(kind)] for row in training.history)
        tolerance = 0 if exact else GPU_TOLERANCE
        training.guards.say(
            f"saved {kind}", diagnostics.other_score(kind, logged, again, tolerance)
        )
    if "best_ema" in found:
        rng = np.random.default_rng(sampling.derived_seed(task.seed, task.column, sampling.REVIEW))
        difference = diagnostics.parted_average(
            val.labels, val.group_ids, found["best_ema"], found["best"], rng
        )
        training.guards.say("averaged and raw apart", difference)
        share = diagnostics.lagging_average(training.ema.get_decay, training.step, "at the end")
        training.guards.say("lagging average", share)


def review_length(training: Training) -> None:
    """Say what a training was too short for."""
    frozen, epochs = training.freezing.frozen_epochs, len(training.history)
    sentence = diagnostics.cut_short(training.task.recipe, epochs, frozen)
    training.guards.say("cut short", sentence)


def review_predictions(training: Training, val: np.ndarray, test: np.ndarray) -> None:
    """Say which classes are never chosen on val (N, C) and on test (M, C)."""
    classes = training.task.classes
    for part, probs in (("val", val), ("test", test)):
        sentence = diagnostics.never_predicted(part, probs, classes)
        training.guards.say(f"never predicted on {part}", sentence)
