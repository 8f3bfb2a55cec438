"""Sampling: epoch order, random draws of a training, images in device memory.

So a result depends neither on where a run was interrupted nor on what else was drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

from bench.method import FoldTask, Images
from bench.train.augment import DRAWS, SAMPLE_DRAWS, Draws

ORDER, AUGMENT, STEP, WEIGHTS, SAMPLE, REVIEW = range(6)


def derived_seed(seed: int, column: int, *place: int) -> int:
    """A 63-bit seed for one place of a training, e.g. (AUGMENT, epoch)."""
    state = np.random.SeedSequence([seed, column, *place]).generate_state(1, np.uint64)
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
    """Positions (N,) of the training images in the order an epoch shows them.

    Power 0 is a permutation. Above it classes are drawn ~ count^(1 - power): with replacement, or
    by the class-aware sampler, which shows the images of a class equally often, within one.
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
    """Whole rounds through each class's images, the last one cut, then all of it shuffled."""
    counts = np.bincount(labels)
    shares = np.where(counts > 0, np.maximum(counts, 1.0) ** (1 - power), 0.0)
    turns = []
    for label, quota in enumerate(_largest_remainders(shares / shares.sum(), len(labels))):
        members = np.flatnonzero(labels == label)
        for done in range(0, quota, max(1, len(members))):
            shuffled = torch.randperm(len(members), generator=generator).numpy()
            turns.append(members[shuffled[: quota - done]])
    drawn = np.concatenate(turns)
    return np.asarray(drawn[torch.randperm(len(drawn), generator=generator).numpy()])


def _largest_remainders(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers (C,) that sum to the total, each within one of its share of it."""
    wanted = shares * total
    whole = np.floor(wanted).astype(int)
    whole[np.argsort(whole - wanted, kind="stable")[: total - whole.sum()]] += 1
    return np.asarray(whole)


def augment_draws(count: int, seed: int, column: int, epoch: int) -> np.ndarray:
    """Uniform numbers (count, DRAWS) in [0, 1), a row for each turn of an epoch."""
    key = derived_seed(seed, column, AUGMENT, epoch)
    return np.random.Generator(np.random.Philox(key=key)).random((count, DRAWS), dtype=np.float32)


def sample_keys(image_ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Numbers (N,) uint64 that stand for image ids."""
    digests = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in image_ids)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def sample_draws(
    keys: np.ndarray, order: np.ndarray, seed: int, column: int, epoch: int
) -> np.ndarray:
    """Uniform numbers (n, SAMPLE_DRAWS) float32 in [0, 1) for the images at order (n,).

    They follow from the image (its key) and from how often it was shown before in this epoch, not
    from its place in the order. The generator is splitmix64 on a counter (Steele et al. 2014).
    """
    start = np.uint64(derived_seed(seed, column, SAMPLE, epoch))
    shown = _mixed(keys[order] ^ start) + _showings(order).astype(np.uint64)
    counters = _mixed(shown)[:, None] + np.arange(SAMPLE_DRAWS, dtype=np.uint64)
    # the upper 24 bits are what a float32 in [0, 1) can hold
    return ((_mixed(counters) >> np.uint64(40)) * np.float32(2**-24)).astype(np.float32)


def _showings(order: np.ndarray) -> np.ndarray:
    """How often each turn's image was shown before in the same order."""
    by_image = np.argsort(order, kind="stable")
    same = order[by_image]
    showings = np.empty(len(order), dtype=np.int64)
    showings[by_image] = np.arange(len(order)) - np.searchsorted(same, same)
    return showings


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """splitmix64's output for states (uint64, wrapping)."""
    z = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def strengths(labels: np.ndarray, rare_augment: float) -> np.ndarray:
    """How much stronger the augmentation of each image (N,) is: 1 in the commonest class."""
    counts = np.bincount(labels)[labels]
    return np.asarray(1 + rare_augment * (1 - counts / counts.max()), dtype=np.float32)


class EpochDraws:
    """What the epochs of one training draw: the order of the images, and their augmentation."""

    def __init__(self, task: FoldTask) -> None:
        self.task = task
        self.keys = sample_keys(task.train.image_ids)
        rare = task.recipe.rare_augment
        self.strengths = strengths(task.train.labels, rare) if rare else None

    def of(self, epoch: int) -> tuple[np.ndarray, Draws]:
        """The order (n,) of an epoch, and the draws of its turns."""
        task, recipe = self.task, self.task.recipe
        place = (task.seed, task.column, epoch)
        order = epoch_order(task.train.labels, recipe.sampler_power, *place, sampler=recipe.sampler)
        return order, Draws(
            turn=augment_draws(len(order), *place),
            sample=sample_draws(self.keys, order, *place),
            strength=None if self.strengths is None else self.strengths[order],
        )


def seed_step(seed: int, column: int, epoch: int, step: int) -> None:
    """Seed torch for one training step: mixing and dropout draw from here."""
    torch.manual_seed(derived_seed(seed, column, STEP, epoch, step))


SHARE = 0.25
"""Of the device's free memory that the images of one part may take."""


class ResidentImages:
    """Images (N, H, W, 3) uint8 RGB on a device; taken as from the store's Images."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self.pixels = torch.from_numpy(images.take(np.arange(len(images)))).to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, positions: np.ndarray) -> torch.Tensor:
        """Images (n, H, W, 3) uint8 RGB at the given positions."""
        return self.pixels[torch.from_numpy(positions).to(self.pixels.device)]


def on_device(images: Images, device: torch.device) -> Images | ResidentImages:
    """The images in a GPU's memory if they fit well; else, and for a CPU, where they are."""
    if device.type != "cuda":
        return images
    size = len(images) * int(np.prod(images.pixels.shape[1:]))
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentImages(images, device) if size <= SHARE * free else images
