"""Losses and the class weights in them."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from bench.method import Recipe


def class_priors(labels: np.ndarray, num_classes: int, sampler_power: float) -> np.ndarray:
    """Shares (C,) of the classes among the images that a sampler of this power draws."""
    counts = np.bincount(labels, minlength=num_classes).astype(float)
    drawn = np.where(counts > 0, counts ** (1 - sampler_power), 0.0)
    return np.asarray(drawn / drawn.sum())


def class_weights(labels: np.ndarray, num_classes: int, recipe: Recipe) -> np.ndarray:
    """Loss weights (C,): prior^-power, mean 1 over the drawn images; 0 for a class without images.

    The prior is the drawn one or the natural one, as the recipe says.
    """
    drawn = class_priors(labels, num_classes, recipe.sampler_power)
    balanced = (
        drawn if recipe.class_weight_prior == "drawn" else class_priors(labels, num_classes, 0)
    )
    present = balanced > 0
    weights = np.zeros(num_classes)
    weights[present] = balanced[present] ** -recipe.class_weight_power
    return np.asarray(weights / (weights * drawn).sum())


def soft_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Mean weighted cross-entropy of logits (N, C) against target shares (N, C)."""
    return functional.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
