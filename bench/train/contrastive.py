"""Supervised contrastive pretraining and a head of prototypes.

The pretraining (Khosla et al. 2020, arXiv:2004.11362) shows each image of a batch in two
augmentations and pulls together what is of one class, on the training part alone; val says after
which epoch the features' class means classify best. The loss is pytorch-metric-learning's.

The head of prototypes knows a class by one direction, to begin with the mean of its training
images' features (Snell et al. 2017, arXiv:1703.05175, with cosines), so that a class of ten images
starts as well off as one of thousands; from there it learns with the body.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from pytorch_metric_learning.losses import SupConLoss
from torch import nn
from torch.nn import functional

from bench.errors import MethodError
from bench.method import FoldTask, Images
from bench.train import checkpoint
from bench.train.augment import DRAWS, SAMPLE_DRAWS, Draws, Mix
from bench.train.evaluate import EVALUATION_BATCH, Scale, predict_probs, val_metrics
from bench.train.loop import StageJournal, Training
from bench.train.models import CosineHead
from bench.train.optim import rate_scales

STAGE = "supcon"
VIEWS = 2
PROJECTED = 128
COSINE_SCALE = 10.0
PLAIN = {
    "cutmix_prob": 0, "mixup_prob": 0, "freeze_epochs": 0, "unfreeze_epochs": 0, "layer_decay": 1,
    "body_lr_scale": 1, "ema_decay": None, "early_stopping": None, "supcon_epochs": 0,
    "class_weight_power": 0, "class_weight_beta": 0,
}  # fmt: skip
"""Switches that have no meaning while there are no classes to predict, or no head."""


class Embedder(nn.Module):
    """A body without its head, and a projection that is thrown away after the pretraining."""

    def __init__(self, body: nn.Module, features: int) -> None:
        super().__init__()
        self.body = body
        self.projection = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, PROJECTED)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Projected features (N, PROJECTED) of images (N, 3, H, W)."""
        projected: torch.Tensor = self.projection(self.body(images))
        return projected


class Contrast:
    """The contrastive loss as the loop calls it."""

    def __init__(self, temperature: float) -> None:
        self.loss = SupConLoss(temperature=temperature)

    def __call__(self, features: torch.Tensor, targets: torch.Tensor, epoch: int) -> torch.Tensor:  # noqa: ARG002
        """Mean over the images' views; 0 where no image of a batch has a fellow."""
        found: torch.Tensor = self.loss(features.float(), targets.argmax(dim=1))
        return found / VIEWS  # the loop weighs a batch by its images, which are here twice


class Pretraining(Training):
    """The loop, with two views of each image and the contrast of classes for a loss."""

    def __init__(self, task: FoldTask, fabric: Fabric, model: Embedder, scale: Scale) -> None:
        super().__init__(task, fabric, model, scale)
        self.views = VIEWS
        self.loss = Contrast(task.recipe.supcon_temperature)  # type: ignore[assignment]

    def _batch(
        self, positions: np.ndarray, numbers: Draws, mix: Mix
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch, and behind it the same images augmented anew."""
        count = len(positions)
        # the step is seeded by its place, so these draws follow from it, too
        turn, sample = (torch.rand(count, width).numpy() for width in (DRAWS, SAMPLE_DRAWS))
        other = Draws(turn=turn, sample=sample, strength=numbers.strength)
        images, targets = super()._batch(positions, numbers, mix)
        again, same = super()._batch(positions, other, mix)
        return torch.cat([images, again]), torch.cat([targets, same])

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """How well the class means of the features call the val images."""
        task = self.task
        body = cast("Embedder", self.model).body
        means = class_means(body, task.train.images, task.train.labels, self.scale, task.classes)
        head = CosineHead(means.shape[1], len(task.classes), COSINE_SCALE).to(self.fabric.device)
        head.weight.data.copy_(means)
        at_once = task.recipe.evaluation_batch
        model = nn.Sequential(body, head)
        probs = predict_probs(self.fabric, model, self.val_images, self.scale, at_once=at_once)
        metrics = val_metrics(task.val.labels, probs)
        self._keep_if_best(metrics["val_macro_f1"], epoch, "best", self.model)
        return metrics


def start_from_classes(task: FoldTask, fabric: Fabric, model: nn.Module, scale: Scale) -> None:
    """What the recipe asks for before the training proper: pretraining, prototypes, or both."""
    if task.recipe.supcon_epochs:
        pretrain(task, fabric, model, scale)
    if task.recipe.head == "prototypes":
        start_prototypes(task, model, scale)


def pretrain(task: FoldTask, fabric: Fabric, model: nn.Module, scale: Scale) -> None:
    """Give a model's body the weights of the best epoch of contrastive pretraining, in place.

    Raises MethodError for several devices, or a model without a head that can be taken off.
    """
    if task.devices > 1:
        raise MethodError("supcon_epochs: one device alone; set --devices-per-job 1")
    path, head = head_of(model)
    rate_scales(model, task.recipe)  # refuses a wrong pattern now, not after the pretraining
    put(model, path, nn.Identity())
    embedder = Embedder(model, head.weight.shape[1]).to(fabric.device)
    plain = PLAIN | {"epochs": task.recipe.supcon_epochs, "lr_scales": _of_body(embedder, task)}
    stage = replace(
        task,
        recipe=task.recipe.with_overrides(plain),
        folder=task.folder / STAGE,
        journal=StageJournal(task.journal, STAGE),
        tensorboard=None,
    )
    training = Pretraining(stage, fabric, embedder, scale)
    best = training.run()
    stage.journal.fact("guards", training.guards.said)
    checkpoint.load_best(stage.folder / f"{best.kind}.safetensors", embedder)
    put(model, path, head)
    task.journal.fact(f"{STAGE}_epoch", best.epoch)
    task.journal.fact(f"{STAGE}_val_score", best.score)


def _of_body(embedder: Embedder, task: FoldTask) -> dict[str, float]:
    """The recipe's `lr_scales` as the embedder calls its parameters; what means the head is out."""
    names = [name for name, _ in embedder.named_parameters()]
    moved = {f"body.{pattern}": scale for pattern, scale in task.recipe.lr_scales.items()}
    return {
        pattern: scale
        for pattern, scale in moved.items()
        if any(fnmatchcase(name, pattern) for name in names)
    }


def start_prototypes(task: FoldTask, model: nn.Module, scale: Scale) -> None:
    """Let each class's direction begin as the mean of its training images' features."""
    path, head = head_of(model)
    put(model, path, nn.Identity())
    train = task.train
    means = class_means(model, train.images, train.labels, scale, task.classes)
    put(model, path, head)
    known = torch.from_numpy(np.unique(train.labels)).to(means.device)
    head.weight.data[known] = means[known]  # a class without images keeps its random direction


def class_means(
    body: nn.Module, images: Images, labels: np.ndarray, scale: Scale, classes: tuple[str, ...]
) -> torch.Tensor:
    """Means (C, F) of the normalised features of each class; zeros where it has no image."""
    device = scale.mean.device
    sums: torch.Tensor | None = None
    body.eval()
    with torch.inference_mode():
        for start in range(0, len(images), EVALUATION_BATCH):
            at = np.arange(start, min(start + EVALUATION_BATCH, len(images)))
            batch = scale.normalise(scale.unit(images.take(at)))
            features = functional.normalize(body(batch).float())
            if sums is None:
                sums = torch.zeros(len(classes), features.shape[1], device=device)
            sums.index_add_(0, torch.from_numpy(labels[at]).to(device), features)
    if sums is None:
        raise MethodError("a training part without images")
    counts = np.bincount(labels, minlength=len(classes)).clip(1)
    return sums.clone() / torch.from_numpy(counts).to(device)[:, None]


def head_of(model: nn.Module) -> tuple[str, nn.Linear | CosineHead]:
    """Name and module of a model's head. Raises MethodError where it is not one layer."""
    head = model.get_classifier() if hasattr(model, "get_classifier") else None  # type: ignore[operator]
    if not isinstance(head, nn.Linear | CosineHead):
        raise MethodError(
            "supcon_epochs and head=prototypes need a model whose get_classifier() is one layer"
        )
    return next(name for name, module in model.named_modules() if module is head), head


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of the one at a path."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
