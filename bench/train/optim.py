"""Optimizers, parameter groups, learning-rate schedules and the moving average of weights."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from bench.errors import MethodError, listing
from bench.method import Recipe
from bench.train.fabric import gradient_scaler
from bench.train.models import head_names, layers

ONE_CYCLE_RISE = 0.3
"""Share of the steps in which one_cycle rises."""
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 10_000


class Phase:
    """Optimizer, base learning rate and schedule of the head-only epochs, or of those after them.

    epoch  the first epoch of the phase, counted from 0
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        recipe: Recipe,
        epoch: int,
        steps_per_epoch: int,
        *,
        head_only: bool,
    ) -> None:
        self.base_lr = (head_only and recipe.head_lr) or recipe.lr
        # a fused optimizer unscales gradients itself, after they were clipped
        fused = gradient_scaler(fabric) is None
        optimizer = build_optimizer(model, recipe, self.base_lr, fused=fused)
        self.optimizer: Any = fabric.setup_optimizers(optimizer)
        self.schedule = Schedule(recipe, epoch * steps_per_epoch, steps_per_epoch)

    def lr(self, step: int) -> float:
        """Learning rate at a step counted from the start of the training."""
        return self.base_lr * self.schedule.factor(step)

    def set_rates(self, step: int) -> None:
        """Give each parameter group its learning rate at a step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step) * group.get("lr_scale", 1.0)

    def rates(self) -> tuple[float, ...]:
        """The different learning rates of the parameter groups."""
        return tuple(dict.fromkeys(group["lr"] for group in self.optimizer.param_groups))


def build_optimizer(
    model: nn.Module, recipe: Recipe, lr: float, *, fused: bool = True
) -> torch.optim.Optimizer:
    """The recipe's optimizer over the parameters that learn, from timm's factory.

    fused  whether adamw updates all parameters in one kernel
    """
    from timm.optim._optim_factory import create_optimizer_v2

    # timm's sgd is Nesterov's, which needs a momentum; its "momentum" is plain
    name = "momentum" if recipe.optimizer == "sgd" and not recipe.momentum else recipe.optimizer
    options: dict[str, Any] = {"fused": True} if fused and name == "adamw" else {}
    return create_optimizer_v2(
        parameter_groups(model, recipe),
        f"lookahead_{name}" if recipe.lookahead else name,
        lr=lr,
        momentum=recipe.momentum,
        **options,
    )


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameter groups, each with one weight decay and one multiple of the learning rate.

    Biases and norms do not decay. The multiple (`lr_scale`) is the layer's power of `layer_decay`,
    times `body_lr_scale` outside the head, times the factors of `lr_scales`. Raises MethodError for
    a model without the structure that these options need.
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
        raise MethodError(
            "body_lr_scale: the model has no get_classifier(), so its head is unknown"
        )
    names = [name for name, _ in model.named_parameters()]
    scales = {name: 1.0 if name in head else recipe.body_lr_scale for name in names}
    if recipe.layer_decay != 1:
        depth = layers(model)
        top = max(depth.values())
        scales = {name: scales[name] * recipe.layer_decay ** (top - depth[name]) for name in names}
    for pattern, factor in recipe.lr_scales.items():
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise MethodError(
                f"lr_scales: no parameter matches {pattern!r}; the model has {listing(names)}"
            )
        scales |= {name: scales[name] * factor for name in matching}
    return scales


def accumulation(batch: int, batches: int, together: int) -> tuple[int, bool]:
    """Number of batches in the optimizer step of a batch, and whether it is the last of them.

    The last step of an epoch has fewer batches if they do not divide evenly.
    """
    first = batch - batch % together
    share = min(together, batches - first)
    return share, batch == first + share - 1


class Schedule:
    """The learning rate as a factor of the base rate: warm-up, then the recipe's schedule.

    `factor(step)` is the factor at a step. `epoch_ended(score)` takes the val score, which only
    `plateau` uses: without a better one for `plateau_patience` epochs the factor shrinks.
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
        """State for a checkpoint."""
        return {"scale": self.scale, "best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from a state."""
        self.scale, self.best = state["scale"], state["best"]
        self.bad_epochs = int(state["bad_epochs"])


def one_cycle(taken: int, total: int, warmup_steps: float) -> float:
    """One-cycle factor of torch's OneCycleLR: a cosine up, a cosine down (Smith & Topin 2019)."""
    peak = (warmup_steps or ONE_CYCLE_RISE * total) - 1
    if 0 < peak >= taken:
        return _between(ONE_CYCLE_START, 1, taken / peak)
    return _between(1, ONE_CYCLE_END, min(1.0, (taken - peak) / max(1, total - 1 - peak)))


def _between(start: float, end: float, share: float) -> float:
    """Interpolate from start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


WARMUP_STEPS = 10
"""The decay grows as step / (10 + step): after 90 steps 0.9, after 990 steps 0.99."""


class NoEma:
    """Null variant: no averaged weights."""

    module: nn.Module | None = None

    def update(self, model: nn.Module, step: int) -> None:
        """Do nothing."""

    def get_decay(self, step: int) -> float:  # noqa: ARG002 - as ModelEmaV3's
        """Always 0."""
        return 0.0

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Do nothing."""


def build_ema(model: nn.Module, recipe: Recipe) -> Any:
    """The exponential moving average of the weights (timm's ModelEmaV3), or its null variant."""
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
