"""Randomness of a training: every draw follows from (seed, fold, epoch, step) alone.

So a result depends neither on where a run was interrupted nor on what else was drawn.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from bench.data.augment import DRAWS

ORDER, AUGMENT, STEP, WEIGHTS = range(4)


def derived_seed(seed: int, column: int, *place: int) -> int:
    """A 63-bit seed for one place of a training, e.g. (AUGMENT, epoch)."""
    state = np.random.SeedSequence([seed, column, *place]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def epoch_order(
    labels: np.ndarray, sampler_power: float, seed: int, column: int, epoch: int
) -> np.ndarray:
    """Positions (N,) of the training images in the order an epoch shows them.

    Power 0 is a permutation; above it classes are drawn with replacement ~ count^(1 - power).
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, column, ORDER, epoch))
    if sampler_power == 0:
        return torch.randperm(len(labels), generator=generator).numpy()
    weights = np.bincount(labels).astype(float)[labels] ** -sampler_power
    drawn = WeightedRandomSampler(weights.tolist(), len(labels), generator=generator)
    return np.fromiter(drawn, dtype=np.int64, count=len(labels))


def augment_draws(count: int, seed: int, column: int, epoch: int) -> np.ndarray:
    """Uniform numbers (count, DRAWS) in [0, 1), a row for each turn of an epoch."""
    key = derived_seed(seed, column, AUGMENT, epoch)
    return np.random.Generator(np.random.Philox(key=key)).random((count, DRAWS), dtype=np.float32)


def seed_step(seed: int, column: int, epoch: int, step: int) -> None:
    """Seed torch for one training step: mixing and dropout draw from here."""
    torch.manual_seed(derived_seed(seed, column, STEP, epoch, step))
