"""Recipe options without effect.

A recipe is one flat list, and many of its switches matter beside another one alone. Which, stands
here once, so that none is ignored without a word: one that the user names is refused before
anything is trained, and one of a method's own recipe is told by a guard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.method import OWN_MODEL
from bench.recipe import Recipe

WITH_MOMENTUM = ("sgd", "rmsprop", "madgrad")
COMPANIONS = frozenset({
    "unmatched_weights", "momentum", "plateau_factor", "plateau_patience", "head_lr",
    "class_weight_prior", "class_weight_from", "focal_gamma", "ldam_margin", "ldam_scale",
    "supcon_temperature", "prototype_scale", "cutmix_alpha", "mixup_alpha", "mix_off_epochs",
    "rand_ops", "rand_magnitude", "pseudo_threshold", "ema_warmup", "sync_batch_norm", "sampler",
})  # fmt: skip
"""Switches that say how another one works; idle beside one that was switched off, they deceive
nobody. All others ask for something themselves."""


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """What a training starts with beside its recipe: a file of weights or none, its devices."""

    weights: bool = False
    devices: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Some switches, when they act, and why they do not otherwise."""

    switches: tuple[str, ...]
    acts: Callable[[Recipe, TrainingSetup], bool]
    otherwise: str


def _weighs(recipe: Recipe) -> bool:
    return bool(recipe.class_weight_power or recipe.class_weight_beta)


def _mixes(recipe: Recipe) -> bool:
    return bool(recipe.cutmix_prob or recipe.mixup_prob)


def _strengthens(recipe: Recipe) -> bool:
    """Whether there is an augmentation that can be stronger for some images than for others."""
    names = ("rotation", "scale", "brightness", "contrast", "saturation", "hue", "erasing_prob")
    return recipe.auto_augment != "none" or any(getattr(recipe, name) for name in names)


RULES = (
    Rule(
        ("dropout", "drop_path"),
        lambda r, _: r.model != OWN_MODEL,
        "build_model makes the model by itself",
    ),
    Rule(("drop_path",), lambda r, _: r.model != "custom_cnn", "custom_cnn has no paths to drop"),
    Rule(("unmatched_weights",), lambda _, s: s.weights, "there is no file of weights"),
    Rule(
        ("freeze_epochs", "unfreeze_epochs", "head_lr"),
        lambda _, s: s.weights,
        "only what starts from a file of weights is frozen",
    ),
    Rule(("head_lr",), lambda r, _: r.freeze_epochs > 0, "freeze_epochs is 0"),
    Rule(
        ("momentum",),
        lambda r, _: r.optimizer in WITH_MOMENTUM,
        f"only {', '.join(WITH_MOMENTUM)} have one",
    ),
    Rule(
        ("plateau_factor", "plateau_patience"),
        lambda r, _: r.schedule == "plateau",
        "schedule is not plateau",
    ),
    Rule(("sync_batch_norm",), lambda _, s: s.devices > 1, "a job has one device"),
    Rule(
        ("sampler",),
        lambda r, _: r.sampler_power > 0,
        "with sampler_power=0 each image is drawn once",
    ),
    Rule(("rare_augment",), lambda r, _: _strengthens(r), "no augmentation but flips is on"),
    Rule(
        ("class_weight_prior", "class_weight_from"),
        lambda r, _: _weighs(r),
        "there are no class weights",
    ),
    Rule(
        ("class_weight_prior",),
        lambda r, _: r.sampler_power > 0,
        "with sampler_power=0 the natural prior is the drawn one",
    ),
    Rule(
        ("class_weight_power", "class_weight_beta", "class_weight_from"),
        lambda r, _: r.class_weight_from < r.epochs,
        "class_weight_from lets the weights rest in all epochs",
    ),
    Rule(
        ("class_weight_power", "class_weight_beta"),
        lambda r, _: r.sampler_power < 1 or r.class_weight_prior == "natural",
        "sampler_power=1 leaves nothing to weigh",
    ),
    Rule(
        ("logit_adjustment",),
        lambda r, _: r.sampler_power < 1,
        "sampler_power=1 leaves nothing to adjust",
    ),
    Rule(("focal_gamma",), lambda r, _: r.loss == "focal", "loss is not focal"),
    Rule(("ldam_margin", "ldam_scale"), lambda r, _: r.loss == "ldam", "loss is not ldam"),
    Rule(("supcon_temperature",), lambda r, _: r.supcon_epochs > 0, "supcon_epochs is 0"),
    Rule(("prototype_scale",), lambda r, _: r.head == "prototypes", "head is not prototypes"),
    Rule(
        ("prototype_scale",),
        lambda r, _: r.loss != "ldam",
        "with loss=ldam it is ldam_scale",
    ),
    Rule(("cutmix_alpha",), lambda r, _: r.cutmix_prob > 0, "cutmix_prob is 0"),
    Rule(("mixup_alpha",), lambda r, _: r.mixup_prob > 0, "mixup_prob is 0"),
    Rule(("mix_off_epochs",), lambda r, _: _mixes(r), "cutmix_prob and mixup_prob are 0"),
    Rule(
        ("cutmix_prob", "mixup_prob", "mix_off_epochs"),
        lambda r, _: r.mix_off_epochs < r.epochs,
        "mix_off_epochs switches mixing off in all epochs",
    ),
    Rule(
        ("cutmix_prob", "mixup_prob"),
        lambda r, _: r.batch_size > 1,
        "alone in its batch an image is mixed with itself",
    ),
    Rule(
        ("rand_ops", "rand_magnitude"),
        lambda r, _: r.auto_augment == "rand",
        "auto_augment is not rand",
    ),
    Rule(("pseudo_threshold",), lambda r, _: bool(r.unlabelled), "--unlabelled is not given"),
    Rule(("ema_warmup",), lambda r, _: r.ema_decay is not None, "ema_decay is none"),
)


def inactive_options(recipe: Recipe, start: TrainingSetup) -> dict[str, str]:
    """The switches that differ from their defaults and change nothing, with the reason."""
    found: dict[str, str] = {}
    asked = recipe.switches()
    for rule in RULES:
        if not rule.acts(recipe, start):
            for name in rule.switches:
                if name in asked:
                    found.setdefault(name, rule.otherwise)
    return found


def describe_inactive(recipe: Recipe, idle: dict[str, str]) -> str:
    """Idle switches in words: `focal_gamma=3.0 (loss is not focal), ...`."""
    return ", ".join(f"{name}={getattr(recipe, name)} ({why})" for name, why in idle.items())
