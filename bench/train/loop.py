"""The training loop: epochs, the choice on val, checkpoints, resuming.

Interrupted after any epoch, it goes on and ends in the same weights, bit for bit on a CPU with
the same number of threads: all state is in `last.pt`, all randomness follows from the place.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from bench.data.augment import Augment
from bench.method import FoldTask
from bench.train import checkpoint, draws
from bench.train.ema import build_ema
from bench.train.evaluate import Scale, predict_probs, val_metrics
from bench.train.freezing import Freezing
from bench.train.losses import Loss
from bench.train.mixing import mixing
from bench.train.optim import Schedule, accumulation, build_optimizer


class TrainingError(RuntimeError):
    """A training that cannot go on, such as one whose loss is not finite."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best val macro-F1 so far: after which epoch (from 1), by which weights."""

    score: float = -math.inf
    epoch: int = 0
    kind: str = "best"


class Training:
    """One model being trained on one fold."""

    def __init__(self, task: FoldTask, fabric: Fabric, model: nn.Module, scale: Scale) -> None:
        self.task, self.recipe, self.fabric = task, task.recipe, fabric
        self.model, self.scale = model, scale
        self.wrapped = fabric.setup_module(model, move_to_device=False)
        self.ema = build_ema(model, task.recipe)
        self.augment = Augment.of(task.recipe)
        self.loss = Loss.of(task.recipe, task.train.labels, task.classes, fabric.device)
        self.draws = draws.EpochDraws(task)
        self.batches = _batches(len(task.train), task.recipe.batch_size)
        self.freezing = Freezing(model, task.recipe, pretrained=task.weights is not None)
        self.steps_per_epoch = math.ceil(len(self.batches) / task.recipe.accumulate)
        self.best = Best()
        self.history: list[dict[str, float]] = []
        self.step = 0
        self.train_seconds = 0.0

    def run(self) -> Best:
        """Train until the last epoch or until val has not improved for long enough."""
        self._enter_phase(0)
        self._resume()
        for epoch in range(len(self.history), self.recipe.epochs):
            if self._out_of_patience():
                break
            started = time.perf_counter()
            if epoch == self.freezing.frozen_epochs > 0:
                self._enter_phase(epoch)
            loss = self._train_epoch(epoch)
            self.train_seconds += time.perf_counter() - started
            row = {"epoch": epoch + 1, "lr": self._lr(self.step - 1), "train_loss": loss}
            row |= self._evaluate(epoch)
            self.schedule.epoch_ended(row["val_macro_f1"])
            row["seconds"] = round(time.perf_counter() - started, 3)
            self.history.append(row)
            checkpoint.save_last(self.task.folder, self._state())
            self.task.journal.epoch(row)
        return self.best

    def _enter_phase(self, epoch: int) -> None:
        """Start the optimizer of the head-only epochs, or of the fine-tuning after them."""
        head_only = epoch < self.freezing.frozen_epochs
        self.freezing.start_phase(head_only=head_only)
        self.base_lr = (head_only and self.recipe.head_lr) or self.recipe.lr
        optimizer = build_optimizer(self.model, self.recipe, self.base_lr)
        self.optimizer: Any = self.fabric.setup_optimizers(optimizer)
        self.schedule = Schedule(self.recipe, epoch * self.steps_per_epoch, self.steps_per_epoch)

    def _train_epoch(self, epoch: int) -> float:
        """Show every image of the epoch once; the mean loss over its batches."""
        task, recipe = self.task, self.recipe
        order, numbers = self.draws.of(epoch)
        mix = mixing(recipe, len(task.classes), epoch)
        self.freezing.enter(epoch)
        total = torch.zeros((), device=self.fabric.device)
        for turn, batch in enumerate(self.batches):
            draws.seed_step(task.seed, task.column, epoch, turn)
            positions = order[batch]
            images = self.augment(
                self.scale.unit(task.train.images.take(positions)), numbers[batch]
            )
            labels = torch.from_numpy(task.train.labels[positions]).to(self.fabric.device)
            images, targets = mix(self.scale.normalise(images), labels)
            for group in self.optimizer.param_groups:
                group["lr"] = self._lr(self.step) * group.get("lr_scale", 1.0)
            logits = self.wrapped(images.contiguous(memory_format=torch.channels_last))
            loss = self.loss(logits, targets, epoch)
            total += loss.detach()
            share, complete = accumulation(turn, len(self.batches), recipe.accumulate)
            self.fabric.backward(loss / share)
            if not complete:
                continue
            if recipe.grad_clip is not None:
                self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=recipe.grad_clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self.ema.update(self.model, self.step)
        mean = total.item() / len(self.batches)
        if not math.isfinite(mean):
            raise TrainingError(
                f"the training loss of epoch {epoch + 1} is {mean}; the state after epoch {epoch} "
                "is kept; lower lr, or set grad_clip"
            )
        return mean

    def _lr(self, step: int) -> float:
        return self.base_lr * self.schedule.factor(step)

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """Val metrics of the raw and the averaged weights; the best ones so far are saved."""
        row: dict[str, float] = {}
        for kind, prefix, model in (
            ("best", "", self.model),
            ("best_ema", "ema_", self.ema.module),
        ):
            if model is None:
                continue
            val = self.task.val
            probs = predict_probs(self.fabric, model, val.images, self.scale)
            metrics = val_metrics(val.labels, probs)
            row |= {f"{prefix}{name}": value for name, value in metrics.items()}
            self._keep_if_best(metrics["val_macro_f1"], epoch, kind, model)
        return row

    def _keep_if_best(self, score: float, epoch: int, kind: str, model: nn.Module) -> None:
        so_far = max((past[_score_name(kind)] for past in self.history), default=-math.inf)
        if score > so_far:
            path = self.task.folder / f"{kind}.safetensors"
            checkpoint.save_best(path, model, self._header(epoch, score))
        if score > self.best.score:
            self.best = Best(score, epoch + 1, kind)

    def _header(self, epoch: int, score: float) -> dict[str, Any]:
        """What makes a checkpoint usable by itself."""
        return {
            "classes": list(self.task.classes),
            "recipe": self.recipe.model_dump(),
            "chain": list(self.task.chain),
            "mean": self.scale.mean.flatten().tolist(),
            "std": self.scale.std.flatten().tolist(),
            "epoch": epoch + 1,
            "val_macro_f1": score,
        }

    def _out_of_patience(self) -> bool:
        patience = self.recipe.early_stopping
        return patience is not None and len(self.history) - self.best.epoch >= patience

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": asdict(self.best),
            "history": self.history,
            "step": self.step,
            "train_seconds": self.train_seconds,
        }

    def _resume(self) -> None:
        """Take up the state of an interrupted training, if there is one."""
        state = checkpoint.load_last(self.task.folder)
        if state is None:
            return
        self.history = state["history"]
        last_epoch = len(self.history) - 1
        if last_epoch >= self.freezing.frozen_epochs:
            self._enter_phase(self.freezing.frozen_epochs)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best = Best(**state["best"])
        self.step, self.train_seconds = state["step"], state["train_seconds"]
        for row in self.history:
            self.task.journal.epoch(row)


def _score_name(kind: str) -> str:
    return "val_macro_f1" if kind == "best" else "ema_val_macro_f1"


def _batches(count: int, size: int) -> list[slice]:
    """Slices of an epoch's order; a last batch that is not full is left out, unless it is all."""
    full = [slice(start, start + size) for start in range(0, count - size + 1, size)]
    return full or [slice(0, count)]
