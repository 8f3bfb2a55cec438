"""Training warnings: faults that would otherwise go unnoticed, each recorded once.

A guard is a function that gives a sentence, or "" where nothing is wrong. What it says stands in
the log, in the record (`facts.guards`, by the guard's name) and on every page of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.method import Images, Journal, Recipe
from bench.recipe import TUNED, TrainingSetup, describe_inactive, inactive_options
from bench.train.losses import class_priors, class_weights

BOTH = 2
EMA_SHARE = 0.05
"""Share of the averaged weights that may still stem from the start."""
RESAMPLES = 2000
LEVEL = 0.95
LOOKED_AT = 512
"""Images of a part whose looks are compared."""
FARTHEST = 0.5
"""Standard deviations that two parts' mean looks may be apart, beyond four standard errors."""


class TrainingWarnings:
    """What the guards of one training have said: sentences by the guard's name."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.said: dict[str, str] = {}

    def say(self, guard: str, sentence: str) -> None:
        """Let a guard speak; what it has said before is not said again."""
        if sentence and guard not in self.said:
            self.said[guard] = sentence
            self.journal.note(sentence)


def double_balance(labels: np.ndarray, classes: Sequence[str], recipe: Recipe) -> str:
    """Whether more than one switch answers the imbalance, and what prior they leave together.

    Sampler and class weights change how much a class counts. A logit adjustment of tau takes a
    class's share to the power of tau out of what is predicted (Menon et al. 2021).
    """
    count = len(classes)
    weights = class_weights(labels, count, recipe)
    drawn = class_priors(labels, count, recipe.sampler_power)
    natural = class_priors(labels, count, 0)
    tau = recipe.logit_adjustment if recipe.sampler_power < 1 else 0.0
    answers = [
        name
        for name, answers in (
            ("sampler", recipe.sampler_power > 0),
            ("class weights", not np.allclose(weights[drawn > 0], 1)),
            ("logit adjustment", tau > 0),
        )
        if answers
    ]
    if len(answers) <= 1:
        return ""
    scales = np.array([recipe.class_loss_scale.get(name, 1.0) for name in classes])
    effective = weights * scales * np.where(drawn > 0, drawn, 1) ** (1 - tau) * (drawn > 0)
    effective = effective / effective.sum()
    beyond = effective[natural.argmax()] < effective[drawn > 0].max() * (1 - 1e-9)
    shares = ", ".join(
        f"{name} {share:.2g} (naturally {own:.2g})"
        for name, share, own in zip(classes, effective, natural, strict=True)
    )
    told = (
        f"{answers[0]} and {answers[1]} both balance"
        if len(answers) == BOTH
        else f"{', '.join(answers[:-1])} and {answers[-1]} all balance"
    )
    counts = "what is predicted takes" if tau else "the loss counts"
    return (
        f"{told}: {counts} the classes as "
        + shares
        + ("; rarer ones count more than the commonest, which is beyond balance" if beyond else "")
    )


def idle_sentence(recipe: Recipe, start: TrainingSetup) -> str:
    """Which switches of a recipe ask for something that never takes place."""
    # that a recipe which wants pretrained weights starts without any is said in words of its own
    known = {"freeze_epochs", "unfreeze_epochs"} if recipe.pretrained else set()
    idle = {
        name: why
        for name, why in inactive_options(recipe, start).items()
        if name not in TUNED and name not in known
    }
    return f"switches that change nothing: {describe_inactive(recipe, idle)}" if idle else ""


def cut_short(recipe: Recipe, epochs: int, frozen_epochs: int) -> str:
    """Whether a training ended before something that its recipe asks for had begun."""
    missed = []
    if epochs <= frozen_epochs < recipe.epochs:
        missed.append(f"the head alone has learnt, since freeze_epochs={recipe.freeze_epochs}")
    if epochs <= recipe.class_weight_from < recipe.epochs and (
        recipe.class_weight_power or recipe.class_weight_beta
    ):
        missed.append(
            f"class weights have rested, since class_weight_from={recipe.class_weight_from}"
        )
    total = max(1, epochs - frozen_epochs)
    if recipe.warmup_epochs > total:
        missed.append(
            f"the learning rate has never come to lr, since warmup_epochs={recipe.warmup_epochs:g}"
        )
    return f"training ended after {epochs} epochs: {'; '.join(missed)}" if missed else ""


def lagging_average(decay: Callable[[int], float], steps: int, when: str) -> str:
    """Whether an average whose decay at a step is `decay(step)` still holds its start after all."""
    share = float(np.prod([decay(step) for step in range(2, steps + 1)])) if steps else 1.0
    if share <= EMA_SHARE:
        return ""
    return (
        f"the averaged weights hold {share:.0%} of their start {when} ({steps} steps): "
        "set ema_warmup=true, lower ema_decay, or train longer"
    )


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Macro-F1 (...) of confusion counts (..., C, C), truth in rows; a class never met counts 0."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    met = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray((2 * hits / np.maximum(met, 1)).mean(axis=-1))


def paired_difference(
    labels: np.ndarray,
    groups: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Macro-F1 of predictions first (N, C) minus second (N, C), with a 95% percentile interval.

    Whole groups are resampled, the same ones for both: a paired cluster bootstrap.
    """
    names, group = np.unique(groups, return_inverse=True)
    classes = first.shape[1]
    counts = np.zeros((2, len(names), classes, classes))
    for side, probs in enumerate((first, second)):
        np.add.at(counts[side], (group, labels, probs.argmax(axis=1)), 1)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    resampled = np.einsum("bg,sgij->sbij", drawn, counts, optimize=True)
    differences = np.subtract(*macro_f1(resampled))
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.subtract(*macro_f1(counts.sum(axis=1)))), float(low), float(high)


def parted_average(
    labels: np.ndarray,
    groups: np.ndarray,
    averaged: np.ndarray,
    raw: np.ndarray,
    rng: np.random.Generator,
) -> str:
    """Whether averaged and raw weights differ on val by more than its few groups allow."""
    difference, low, high = paired_difference(labels, groups, averaged, raw, rng)
    if low <= 0 <= high:
        return ""
    better = "better" if difference > 0 else "worse"
    return (
        f"on val the averaged weights are {better} than the raw ones by more than chance: macro-F1 "
        f"{difference:+.3f} [{low:.3f}, {high:.3f}], paired bootstrap over "
        f"{len(np.unique(groups))} groups"
    )


def never_predicted(part: str, probs: np.ndarray, classes: Sequence[str]) -> str:
    """Which classes are the first choice for no image of a part."""
    chosen = set(probs.argmax(axis=1).tolist())
    never = [name for index, name in enumerate(classes) if index not in chosen]
    if not never:
        return ""
    return f"never predicted on {part} ({len(probs)} images): {', '.join(never)}"


def looks(images: Images) -> np.ndarray:
    """Mean and standard deviation of the red, green and blue of some images: (n, 6), in 0..255."""
    positions = np.linspace(0, len(images) - 1, min(len(images), LOOKED_AT)).astype(int)
    pixels = images.take(positions).astype(np.float32)
    return np.concatenate([pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2))], axis=1)


def other_looks(val: Images, test: Images) -> str:
    """Whether val and test images have gone through different transforms.

    The bench sends both one way, so this finds what came before it: another size, or pixels whose
    brightness, colours or contrast are too far apart for parts of one dataset.
    """
    sizes = [images.pixels.shape[1:3] for images in (val, test)]
    if sizes[0] != sizes[1]:
        return f"val images are {sizes[0]} pixels, test images {sizes[1]}: preprocess them alike"
    mine, theirs = looks(val), looks(test)
    spread = np.sqrt((mine.var(axis=0) + theirs.var(axis=0)) / 2) + 1e-6
    apart = np.abs(mine.mean(axis=0) - theirs.mean(axis=0)) / spread
    allowed = FARTHEST + 4 * np.sqrt(1 / len(mine) + 1 / len(theirs))
    if apart.max() <= allowed:
        return ""
    names = [
        f"{what} of {colour}"
        for what in ("mean", "contrast")
        for colour in ("red", "green", "blue")
    ]
    worst = int(apart.argmax())
    return (
        f"val and test images look as if they were preprocessed differently, or come from "
        f"different places: {names[worst]} {mine.mean(axis=0)[worst]:.0f} against "
        f"{theirs.mean(axis=0)[worst]:.0f} of 255"
    )


def other_score(kind: str, logged: float, again: float, tolerance: float) -> str:
    """Whether a saved checkpoint scores something else on val than was logged for it."""
    if abs(logged - again) <= tolerance:
        return ""
    return (
        f"the saved {kind} checkpoint scores {again:.4f} on val, not the {logged:.4f} that was "
        "logged: its file is not what was trained"
    )
