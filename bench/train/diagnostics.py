"""Training warnings: faults that a score alone does not show, each recorded once.

Each check returns a sentence, or "" if nothing is wrong. The sentences are in the log, in the
record (`facts.guards`, by the name of the warning) and on every page of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.method import Images, Journal, Recipe
from bench.predictions import Predictions
from bench.recipe import TUNED, TrainingSetup, describe_inactive, inactive_options
from bench.train.evaluate import macro_f1
from bench.train.losses import class_priors, class_weights

FACT = "guards"
"""Key of the warnings in record.json."""
STAGE_FACTS = ("val_score", "temperature")
PAIR = 2
EMA_SHARE = 0.05
"""Largest accepted share of the initial weights in the averaged ones."""
FIRST_LOSS = 1.5
"""Largest accepted loss of the first batch as a multiple of the loss of equal logits."""
RESAMPLES = 2000
LEVEL = 0.95
COMPARED = 512
"""Images of a part whose colours are compared."""
MAX_DIFFERENCE = 0.5
"""Largest accepted difference of two parts' mean colours in standard deviations, beyond four
standard errors."""


class TrainingWarnings:
    """Warnings of one training: texts by the name of the warning."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.texts: dict[str, str] = {}

    def add(self, name: str, text: str) -> None:
        """Record a warning once; do nothing for an empty text."""
        if text and name not in self.texts:
            self.texts[name] = text
            self.journal.note(text)


class StageJournal:
    """Journal of a training before the main one: keeps score, temperature and warnings.

    Each fact gets the name of the stage as prefix. The history and the val predictions of a row
    are those of the main training.
    """

    def __init__(self, journal: Journal, stage: str) -> None:
        self.journal, self.stage = journal, stage

    def epoch(self, row: Mapping[str, float]) -> None:
        """Do nothing."""

    def fact(self, name: str, value: Any) -> None:
        """Record val score, temperature and warnings."""
        if name in STAGE_FACTS:
            self.journal.fact(f"{self.stage}_{name}", value)
        if name == FACT and value:
            warnings = {f"{self.stage}: {key}": self._text(text) for key, text in value.items()}
            self.journal.fact(f"{self.stage}_{FACT}", warnings)

    def note(self, sentence: str) -> None:
        """Record a note under the name of the stage."""
        self.journal.note(self._text(sentence))

    def _text(self, sentence: str) -> str:
        return f"{self.stage}: {sentence}"

    def val_predictions(self, predictions: Predictions) -> None:
        """Do nothing."""


def double_balance(labels: np.ndarray, classes: Sequence[str], recipe: Recipe) -> str:
    """Warn if several options balance the classes, with the effective prior of each class.

    Sampler and class weights change how much a class counts. Logit adjustment by tau divides the
    predicted odds by prior^tau (Menon et al. 2021).
    """
    count = len(classes)
    weights = class_weights(labels, count, recipe)
    drawn = class_priors(labels, count, recipe.sampler_power)
    natural = class_priors(labels, count, 0)
    tau = recipe.logit_adjustment if recipe.sampler_power < 1 else 0.0
    balancing = [
        name
        for name, active in (
            ("sampler", recipe.sampler_power > 0),
            ("class weights", not np.allclose(weights[drawn > 0], 1)),
            ("logit adjustment", tau > 0),
        )
        if active
    ]
    if len(balancing) <= 1:
        return ""
    scales = np.array([recipe.class_loss_scale.get(name, 1.0) for name in classes])
    effective = weights * scales * np.where(drawn > 0, drawn, 1) ** (1 - tau) * (drawn > 0)
    effective = effective / effective.sum()
    beyond = effective[natural.argmax()] < effective[drawn > 0].max() * (1 - 1e-9)
    shares = ", ".join(
        f"{name} {share:.2g} (naturally {own:.2g})"
        for name, share, own in zip(classes, effective, natural, strict=True)
    )
    every = "both" if len(balancing) == PAIR else "all"
    effect = "predictions follow the prior" if tau else "the loss weights the classes as"
    return (
        f"{', '.join(balancing[:-1])} and {balancing[-1]} {every} balance: {effect} "
        + shares
        + ("; rare classes count more than the most frequent one: overbalanced" if beyond else "")
    )


def without_effect(recipe: Recipe, setup: TrainingSetup) -> str:
    """Warn of recipe options that change nothing; those that only tune another one are harmless."""
    # missing pretrained weights have a separate note
    known = {"freeze_epochs", "unfreeze_epochs"} if recipe.pretrained else set()
    inactive = {
        name: why
        for name, why in inactive_options(recipe, setup).items()
        if name not in TUNED and name not in known
    }
    if not inactive:
        return ""
    return f"recipe options without effect: {describe_inactive(recipe, inactive)}"


def large_first_loss(first: float, equal: float) -> str:
    """Warn if the first batch's loss is over 1.5 times that of equal logits for the same images.

    Equal logits lose ln K with cross-entropy, whatever the class shares; with logit adjustment they
    lose the cross-entropy of the drawn prior. The recipe's loss and class weights apply to both.
    """
    if first <= FIRST_LOSS * equal:
        return ""
    return (
        f"the loss of the first batch is {first:.2f}, where equal logits for all classes lose "
        f"{equal:.2f}: the head starts with large weights; initialise it with a standard deviation "
        "of 0.01"
    )


def cut_short(recipe: Recipe, epochs: int, frozen_epochs: int) -> str:
    """Warn if a training ended before a later part of its recipe began."""
    missed = []
    if epochs <= frozen_epochs < recipe.epochs:
        missed.append(f"only the head was trained (freeze_epochs={recipe.freeze_epochs})")
    if epochs <= recipe.class_weight_from < recipe.epochs and (
        recipe.class_weight_power or recipe.class_weight_beta
    ):
        missed.append(
            f"class weights were never used (class_weight_from={recipe.class_weight_from})"
        )
    total = max(1, epochs - frozen_epochs)
    if recipe.warmup_epochs > total:
        missed.append(
            f"the learning rate never reached lr (warmup_epochs={recipe.warmup_epochs:g})"
        )
    return f"training ended after {epochs} epochs: {'; '.join(missed)}" if missed else ""


def lagging_average(decay: Callable[[int], float], steps: int, when: str) -> str:
    """Warn if averaged weights with `decay(step)` still contain much of the initial weights."""
    share = float(np.prod([decay(step) for step in range(2, steps + 1)])) if steps else 1.0
    if share <= EMA_SHARE:
        return ""
    return (
        f"the averaged weights contain {share:.0%} of the initial ones {when} ({steps} steps): "
        "set ema_warmup=true, lower ema_decay, or train longer"
    )


def paired_difference(
    labels: np.ndarray,
    groups: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Macro-F1 of probabilities first (N, C) minus second (N, C), with a 95% percentile interval.

    Paired cluster bootstrap: the same groups are resampled for both. Resamples are sums of the
    groups' confusion matrices, so that 2,000 of them take milliseconds.
    """
    names, group = np.unique(groups, return_inverse=True)
    count, classes = len(names), first.shape[1]
    counts = np.zeros((2, count, classes, classes))
    for side, probs in enumerate((first, second)):
        np.add.at(counts[side], (group, labels, probs.argmax(axis=1)), 1)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    differences = np.subtract(*macro_f1(np.einsum("bg,sgij->sbij", draws, counts, optimize=True)))
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.subtract(*macro_f1(counts.sum(axis=1)))), float(low), float(high)


def average_differs(
    labels: np.ndarray,
    groups: np.ndarray,
    averaged: np.ndarray,
    raw: np.ndarray,
    rng: np.random.Generator,
) -> str:
    """Warn if averaged and raw weights differ significantly on val."""
    difference, low, high = paired_difference(labels, groups, averaged, raw, rng)
    if low <= 0 <= high:
        return ""
    better = "better" if difference > 0 else "worse"
    return (
        f"the averaged weights are significantly {better} than the raw ones on val: macro-F1 "
        f"{difference:+.3f} [{low:.3f}, {high:.3f}], paired bootstrap over "
        f"{len(np.unique(groups))} groups"
    )


def never_predicted(part: str, probs: np.ndarray, classes: Sequence[str]) -> str:
    """Warn of classes that are predicted for no image of a part, by probabilities (N, C)."""
    predicted = set(probs.argmax(axis=1).tolist())
    never = [name for index, name in enumerate(classes) if index not in predicted]
    if not never:
        return ""
    return f"never predicted on {part} ({len(probs)} images): {', '.join(never)}"


def colour_statistics(images: Images) -> np.ndarray:
    """Mean and standard deviation of red, green and blue of up to 512 images: (n, 6) in 0..255."""
    positions = np.linspace(0, len(images) - 1, min(len(images), COMPARED)).astype(int)
    pixels = images.take(positions).astype(np.float32)
    return np.concatenate([pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2))], axis=1)


def different_parts(val: Images, test: Images) -> str:
    """Warn if val and test images differ in size, brightness, colour or contrast.

    The bench preprocesses both alike; a difference comes from the files.
    """
    sizes = [images.pixels.shape[1:3] for images in (val, test)]
    if sizes[0] != sizes[1]:
        return f"val images are {sizes[0]} pixels, test images {sizes[1]}: preprocess them alike"
    first, second = colour_statistics(val), colour_statistics(test)
    spread = np.sqrt((first.var(axis=0) + second.var(axis=0)) / 2) + 1e-6
    difference = np.abs(first.mean(axis=0) - second.mean(axis=0)) / spread
    allowed = MAX_DIFFERENCE + 4 * np.sqrt(1 / len(first) + 1 / len(second))
    if difference.max() <= allowed:
        return ""
    names = [
        f"{statistic} of {colour}"
        for statistic in ("mean", "contrast")
        for colour in ("red", "green", "blue")
    ]
    worst = int(difference.argmax())
    return (
        "val and test images seem to be preprocessed differently, or to come from different "
        f"sources: {names[worst]} {first.mean(axis=0)[worst]:.0f} against "
        f"{second.mean(axis=0)[worst]:.0f} of 255"
    )


def score_differs(kind: str, logged: float, again: float, tolerance: float) -> str:
    """Warn if a saved checkpoint does not have the val score that was logged for it."""
    if abs(logged - again) <= tolerance:
        return ""
    return (
        f"the saved {kind} checkpoint has a val macro-F1 of {again:.4f}, not {logged:.4f} as "
        "logged: the file differs from the trained weights"
    )


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Warn if a training was resumed in another environment."""
    different = [
        f"{name} {value} became {now.get(name)}"
        for name, value in before.items()
        if now.get(name) != value
    ]
    if not different:
        return ""
    return (
        f"resumed in another environment ({'; '.join(different)}): the result may differ from that "
        "of an uninterrupted training"
    )


def damaged(refused: Sequence[str]) -> str:
    """Warn of a checkpoint whose hash was wrong."""
    if not refused:
        return ""
    return f"{refused[0]} was damaged (wrong hash); resumed from the checkpoint before it"
