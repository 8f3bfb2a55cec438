"""Losses, class weights and logit adjustment.

Targets are class shares (N, C), because of mixing and label smoothing. The loss of a mixed target
is the mixture of the losses of its labels: sum over c of share_c weight_c loss_c. For cross-entropy
this is the usual definition; focal loss and LDAM are defined for one label and use the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bench.method import Recipe

MIN_COUNT = 0.5
"""Count of a class without images, where the logarithm of its share is needed."""


def class_priors(labels: np.ndarray, num_classes: int, sampler_power: float) -> np.ndarray:
    """Class shares (C,) of the images drawn with this sampler power."""
    counts = np.bincount(labels, minlength=num_classes).astype(float)
    drawn = np.where(counts > 0, counts ** (1 - sampler_power), 0.0)
    return np.asarray(drawn / drawn.sum())


def class_weights(labels: np.ndarray, num_classes: int, recipe: Recipe) -> np.ndarray:
    """Loss weights (C,), mean 1 over the drawn images; 0 for a class without images.

    prior^-class_weight_power, or by effective number with class_weight_beta. The prior is the drawn
    or the natural one (class_weight_prior).
    """
    drawn = class_priors(labels, num_classes, recipe.sampler_power)
    balanced = (
        drawn if recipe.class_weight_prior == "drawn" else class_priors(labels, num_classes, 0)
    )
    present = balanced > 0
    weights = np.zeros(num_classes)
    if recipe.class_weight_beta:
        counts = balanced[present] * len(labels)
        weights[present] = 1 / effective_number(counts, recipe.class_weight_beta)
    else:
        weights[present] = balanced[present] ** -recipe.class_weight_power
    return np.asarray(weights / (weights * drawn).sum())


def effective_number(counts: np.ndarray, beta: float) -> np.ndarray:
    """(1 - beta^n) / (1 - beta): Cui et al. 2019, arXiv:1901.05555, equation 2."""
    return np.asarray((1 - beta**counts) / (1 - beta))


def log_prior(labels: np.ndarray, num_classes: int, sampler_power: float) -> np.ndarray:
    """Log class shares (C,) of the drawn images; a class without images counts half an image."""
    priors = class_priors(labels, num_classes, sampler_power)
    return np.asarray(np.log(np.maximum(priors, MIN_COUNT / len(labels))))


def ldam_margins(labels: np.ndarray, num_classes: int, largest: float) -> np.ndarray:
    """Margins (C,) ~ count^(-1/4), `largest` for the rarest class: Cao et al. 2019."""
    counts = np.bincount(labels, minlength=num_classes).astype(float)
    margins = np.maximum(counts, 1) ** -0.25
    return np.asarray(margins * largest / margins[counts > 0].max()).clip(max=largest)


def focal_losses(logits: torch.Tensor, gamma: float) -> torch.Tensor:
    """Focal loss (N, C) of each image for each label: (1 - p)^gamma times -log p.

    Lin et al. 2017, arXiv:1708.02002, with softmax instead of sigmoid.
    """
    log_probs = logits.float().log_softmax(dim=1)
    # above 0; the gradient of a root is infinite at 0
    rest = (1 - log_probs.exp()).clamp_min(1e-6)
    return -(rest**gamma) * log_probs


def ldam_losses(logits: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """LDAM loss (N, C) of each image for each label: cross-entropy with its logit lowered.

    margins (C,) in units of the logits. Cao et al. 2019, arXiv:1906.07413, equation 13.
    """
    lowered = logits.float()[:, None, :] - torch.diag(margins)
    return -lowered.log_softmax(dim=2).diagonal(dim1=1, dim2=2)


@dataclass(frozen=True)
class Loss:
    """A recipe's loss; `loss(logits, targets, epoch)` is the mean over a batch.

    logits, targets  (N, C)
    weights          (C,), with class weights
    plain_weights    (C,), without them, for the epochs before class_weight_from
    adjustment       (C,), added to the logits
    margins          (C,), of LDAM
    """

    recipe: Recipe
    weights: torch.Tensor
    plain_weights: torch.Tensor
    adjustment: torch.Tensor | None
    margins: torch.Tensor

    @classmethod
    def of(
        cls, recipe: Recipe, labels: np.ndarray, classes: Sequence[str], device: torch.device
    ) -> Loss:
        """The recipe's loss for training labels (N,)."""
        recipe.refuse_other_classes(classes)
        count = len(classes)
        weights = class_weights(labels, count, recipe)
        scales = np.array([recipe.class_loss_scale.get(name, 1.0) for name in classes])
        tau = recipe.logit_adjustment
        margins = recipe.ldam_scale * ldam_margins(labels, count, recipe.ldam_margin)

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        return cls(
            recipe=recipe,
            weights=tensor(weights * scales),
            plain_weights=tensor(scales),
            adjustment=tensor(tau * log_prior(labels, count, recipe.sampler_power))
            if tau
            else None,
            margins=tensor(margins),
        )

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, epoch: int) -> torch.Tensor:
        recipe = self.recipe
        weights = self.plain_weights if epoch < recipe.class_weight_from else self.weights
        if self.adjustment is not None:
            logits = logits + self.adjustment
        smoothing = recipe.label_smoothing
        if recipe.loss == "cross_entropy":
            return functional.cross_entropy(
                logits, targets, weight=weights, label_smoothing=smoothing
            )
        losses = (
            focal_losses(logits, recipe.focal_gamma)
            if recipe.loss == "focal"
            else ldam_losses(logits, self.margins)
        )
        targets = targets * (1 - smoothing) + smoothing / targets.shape[1]
        return (targets * weights * losses).sum(dim=1).mean()
