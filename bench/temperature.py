"""Temperature scaling: one number, fitted on val, so that probabilities are as sure as right.

Guo et al. 2017, arXiv:1706.04599. The logits' temperature acts on probabilities alike, since
softmax(logits / T) is p^(1/T) divided by its sum, so it also fits averages of several views.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

LOWEST, HIGHEST = 0.05, 20.0
LEAST_PROBABILITY = 1e-12


def temper(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, C) at a temperature: above 1 less sure, below 1 surer; same order."""
    if temperature == 1:
        return probs
    logs = np.log(np.asarray(probs, dtype=np.float64).clip(LEAST_PROBABILITY)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=probs.dtype)


def log_loss(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log of the probability (N, C) that each label (N,) was given."""
    chosen = np.asarray(probs, dtype=np.float64)[np.arange(len(labels)), labels]
    return float(-np.log(chosen.clip(LEAST_PROBABILITY)).mean())


def fit_temperature(probs: np.ndarray, labels: np.ndarray) -> float:
    """The temperature between 0.05 and 20 with the smallest log loss of labels (N,).

    The loss is convex in 1 / T, so there is one such temperature.
    """
    exact = np.asarray(probs, dtype=np.float64)
    found = minimize_scalar(
        lambda log_temperature: log_loss(temper(exact, float(np.exp(log_temperature))), labels),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))
