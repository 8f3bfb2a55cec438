"""Optimizers, parameter groups, learning-rate schedules and the moving average of weights."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from bench.errors import MethodError, listing
from bench.method import Recipe
from bench.train.models import head_names, layers

Optimizer = torch.optim.Optimizer

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 10_000


def build_optimizer(model: nn.Module, recipe: Recipe, lr: float) -> Optimizer:
    """The recipe's optimizer over the parameters that learn."""
    groups = parameter_groups(model, recipe)
    optimizer: Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, lr=lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0
        )
    elif recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=lr, fused=True)
    else:
        from timm.optim._optim_factory import create_optimizer_v2

        optimizer = create_optimizer_v2(groups, recipe.optimizer, lr=lr, momentum=recipe.momentum)
    if recipe.lookahead:
        from timm.optim.lookahead import Lookahead

        optimizer = Lookahead(optimizer)  # type: ignore[no-untyped-call]
    return optimizer


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups of one weight decay and one multiple of the learning rate (`lr_scale`) each.

    Biases and norms do not decay. The multiple is the layer's power of `layer_decay`, times
    `body_lr_scale` outside the head, times what `lr_scales` says of the name. Raises MethodError
    where a model does not tell its layers.
    """
    scales = rate_scales(model, recipe)
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = []
    for decays in (True, False):
        parameters = [(name, p) for name, p in learning if (p.ndim > 1) is decays]
        groups += [
            {
                "params": [p for name, p in parameters if scales[name] == scale],
                "weight_decay": recipe.weight_decay if decays else 0.0,
                "lr_scale": scale,
            }
            for scale in dict.fromkeys(scales[name] for name, _ in parameters)
        ]
    return groups


def rate_scales(model: nn.Module, recipe: Recipe) -> dict[str, float]:
    """The multiple of the learning rate of each parameter by name."""
    head = head_names(model)
    if not head and recipe.body_lr_scale != 1:
        raise MethodError("body_lr_scale: the model has no get_classifier() that tells its head")
    names = [name for name, _ in model.named_parameters()]
    scales = {name: 1.0 if name in head else recipe.body_lr_scale for name in names}
    if recipe.layer_decay != 1:
        depth = layers(model)
        top = max(depth.values())
        scales = {name: scales[name] * recipe.layer_decay ** (top - depth[name]) for name in names}
    for pattern, factor in recipe.lr_scales.items():
        meant = [name for name in names if fnmatchcase(name, pattern)]
        if not meant:
            raise MethodError(
                f"lr_scales: no parameter is called {pattern!r}; there are {listing(names)}"
            )
        scales |= {name: scales[name] * factor for name in meant}
    return scales


def accumulation(turn: int, batches: int, together: int) -> tuple[int, bool]:
    """How many batches share a batch's step of the optimizer, and whether it is the last of them.

    The last step of an epoch takes what is left.
    """
    first = turn - turn % together
    share = min(together, batches - first)
    return share, turn == first + share - 1


class Schedule:
    """The learning rate as a factor of the base rate: warm-up, then what the recipe says.

    `factor(step)` is what a step uses; `epoch_ended(score)` tells the val score, which only plateau
    heeds: without a better one for `plateau_patience` epochs the factor shrinks.
    """

    def __init__(self, recipe: Recipe, first_step: int, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.first_step = first_step
        self.last_step = recipe.epochs * steps_per_epoch
        self.warmup_steps = recipe.warmup_epochs * steps_per_epoch
        self.scale, self.best, self.bad_epochs = 1.0, -math.inf, 0

    def factor(self, step: int) -> float:
        """Factor of the base learning rate at a step counted from the start of the training."""
        taken, total = step - self.first_step, self.last_step - self.first_step
        if self.recipe.schedule == "one_cycle":
            return one_cycle(taken, total, self.warmup_steps)
        if taken < self.warmup_steps:
            return self.scale * (taken + 1) / self.warmup_steps
        if self.recipe.schedule == "cosine":
            done = (taken - self.warmup_steps) / max(1, total - self.warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.scale

    def epoch_ended(self, score: float) -> None:
        """Count epochs without a better val score; shrink the rate when patience is used up."""
        if self.recipe.schedule != "plateau":
            return
        if score > self.best:
            self.best, self.bad_epochs = score, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs > self.recipe.plateau_patience:
            self.scale *= self.recipe.plateau_factor
            self.bad_epochs = 0

    def state_dict(self) -> dict[str, float]:
        """What must be kept over an interruption."""
        return {"scale": self.scale, "best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up where `state_dict` was taken."""
        self.scale, self.best = state["scale"], state["best"]
        self.bad_epochs = int(state["bad_epochs"])


def one_cycle(taken: int, total: int, warmup_steps: float) -> float:
    """Smith & Topin 2019, as torch's OneCycleLR draws it: a cosine up, a cosine down."""
    peak = (warmup_steps or ONE_CYCLE_RISE * total) - 1
    if 0 < peak >= taken:
        return _between(ONE_CYCLE_START, 1, taken / peak)
    return _between(1, ONE_CYCLE_END, min(1.0, (taken - peak) / max(1, total - 1 - peak)))


def _between(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


WARMUP_STEPS = 10
"""The decay grows as step / (10 + step): after 90 steps 0.9, after 990 steps 0.99."""


class NoEma:
    """Keeps nothing; there is no second set of weights to choose."""

    module: nn.Module | None = None

    def update(self, model: nn.Module, step: int) -> None:
        """Do nothing."""

    def get_decay(self, step: int) -> float:  # noqa: ARG002 - the same whatever the step
        """Nothing of the past is kept."""
        return 0.0

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing to take up."""


def build_ema(model: nn.Module, recipe: Recipe) -> Any:
    """The moving average that a recipe asks for: timm's, with warm-up unless switched off."""
    if recipe.ema_decay is None:
        return NoEma()
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(
        model,
        decay=recipe.ema_decay,
        use_warmup=recipe.ema_warmup,
        warmup_gamma=WARMUP_STEPS,
        warmup_power=1.0,
    )
