"""The training loop: epochs, model selection on val, checkpoints, resuming.

A training that is interrupted at any moment and resumed ends in the same weights, bit for bit on a
CPU with the same number of threads. All state is in `last.pt`, which is written after each epoch
and every `checkpoint_seconds` within one; all randomness follows from seed, fold, epoch and batch.
"""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn

from bench.errors import MethodError
from bench.io import DeferredSignal, defer_signals
from bench.job import engine_sha256
from bench.method import FoldTask
from bench.train import checkpoint, diagnostics, sampling
from bench.train import fabric as distributed
from bench.train.batches import TrainingBatches
from bench.train.diagnostics import TrainingWarnings
from bench.train.evaluate import Scale, predict_probs, val_metrics
from bench.train.losses import Loss
from bench.train.models import Freezing, has_cosine_head
from bench.train.optim import Phase, accumulation, build_ema
from bench.train.tensorboard import open_writer


class TrainingError(MethodError):
    """A training that cannot continue, for example because its loss is not finite."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best val macro-F1 so far, its epoch (from 1) and kind of weights (raw or averaged)."""

    score: float = -math.inf
    epoch: int = 0
    kind: str = "best"


@dataclass
class EpochProgress:
    """The epoch in progress: batches trained on, sums of losses and gradient norms, seconds."""

    loss_sum: torch.Tensor
    norm_sum: torch.Tensor
    batches: int = 0
    seconds: float = 0.0


@dataclass
class Progress:
    """Progress of a training: finished epochs, the best of them, and the epoch in progress."""

    epoch: EpochProgress
    history: list[dict[str, float]] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    step: int = 0
    train_seconds: float = 0.0

    @property
    def epochs_started(self) -> int:
        """Finished epochs, and the one in progress if it has trained on a batch."""
        return len(self.history) + (self.epoch.batches > 0)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint. Gradient norms are not part of it; they are checked before."""
        return {
            "history": self.history,
            "best": asdict(self.best),
            "step": self.step,
            "train_seconds": self.train_seconds,
            "batches": self.epoch.batches,
            "loss_sum": self.epoch.loss_sum,
            "epoch_seconds": self.epoch.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state of a checkpoint."""
        self.history, self.best = state["history"], Best(**state["best"])
        self.step, self.train_seconds = state["step"], state["train_seconds"]
        self.epoch.batches, self.epoch.seconds = state["batches"], state["epoch_seconds"]
        self.epoch.loss_sum = state["loss_sum"].to(self.epoch.loss_sum.device)


class Training:
    """One model, trained on one fold.

    warnings  training warnings
    progress  finished epochs, the best epoch, and the epoch in progress
    phase     optimizer and schedule of the head-only epochs, or of those after them
    """

    batches_type = TrainingBatches

    def __init__(self, task: FoldTask, fabric: Fabric, model: nn.Module, scale: Scale) -> None:
        self.task, self.recipe, self.fabric = task, task.recipe, fabric
        self.model, self.scale = model, scale
        self.ema = build_ema(model, task.recipe)
        self.loss = Loss.of(task.recipe, task.train.labels, task.classes, fabric.device)
        self.batches = self.batches_type(task, fabric, scale)
        self.val_images = sampling.on_device(task.val.images, fabric.device)
        self.freezing = Freezing(model, task.recipe, pretrained=task.weights is not None)
        self.warnings = TrainingWarnings(task.journal)
        self.usage = distributed.Usage(fabric.device, task.threads)
        self.tensorboard = open_writer(task.tensorboard, task.classes)
        self.signals = DeferredSignal()
        self.progress = Progress(self._new_epoch())
        self.kept_at = time.perf_counter()
        self._start_phase(0)

    def run(self) -> Best:
        """Train to the last epoch, or until val macro-F1 has not improved for `early_stopping`."""
        with self._deferred_signals() as self.signals, closing(self.tensorboard):
            self._resume()
            self._warn_before_training()
            if self.tensorboard.begin(len(self.progress.history)):
                self.tensorboard.introduce(self.recipe, self.batches.first_images())
            for epoch in range(len(self.progress.history), self.recipe.epochs):
                if self._out_of_patience():
                    break
                if epoch == self.freezing.frozen_epochs > 0 and self.progress.epoch.batches == 0:
                    self._start_phase(epoch)
                with self.usage.measured():
                    loss = self._train_epoch_in_memory(epoch)
                row = self._validate(epoch, loss)
                self._finish_epoch(row)
        return self.progress.best

    def _deferred_signals(self) -> AbstractContextManager[DeferredSignal]:
        """Defer SIGINT and SIGTERM to the next checkpoint; not for several processes.

        Processes that train in step must not stop at different steps.
        """
        return nullcontext(self.signals) if self.fabric.world_size > 1 else defer_signals()

    def _warn_before_training(self) -> None:
        """Record the training warnings that need no training."""
        task, warn = self.task, self.warnings.add
        balance = diagnostics.double_balance(task.train.labels, task.classes, self.recipe)
        warn("double balance", balance)
        if self.ema.module is not None:
            steps = self.recipe.epochs * self._steps_per_epoch()
            average = diagnostics.lagging_average(self.ema.get_decay, steps, "at the end")
            warn("lagging average", average)
        warn("other looks", diagnostics.different_parts(task.val.images, task.test.images))

    def _steps_per_epoch(self) -> int:
        return math.ceil(len(self.batches) / self.recipe.accumulate)

    def _new_epoch(self) -> EpochProgress:
        device = self.fabric.device
        return EpochProgress(torch.zeros((), device=device), torch.zeros((), device=device))

    def _start_phase(self, epoch: int) -> None:
        """Build the optimizer of the head-only epochs, or of the fine-tuning after them."""
        head_only = epoch < self.freezing.frozen_epochs
        self.freezing.start_phase(head_only=head_only)
        optimized = self.fabric, self.model, self.recipe
        self.phase = Phase(*optimized, epoch, self._steps_per_epoch(), head_only=head_only)

    def _train_epoch_in_memory(self, epoch: int) -> float:
        """Train an epoch. Raises TrainingError with a batch size that fits if memory runs out."""
        try:
            return self._train_epoch(epoch)
        except (RuntimeError, MemoryError) as error:
            if not distributed.ran_out(error):
                raise
        # outside the handler, whose traceback keeps the tensors that filled the memory
        self.phase.optimizer.zero_grad(set_to_none=True)
        size = self.recipe.batch_size
        fits = distributed.largest_batch(self._try_batch, size)
        raise TrainingError(distributed.advice(size, fits, self.recipe.accumulate))

    def _try_batch(self, size: int) -> None:
        """A forward and a backward pass on this process's share of a blank batch."""
        side = self.recipe.image_size
        count = len(range(size)[distributed.own_share(self.fabric)]) * self.batches.views
        images = torch.zeros(count, 3, side, side, device=self.fabric.device)
        with self.fabric.autocast():
            logits = self.model(images.contiguous(memory_format=self.scale.layout))
        logits.float().logsumexp(dim=1).sum().backward()
        self.model.zero_grad(set_to_none=True)

    def _train_epoch(self, epoch: int) -> float:
        """Train on all batches of an epoch, or on those that are left; the mean loss of all."""
        current, count = self.progress.epoch, len(self.batches)
        self.freezing.enter(epoch)
        # wrapped for each epoch; ddp tracks the parameters that learn when it wraps
        self.wrapped = self.fabric.setup_module(self.model, move_to_device=False)
        started = time.perf_counter() - current.seconds
        rest = self.batches.of_epoch(epoch, start=current.batches)
        for number, (images, targets, weight) in enumerate(rest, current.batches):
            logits = self.wrapped(images.contiguous(memory_format=self.scale.layout))
            loss = self.loss(logits, targets, epoch) * weight
            if self.progress.step == number == 0:
                self._check_first_loss(logits.detach(), targets)
            current.loss_sum += distributed.mean_over_processes(self.fabric, loss.detach())
            share, complete = accumulation(number, count, self.recipe.accumulate)
            self.fabric.backward(loss / share)
            if not complete:
                continue
            self._take_step()
            current.batches = number + 1
            current.seconds = time.perf_counter() - started
            if self.signals or time.perf_counter() - self.kept_at > self.task.checkpoint_seconds:
                self._refuse_not_finite(epoch)
                self._keep()
        mean = current.loss_sum.item() / count
        current.seconds = time.perf_counter() - started
        self._refuse_not_finite(epoch)
        return mean

    def _check_first_loss(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Warn if the first loss is far above the loss of equal logits for the same images."""
        if has_cosine_head(self.recipe):
            return  # its logits are large by design: a scale times cosines
        losses = (
            self.loss(each, targets, epoch=0).item() for each in (logits, torch.zeros_like(logits))
        )
        self.warnings.add("large first loss", diagnostics.large_first_loss(*losses))

    def _take_step(self) -> None:
        """One optimizer step on the accumulated gradients, and one of the averaged weights."""
        progress, optimizer = self.progress, self.phase.optimizer
        self.phase.set_rates(progress.step)
        if self.recipe.grad_clip is not None:
            # checked for infinity once per epoch, so that a GPU need not wait at each step
            norm = self.fabric.clip_gradients(
                self.wrapped, optimizer, max_norm=self.recipe.grad_clip, error_if_nonfinite=False
            )
            norm = cast("torch.Tensor", norm)
            if distributed.gradient_scaler(self.fabric) is not None:
                norm = norm.nan_to_num(posinf=0)  # the scaler skips this step and scales less
            progress.epoch.norm_sum += norm
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        self.ema.update(self.model, progress.step)

    def _refuse_not_finite(self, epoch: int) -> None:
        """Raise TrainingError instead of keeping a state with a value that is not finite."""
        current, scaler = self.progress.epoch, distributed.gradient_scaler(self.fabric)
        loss, norm = current.loss_sum.item() / current.batches, current.norm_sum.item()
        if not math.isfinite(loss):
            fault = f"the loss is {loss}"
        elif not math.isfinite(norm):
            fault = f"the gradient's norm is {norm}"
        elif not all(bool(each.isfinite().all()) for each in self.model.state_dict().values()):
            fault = "the weights are not finite"
        elif scaler is not None and scaler.get_scale() < 1:
            fault = "the gradients overflow in fp16 with every scale"
        else:
            return
        cure = "lower lr" if self.recipe.grad_clip is not None else "lower lr, or set grad_clip"
        cure += ", or set amp=false" if scaler is not None else ""
        raise TrainingError(
            f"{fault} in epoch {epoch + 1}, step {current.batches}; the last good state is kept; "
            f"{cure}"
        )

    def _validate(self, epoch: int, loss: float) -> dict[str, float]:
        """Evaluate on val and adapt the schedule; the row of the history."""
        started, progress = time.perf_counter(), self.progress
        row = {"epoch": epoch + 1, "lr": self.phase.lr(progress.step - 1), "train_loss": loss}
        row |= self._evaluate(epoch)
        self.phase.schedule.epoch_ended(row["val_macro_f1"])
        row["seconds"] = round(progress.epoch.seconds + time.perf_counter() - started, 3)
        return row

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """Val metrics of raw and averaged weights; the best weights so far are saved."""
        row: dict[str, float] = {}
        val = self.task.val
        distributed.agree_on_buffers(self.fabric, self.model, self.ema.module)
        for kind, prefix, model in (
            ("best", "", self.model),
            ("best_ema", "ema_", self.ema.module),
        ):
            if model is None:
                continue
            probs = predict_probs(
                self.fabric,
                model,
                self.val_images,
                self.scale,
                at_once=self.recipe.evaluation_batch,
            )
            metrics = val_metrics(val.labels, probs)
            self.tensorboard.validation(prefix, val.labels, probs, epoch + 1)
            row |= {f"{prefix}{name}": value for name, value in metrics.items()}
            self._keep_if_best(metrics["val_macro_f1"], epoch, kind, model)
        return row

    def _keep_if_best(self, score: float, epoch: int, kind: str, model: nn.Module) -> None:
        """Save weights that are better on val than all earlier ones of their kind."""
        progress = self.progress
        so_far = max((row[score_name(kind)] for row in progress.history), default=-math.inf)
        if score > so_far and self.fabric.is_global_zero:
            path = self.task.folder / f"{kind}.safetensors"
            checkpoint.save_best(path, model, self._metadata(epoch, score))
        if score > progress.best.score:
            progress.best = Best(score, epoch + 1, kind)

    def _metadata(self, epoch: int, score: float) -> dict[str, Any]:
        """Checkpoint metadata, with which the weights can be used without any other file."""
        return {
            "classes": list(self.task.classes),
            "recipe": self.recipe.model_dump(),
            "chain": list(self.task.chain),
            "mean": self.scale.mean.flatten().tolist(),
            "std": self.scale.std.flatten().tolist(),
            "epoch": epoch + 1,
            "val_macro_f1": score,
        }

    def _finish_epoch(self, row: dict[str, float]) -> None:
        """Add an epoch to the history and keep the state after it."""
        self.progress.train_seconds += self.progress.epoch.seconds
        self.progress.history.append(row)
        self.tensorboard.epoch(row, self.phase.rates())
        self.progress.epoch = self._new_epoch()
        self._keep()
        self.task.journal.epoch(row)

    def _out_of_patience(self) -> bool:
        patience, progress = self.recipe.early_stopping, self.progress
        return patience is not None and len(progress.history) - progress.best.epoch >= patience

    def _keep(self) -> None:
        """Write the state with which another process can continue; then deliver a signal."""
        if self.fabric.is_global_zero:
            checkpoint.save_last(self.task.folder, self._state())
        self.kept_at = time.perf_counter()
        self.signals.deliver()

    def _state(self) -> dict[str, Any]:
        return self.progress.state_dict() | {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.phase.optimizer.state_dict(),
            "schedule": self.phase.schedule.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "environment": environment(self.fabric),
            "warnings": self.warnings.texts,
        }

    def _resume(self) -> None:
        """Continue from the state of an interrupted training, if there is one."""
        kept = checkpoint.load_last(self.task.folder)
        if kept is None:
            return
        self.progress.load_state_dict(kept.state)
        if self.progress.epochs_started > self.freezing.frozen_epochs:
            self._start_phase(self.freezing.frozen_epochs)
        self.model.load_state_dict(kept.state["model"])
        self.ema.load_state_dict(kept.state["ema"])
        self.phase.optimizer.load_state_dict(kept.state["optimizer"])
        self.phase.schedule.load_state_dict(kept.state["schedule"])
        self.fabric.strategy.precision.load_state_dict(kept.state["precision"])
        for name, text in kept.state["warnings"].items():
            self.warnings.add(name, text)
        changes = diagnostics.changes(kept.state["environment"], environment(self.fabric))
        self.warnings.add("environment", changes)
        self.warnings.add("damaged checkpoint", diagnostics.damaged(kept.refused))
        for row in self.progress.history:
            self.task.journal.epoch(row)


def environment(fabric: Fabric) -> dict[str, Any]:
    """Properties that must stay the same for a resumed training to end in the same bits."""
    return {
        "torch": str(torch.__version__),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "device": distributed.device_name(fabric.device),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
        "precision": distributed.precision_name(fabric),
        "code of the bench": engine_sha256()[:8],
    }


def score_name(kind: str) -> str:
    """Column of the history with the val macro-F1 of raw or averaged weights."""
    return "val_macro_f1" if kind == "best" else "ema_val_macro_f1"
