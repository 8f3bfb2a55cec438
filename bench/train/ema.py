"""An exponential moving average of the weights, or none."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench.method import Recipe

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
