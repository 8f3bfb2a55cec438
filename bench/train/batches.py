"""Training batches of an epoch: order, augmentation, mixing, and this process's share.

All randomness follows from seed, fold, epoch and batch, so a batch is the same however often the
training was interrupted before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from lightning_fabric import Fabric

from bench.method import FoldTask
from bench.train import fabric as distributed
from bench.train import sampling
from bench.train.augment import Augment, Draws, Mix, NoMix, mixing
from bench.train.evaluate import Scale


class TrainingBatches:
    """Batches of a task's training part, on the device of the training.

    `len(batches)` is the number of batches of an epoch.
    """

    views = 1
    """How often a batch contains each of its images."""

    def __init__(self, task: FoldTask, fabric: Fabric, scale: Scale) -> None:
        self.task, self.fabric, self.scale = task, fabric, scale
        self.images = sampling.on_device(task.train.images, fabric.device)
        self.sampler = sampling.EpochSampler(task)
        self.augment = Augment.of(task.recipe)
        self.slices = _slices(len(task.train), task.recipe.batch_size)

    def __len__(self) -> int:
        return len(self.slices)

    def of_epoch(
        self, epoch: int, start: int = 0
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
        """Images (n, 3, S, S), targets (n, C) and loss weight of each batch from `start` on.

        The weight makes the mean over processes the mean over the whole batch. Seeds torch for each
        batch; mixing and the dropout of its step draw from there.
        """
        order, draws = self.sampler.of(epoch)
        mix = mixing(self.task.recipe, len(self.task.classes), epoch)
        for number in range(start, len(self.slices)):
            batch = self.slices[number]
            sampling.seed_step(self.task.seed, self.task.column, epoch, number)
            images, targets = self.batch(order[batch], draws[batch], mix)
            weight = distributed.share_weight(self.fabric, len(images), len(order[batch]))
            yield images, targets, weight

    def batch(
        self, positions: np.ndarray, draws: Draws, mix: Mix
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's images and target shares of the batch at positions (n,).

        If images are mixed with each other, each process mixes the whole batch and then takes its
        share, so that the partners do not depend on the number of processes.
        """
        own = distributed.own_share(self.fabric)
        if isinstance(mix, NoMix):
            positions, draws, own = positions[own], draws[own], slice(None)
        images = self.augment(self.scale.unit(self.images.take(positions)), draws)
        labels = torch.from_numpy(self.task.train.labels[positions]).to(self.fabric.device)
        images, targets = mix(self.scale.normalise(images), labels)
        return images[own], targets[own]

    def first_images(self) -> np.ndarray:
        """The images (n, 3, S, S) in [0, 1] of the first batch, augmented and mixed."""
        images, _, _ = next(self.of_epoch(0))
        return np.asarray(self.scale.original(images).cpu().numpy())


def _slices(count: int, size: int) -> list[slice]:
    """Slices of an epoch's order; an incomplete last batch is dropped unless it is the only one."""
    full = [slice(start, start + size) for start in range(0, count - size + 1, size)]
    return full or [slice(0, count)]
