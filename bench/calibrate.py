"""Temperature scaling and opinion pools.

Temperature scaling (Guo et al. 2017, arXiv:1706.04599) works on probabilities too, because
softmax(logits / T) is p^(1/T) divided by its sum; so it also fits averages of several views.

linear  p is the weighted mean of the member probabilities; weights sum to 1
log     p is proportional to the product of the member probabilities, each to the power of its
        weight; weights are 0 or more, so this also calibrates (Genest & Zidek 1986,
        doi:10.1214/ss/1177013825). With an image model and a metadata model as members it is late
        fusion: independent evidence multiplies

The weights minimise the log loss on val. Both problems are convex, so the optimum is global.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

LOWEST, HIGHEST = 0.05, 20.0
LEAST_PROBABILITY = 1e-12


def temper(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, C) at a temperature: above 1 less confident, below 1 more; same order."""
    if temperature == 1:
        return probs
    logs = np.log(np.asarray(probs, dtype=np.float64).clip(LEAST_PROBABILITY)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=probs.dtype)


def log_loss(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log of the probability (N, C) of each label (N,)."""
    chosen = np.asarray(probs, dtype=np.float64)[np.arange(len(labels)), labels]
    return float(-np.log(chosen.clip(LEAST_PROBABILITY)).mean())


def fit_temperature(probs: np.ndarray, labels: np.ndarray) -> float:
    """The temperature between 0.05 and 20 with the smallest log loss of labels (N,).

    The loss is convex in 1 / T, so the optimum is unique.
    """
    exact = np.asarray(probs, dtype=np.float64)
    found = minimize_scalar(
        lambda log_temperature: log_loss(temper(exact, float(np.exp(log_temperature))), labels),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


Kind = Literal["linear", "log"]
LEAST_POOLED_PROBABILITY = 1e-6
"""Lower bound of member probabilities, so that no member can exclude a class."""
ROUNDS, STILL = 10_000, 1e-10


@dataclass(frozen=True)
class OpinionPool:
    """A pool of M members: its kind, and the weight of each member (M,)."""

    kind: Kind
    weights: np.ndarray

    def __call__(self, probs: np.ndarray) -> np.ndarray:
        """Pooled probabilities (N, C) of member probabilities (M, N, C)."""
        if self.kind == "linear":
            return np.asarray(np.einsum("m,mnc->nc", self.weights, probs))
        return np.asarray(softmax(np.einsum("m,mnc->nc", self.weights, _logs(probs)), axis=1))


def fit_pool(kind: Kind, probs: np.ndarray, labels: np.ndarray) -> OpinionPool:
    """Fit the pool that minimises log loss on val: member probabilities (M, N, C), labels (N,)."""
    return OpinionPool(kind, _linear(probs, labels) if kind == "linear" else _log(probs, labels))


def _linear(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of a mixture of fixed members, by expectation maximisation: every step lowers the
    loss, and the minimum is unique (Dempster, Laird & Rubin 1977, section 4.3)."""
    given = probs[:, np.arange(len(labels)), labels].clip(LEAST_POOLED_PROBABILITY)
    weights = np.full(len(probs), 1 / len(probs))
    for _ in range(ROUNDS):
        share = weights[:, None] * given
        after = (share / share.sum(axis=0)).mean(axis=1)
        if np.abs(after - weights).max() < STILL:
            break
        weights = after
    return weights


def _log(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of a product of members, by L-BFGS from equal weights."""
    logs = _logs(probs)
    given = logs[:, np.arange(len(labels)), labels]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        joint = log_softmax(np.einsum("m,mnc->nc", weights, logs), axis=1)
        slope = np.einsum("nc,mnc->mn", np.exp(joint), logs) - given
        return float(-joint[np.arange(len(labels)), labels].mean()), slope.mean(axis=1)

    start = np.full(len(probs), 1 / len(probs))
    bounds = [(0, None)] * len(probs)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x)


def _logs(probs: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(probs.astype(np.float64).clip(LEAST_POOLED_PROBABILITY)))
