"""Optimizers, learning-rate schedules and the two phases of a fine-tuning."""

from __future__ import annotations

import math

import torch
from torch import nn

from bench.method import Recipe
from bench.train.models import head_names

Optimizer = torch.optim.Optimizer


def build_optimizer(model: nn.Module, recipe: Recipe, lr: float) -> Optimizer:
    """The recipe's optimizer over the parameters that learn; biases and norms do not decay."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=lr, fused=True)


class Schedule:
    """The learning rate as a factor of the base rate: warm-up, then constant, cosine or plateau.

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


def freeze_body(model: nn.Module) -> None:
    """Let only the head learn; the body keeps its weights."""
    head = head_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in head)


def unfreeze(model: nn.Module) -> None:
    """Let every parameter learn."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def train_mode(model: nn.Module, *, body_frozen: bool) -> None:
    """Training mode; a frozen body stays in evaluation mode, so its batch norms do not move."""
    model.train(not body_frozen)
    if body_frozen:
        model.get_classifier().train()  # type: ignore[operator]
