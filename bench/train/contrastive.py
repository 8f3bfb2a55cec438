"""Supervised contrastive pretraining and the prototype head.

The pretraining (Khosla et al. 2020, arXiv:2004.11362) uses two augmentations of each image and
pulls images of one class together, on the training part alone. The epoch is selected on val, by
the macro-F1 of a classifier by class means. The loss is pytorch-metric-learning's.

The prototype head has one direction per class, initially the mean of the features of its training
images (Snell et al. 2017, arXiv:1703.05175, with cosines), so that a class of ten images starts as
well as one of thousands. It is then trained with the body.
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
from bench.train.batches import TrainingBatches
from bench.train.diagnostics import FACT, StageJournal
from bench.train.evaluate import EVALUATION_BATCH, Scale, predict_probs, val_metrics
from bench.train.loop import Training
from bench.train.models import CosineHead
from bench.train.optim import rate_scales

STAGE = "supcon"
VIEWS = 2
PROJECTION = 128
COSINE_SCALE = 10.0
CHANGED = {
    "cutmix_prob": 0, "mixup_prob": 0, "freeze_epochs": 0, "unfreeze_epochs": 0, "layer_decay": 1,
    "body_lr_scale": 1, "ema_decay": None, "early_stopping": None, "supcon_epochs": 0,
    "class_weight_power": 0, "class_weight_beta": 0,
}  # fmt: skip
"""Options of the pretraining that differ from the recipe's; it has no head and no class output."""


class Embedder(nn.Module):
    """A body without its head, and a projection that only the pretraining uses."""

    def __init__(self, body: nn.Module, features: int) -> None:
        super().__init__()
        self.body = body
        self.projection = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, PROJECTION)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Projected features (N, PROJECTION) of images (N, 3, H, W)."""
        projected: torch.Tensor = self.projection(self.body(images))
        return projected


class ContrastiveLoss:
    """Supervised contrastive loss with the interface of `Loss`."""

    def __init__(self, temperature: float) -> None:
        self.loss = SupConLoss(temperature=temperature)

    def __call__(self, features: torch.Tensor, targets: torch.Tensor, epoch: int) -> torch.Tensor:  # noqa: ARG002
        """Mean over the views of all images; 0 if no class occurs twice in the batch."""
        loss: torch.Tensor = self.loss(features.float(), targets.argmax(dim=1))
        return loss / VIEWS  # the loop weights a batch by its images, here twice as many


class TwoViewBatches(TrainingBatches):
    """Batches followed by the same images with another augmentation."""

    views = VIEWS

    def batch(
        self, positions: np.ndarray, draws: Draws, mix: Mix
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both views of the images at positions (n,): images (2n, 3, S, S), targets (2n, C)."""
        count = len(positions)
        # torch is seeded for each batch, so these random draws follow from its number
        position, sample = (torch.rand(count, width).numpy() for width in (DRAWS, SAMPLE_DRAWS))
        other = Draws(position=position, sample=sample, strength=draws.strength)
        images, targets = super().batch(positions, draws, mix)
        again, same = super().batch(positions, other, mix)
        return torch.cat([images, again]), torch.cat([targets, same])


class Pretraining(Training):
    """The training loop with two views of each image and the contrastive loss."""

    batches_type = TwoViewBatches

    def __init__(self, task: FoldTask, fabric: Fabric, model: Embedder, scale: Scale) -> None:
        super().__init__(task, fabric, model, scale)
        self.loss = ContrastiveLoss(task.recipe.supcon_temperature)  # type: ignore[assignment]

    def _check_first_loss(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Do nothing: the projections are no logits."""

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """Val metrics of a classifier by the class means of the features."""
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
    """Pretraining and prototypes, as the recipe has them."""
    if task.recipe.supcon_epochs:
        pretrain(task, fabric, model, scale)
    if task.recipe.head == "prototypes":
        start_prototypes(task, model, scale)


def pretrain(task: FoldTask, fabric: Fabric, model: nn.Module, scale: Scale) -> None:
    """Pretrain a model's body, in place, and leave it with the weights of the best epoch.

    Raises MethodError for several devices, or a model whose head is not one layer.
    """
    if task.devices > 1:
        raise MethodError("supcon_epochs: supports one device only; set --devices-per-job 1")
    path, head = head_of(model)
    rate_scales(model, task.recipe)  # raises for a wrong pattern before the pretraining
    set_module(model, path, nn.Identity())
    embedder = Embedder(model, head.weight.shape[1]).to(fabric.device)
    changed = CHANGED | {"epochs": task.recipe.supcon_epochs, "lr_scales": _of_body(embedder, task)}
    stage = replace(
        task,
        recipe=task.recipe.with_overrides(changed),
        folder=task.folder / STAGE,
        journal=StageJournal(task.journal, STAGE),
        tensorboard=None,
    )
    training = Pretraining(stage, fabric, embedder, scale)
    best = training.run()
    stage.journal.fact(FACT, training.warnings.texts)
    checkpoint.load_best(stage.folder / f"{best.kind}.safetensors", embedder)
    set_module(model, path, head)
    task.journal.fact(f"{STAGE}_epoch", best.epoch)
    task.journal.fact(f"{STAGE}_val_score", best.score)


def _of_body(embedder: Embedder, task: FoldTask) -> dict[str, float]:
    """The recipe's `lr_scales` with the embedder's names, without those of the head."""
    names = [name for name, _ in embedder.named_parameters()]
    renamed = {f"body.{pattern}": scale for pattern, scale in task.recipe.lr_scales.items()}
    return {
        pattern: scale
        for pattern, scale in renamed.items()
        if any(fnmatchcase(name, pattern) for name in names)
    }


def start_prototypes(task: FoldTask, model: nn.Module, scale: Scale) -> None:
    """Set each class's direction to the mean of its training images' features."""
    path, head = head_of(model)
    set_module(model, path, nn.Identity())
    train = task.train
    means = class_means(model, train.images, train.labels, scale, task.classes)
    set_module(model, path, head)
    known = torch.from_numpy(np.unique(train.labels)).to(means.device)
    head.weight.data[known] = means[known]  # a class without images keeps its random direction


def class_means(
    body: nn.Module, images: Images, labels: np.ndarray, scale: Scale, classes: tuple[str, ...]
) -> torch.Tensor:
    """Means (C, F) of the normalised features of each class; zeros for a class without images."""
    device = scale.mean.device
    sums: torch.Tensor | None = None
    body.eval()
    with torch.inference_mode():
        for start in range(0, len(images), EVALUATION_BATCH):
            positions = np.arange(start, min(start + EVALUATION_BATCH, len(images)))
            batch = scale.normalise(scale.unit(images.take(positions)))
            features = functional.normalize(body(batch).float())
            if sums is None:
                sums = torch.zeros(len(classes), features.shape[1], device=device)
            sums.index_add_(0, torch.from_numpy(labels[positions]).to(device), features)
    if sums is None:
        raise MethodError("the training part has no images")
    counts = np.bincount(labels, minlength=len(classes)).clip(1)
    return sums.clone() / torch.from_numpy(counts).to(device)[:, None]


def head_of(model: nn.Module) -> tuple[str, nn.Linear | CosineHead]:
    """Name and module of a model's head. Raises MethodError if it is not one layer."""
    head = model.get_classifier() if hasattr(model, "get_classifier") else None  # type: ignore[operator]
    if not isinstance(head, nn.Linear | CosineHead):
        raise MethodError(
            "supcon_epochs and head=prototypes need a model whose get_classifier() is one layer"
        )
    return next(name for name, module in model.named_modules() if module is head), head


def set_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Replace the submodule at a path."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
