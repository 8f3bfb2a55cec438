"""Sampling: epoch order, random draws of a training, images in device memory.

Each random number follows from seed, fold, epoch and position or image alone; so a result does not
depend on interruptions, or on other random draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from bench.method import FoldTask, Images
from bench.train.augment import DRAWS, SAMPLE_DRAWS, Draws

ORDER, AUGMENT, STEP, WEIGHTS, SAMPLE, CHECK = range(6)
"""Uses of random numbers; each has its own seeds."""


def derived_seed(seed: int, column: int, *use: int) -> int:
    """A 63-bit seed for one use in a training, such as (AUGMENT, epoch)."""
    state = np.random.SeedSequence([seed, column, *use]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def epoch_order(
    labels: np.ndarray,
    sampler_power: float,
    seed: int,
    column: int,
    epoch: int,
    *,
    sampler: str = "replacement",
) -> np.ndarray:
    """Positions (N,) of the training images in the order of an epoch.

    sampler_power 0 gives a permutation. Above 0 classes are drawn ~ count^(1 - power): with
    replacement, or class-aware, so that the images of a class occur equally often (within one).
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, column, ORDER, epoch))
    if sampler_power == 0:
        return torch.randperm(len(labels), generator=generator).numpy()
    if sampler == "class_aware":
        return _class_aware(labels, sampler_power, generator)
    weights = np.bincount(labels).astype(float)[labels] ** -sampler_power
    drawn = WeightedRandomSampler(weights.tolist(), len(labels), generator=generator)
    return np.fromiter(drawn, dtype=np.int64, count=len(labels))


def _class_aware(labels: np.ndarray, power: float, generator: torch.Generator) -> np.ndarray:
    """Full passes through each class, the last one partial, then shuffled together."""
    counts = np.bincount(labels)
    shares = np.where(counts > 0, np.maximum(counts, 1.0) ** (1 - power), 0.0)
    passes = []
    for label, quota in enumerate(_largest_remainders(shares / shares.sum(), len(labels))):
        members = np.flatnonzero(labels == label)
        for done in range(0, quota, max(1, len(members))):
            shuffled = torch.randperm(len(members), generator=generator).numpy()
            passes.append(members[shuffled[: quota - done]])
    drawn = np.concatenate(passes)
    return np.asarray(drawn[torch.randperm(len(drawn), generator=generator).numpy()])


def _largest_remainders(shares: np.ndarray, total: int) -> np.ndarray:
    """Integers (C,) with the given total, each within one of its share (largest remainders)."""
    exact = shares * total
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: total - whole.sum()]] += 1
    return np.asarray(whole)


def augment_draws(count: int, seed: int, column: int, epoch: int) -> np.ndarray:
    """Uniform random numbers (count, DRAWS) float32 in [0, 1), one row per position of an epoch."""
    key = derived_seed(seed, column, AUGMENT, epoch)
    return np.random.Generator(np.random.Philox(key=key)).random((count, DRAWS), dtype=np.float32)


def sample_keys(image_ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Hashes (N,) uint64 of image ids."""
    digests = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in image_ids)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def sample_draws(
    keys: np.ndarray, order: np.ndarray, seed: int, column: int, epoch: int
) -> np.ndarray:
    """Uniform random numbers (n, SAMPLE_DRAWS) float32 in [0, 1) for the images at order (n,).

    They follow from the image (its key) and the number of its earlier occurrences in this epoch,
    not from its position. Counter-based splitmix64 (Steele et al. 2014).
    """
    start = np.uint64(derived_seed(seed, column, SAMPLE, epoch))
    occurrences = _splitmix64(keys[order] ^ start) + _occurrences(order).astype(np.uint64)
    counters = _splitmix64(occurrences)[:, None] + np.arange(SAMPLE_DRAWS, dtype=np.uint64)
    # a float32 in [0, 1) holds the upper 24 bits
    return ((_splitmix64(counters) >> np.uint64(40)) * np.float32(2**-24)).astype(np.float32)


def _occurrences(order: np.ndarray) -> np.ndarray:
    """Number of earlier occurrences of each position's image in the same order."""
    by_image = np.argsort(order, kind="stable")
    same = order[by_image]
    occurrences = np.empty(len(order), dtype=np.int64)
    occurrences[by_image] = np.arange(len(order)) - np.searchsorted(same, same)
    return occurrences


def _splitmix64(numbers: np.ndarray) -> np.ndarray:
    """Output of splitmix64 for states (uint64, wrapping)."""
    z = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def strengths(labels: np.ndarray, rare_augment: float) -> np.ndarray:
    """Factor (N,) of the augmentation of each image; 1 in the most frequent class."""
    counts = np.bincount(labels)[labels]
    return np.asarray(1 + rare_augment * (1 - counts / counts.max()), dtype=np.float32)


class EpochSampler:
    """Order of the images and random draws of their augmentation, for each epoch of a training."""

    def __init__(self, task: FoldTask) -> None:
        self.task = task
        self.keys = sample_keys(task.train.image_ids)
        rare = task.recipe.rare_augment
        self.strengths = strengths(task.train.labels, rare) if rare else None

    def of(self, epoch: int) -> tuple[np.ndarray, Draws]:
        """The order (n,) of an epoch, and the random draws for its positions."""
        task, recipe = self.task, self.task.recipe
        seeds = (task.seed, task.column, epoch)
        order = epoch_order(task.train.labels, recipe.sampler_power, *seeds, sampler=recipe.sampler)
        return order, Draws(
            position=augment_draws(len(order), *seeds),
            sample=sample_draws(self.keys, order, *seeds),
            strength=None if self.strengths is None else self.strengths[order],
        )


def seed_step(seed: int, column: int, epoch: int, step: int) -> None:
    """Seed torch for one batch; mixing and dropout use this generator."""
    torch.manual_seed(derived_seed(seed, column, STEP, epoch, step))


MEMORY_SHARE = 0.25
"""Largest share of the free GPU memory for the images of one part."""


class ResidentImages:
    """Images (N, H, W, 3) uint8 RGB in device memory, with the interface of Images."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self.pixels = torch.from_numpy(images.take(np.arange(len(images)))).to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, positions: np.ndarray) -> torch.Tensor:
        """Images (n, H, W, 3) uint8 RGB at the given positions."""
        return self.pixels[torch.from_numpy(positions).to(self.pixels.device)]


def on_device(images: Images, device: torch.device) -> Images | ResidentImages:
    """The images in GPU memory if they fit; otherwise, and for a CPU, unchanged."""
    if device.type != "cuda":
        return images
    size = len(images) * int(np.prod(images.pixels.shape[1:]))
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentImages(images, device) if size <= MEMORY_SHARE * free else images
