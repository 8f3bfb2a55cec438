"""Pools: the probabilities of several methods made one, by weights that val alone has fitted.

linear  p is the weighted mean of the members' probabilities; weights sum to 1
log     p is proportional to the product of the members' probabilities, each to the power of its
        weight; weights are free from 0 up, so this also tempers (Genest & Zidek 1986,
        doi:10.1214/ss/1177013825). With one member that sees the image and one that knows age, sex
        and site, it is their late fusion: evidence that is independent multiplies

The weights are those with the least log loss on val. Both problems are convex: what is found is the
best there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

Kind = Literal["linear", "log"]
LEAST_PROBABILITY = 1e-6
"""No member is taken to be surer than that that a class is not there."""
ROUNDS, STILL = 10_000, 1e-10


@dataclass(frozen=True)
class Pool:
    """How members are joined: the kind, and a weight (M,) for each."""

    kind: Kind
    weights: np.ndarray

    def __call__(self, probs: np.ndarray) -> np.ndarray:
        """The joint probabilities (N, C) of the members' (M, N, C)."""
        if self.kind == "linear":
            return np.asarray(np.einsum("m,mnc->nc", self.weights, probs))
        return np.asarray(softmax(np.einsum("m,mnc->nc", self.weights, _logs(probs)), axis=1))


def fit_pool(kind: Kind, probs: np.ndarray, labels: np.ndarray) -> Pool:
    """The pool with the least log loss on val: members' probabilities (M, N, C), labels (N,)."""
    return Pool(kind, _linear(probs, labels) if kind == "linear" else _log(probs, labels))


def _linear(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of a mixture of fixed members, by expectation maximisation: each round lowers the
    loss, and there is one minimum (Dempster, Laird & Rubin 1977, section 4.3)."""
    given = probs[:, np.arange(len(labels)), labels].clip(LEAST_PROBABILITY)
    weights = np.full(len(probs), 1 / len(probs))
    for _ in range(ROUNDS):
        share = weights[:, None] * given
        after = (share / share.sum(axis=0)).mean(axis=1)
        if np.abs(after - weights).max() < STILL:
            break
        weights = after
    return weights


def _log(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of a product of members, by L-BFGS from equal ones."""
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
    return np.asarray(np.log(probs.astype(np.float64).clip(LEAST_PROBABILITY)))
