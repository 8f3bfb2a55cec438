"""Pools against a general optimiser, and on members of which the answer is known."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from bench.calibrate import OpinionPool, fit_pool

CLASSES = 4


def members(seed, images=400, skills=(2.0, 1.0, 0.5)):
    """Members that see the truth through noise of their own; the first sees most."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, images)
    truth = np.eye(CLASSES)[labels]
    logits = [s * truth + rng.normal(size=truth.shape) for s in skills]
    return softmax(np.stack(logits), axis=2), labels


@pytest.mark.parametrize("seed", range(5))
def test_linear_weights_are_those_a_general_optimiser_finds(seed):
    probs, labels = members(seed)

    def loss(weights):
        return -np.log((weights @ probs[:, np.arange(len(labels)), labels]).clip(1e-12)).mean()

    found = minimize(
        loss, np.full(3, 1 / 3), method="SLSQP", bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-14},
    )  # fmt: skip
    pool = fit_pool("linear", probs, labels)
    assert pool.weights.sum() == pytest.approx(1)
    assert loss(pool.weights) <= found.fun + 1e-9
    np.testing.assert_allclose(pool.weights, found.x, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_log_weights_are_those_a_search_without_slopes_finds(seed):
    probs, labels = members(seed)

    def loss(weights):
        return log_loss(labels, OpinionPool("log", np.abs(weights))(probs), labels=range(CLASSES))

    found = minimize(
        loss, np.ones(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}
    )
    pool = fit_pool("log", probs, labels)
    assert loss(pool.weights) <= found.fun + 1e-9
    np.testing.assert_allclose(pool.weights, np.abs(found.x), atol=1e-2)


def test_a_member_that_knows_nothing_gets_no_weight():
    rng = np.random.default_rng(0)
    probs, labels = members(0)
    probs[1:] = rng.dirichlet(np.ones(CLASSES), (2, len(labels)))
    assert fit_pool("linear", probs, labels).weights[0] > 0.95
    weights = fit_pool("log", probs, labels).weights
    assert weights[0] > 10 * weights[1:].max()


def test_the_log_pool_of_independent_evidence_is_bayes():
    """Two members with classes of equal prior, each right about its own evidence: the product."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, 20_000)
    evidence = np.eye(CLASSES)[labels] * 1.5 + rng.normal(size=(2, len(labels), CLASSES))
    probs = softmax(1.5 * evidence, axis=2)  # the posterior of N(1.5, 1) against N(0, 1)
    np.testing.assert_allclose(fit_pool("log", probs, labels).weights, 1, atol=0.05)
    both = LogisticRegression(C=1e6).fit(np.concatenate(evidence, axis=1), labels)
    ideal = both.predict_proba(np.concatenate(evidence, axis=1))
    ours = fit_pool("log", probs, labels)(probs)
    assert log_loss(labels, ours) == pytest.approx(log_loss(labels, ideal), abs=2e-3)


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_a_pool_gives_probabilities_even_of_members_that_are_sure(kind):
    probs, labels = members(2)
    probs[0] = np.eye(CLASSES)[probs[0].argmax(axis=1)]
    joint = fit_pool(kind, probs, labels)(probs)
    assert np.isfinite(joint).all()
    np.testing.assert_allclose(joint.sum(axis=1), 1)
