"""The training loop: epochs, model choice on val, checkpoints, resuming.

Interrupted at any moment, it goes on and ends in the same weights, bit for bit on a CPU with the
same number of threads: all state is in `last.pt`, which is kept after each epoch and every
`checkpoint_seconds` within one; all randomness follows from the place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from bench.errors import MethodError
from bench.io import DeferredSignal, defer_signals
from bench.method import FoldTask, Journal
from bench.predictions import Predictions
from bench.train import checkpoint, diagnostics, sampling
from bench.train import fabric as distributed
from bench.train import fabric as memory
from bench.train.augment import Augment, Draws, Mix, NoMix, mixing
from bench.train.diagnostics import TrainingWarnings
from bench.train.evaluate import Scale, predict_probs, val_metrics
from bench.train.fabric import Usage
from bench.train.losses import Loss
from bench.train.models import Freezing
from bench.train.optim import Schedule, accumulation, build_ema, build_optimizer
from bench.train.sampling import on_device
from bench.train.tensorboard import open_writer


def environment(fabric: Fabric) -> dict[str, Any]:
    """What must stay the same for a resumed training to end in the same bits."""
    return {
        "torch": str(torch.__version__),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "device": distributed.device_name(fabric.device),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
        "precision": distributed.precision_name(fabric),
    }


def tell_resumed(
    guards: TrainingWarnings,
    said: Mapping[str, str],
    before: Mapping[str, Any],
    here: Mapping[str, Any],
    refused: Sequence[str],
) -> None:
    """Say again what was said before an interruption, and what has changed since.

    before, here  the environment then and now
    refused       the checkpoints whose hash refused them
    """
    for guard, sentence in said.items():
        guards.say(guard, sentence)
    changes = [
        f"{name} {value} became {here.get(name)}"
        for name, value in before.items()
        if here.get(name) != value
    ]
    if changes:
        guards.say(
            "environment",
            f"resumed in another environment ({'; '.join(changes)}): the result need not be "
            "what an unbroken training gives",
        )
    if refused:
        guards.say(
            "damaged checkpoint",
            f"{refused[0]} was damaged: its hash refused it, and the state before was taken up",
        )


BETWEEN_EPOCHS: dict[str, Any] = {
    "turn": 0,
    "loss_sum": torch.zeros(()),
    "epoch_seconds": 0.0,
    "environment": {},
    "said": {},
}
"""What a state lacks that was kept before trainings could stop within an epoch."""


class TrainingError(MethodError):
    """A training that cannot go on, such as one whose loss is not finite."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best val macro-F1 so far: after which epoch (from 1), by which weights."""

    score: float = -math.inf
    epoch: int = 0
    kind: str = "best"


class Training:
    """One model being trained on one fold."""

    views = 1
    """How often a batch shows each of its images."""

    def __init__(self, task: FoldTask, fabric: Fabric, model: nn.Module, scale: Scale) -> None:
        self.task, self.recipe, self.fabric = task, task.recipe, fabric
        self.model, self.scale = model, scale
        self.ema = build_ema(model, task.recipe)
        self.augment = Augment.of(task.recipe)
        self.loss = Loss.of(task.recipe, task.train.labels, task.classes, fabric.device)
        self.train_images, self.val_images = (
            on_device(part.images, fabric.device) for part in (task.train, task.val)
        )
        self.draws = sampling.EpochDraws(task)
        self.batches = _batches(len(task.train), task.recipe.batch_size)
        self.freezing = Freezing(model, task.recipe, pretrained=task.weights is not None)
        self.steps_per_epoch = math.ceil(len(self.batches) / task.recipe.accumulate)
        self.guards = diagnostics.TrainingWarnings(task.journal)
        self.usage = Usage(fabric.device, task.threads)
        self.board = open_writer(task.tensorboard, task.classes)
        self.best = Best()
        self.history: list[dict[str, float]] = []
        self.step = 0
        self.signals = DeferredSignal()
        self.train_seconds = 0.0
        self._begin_epoch()

    def run(self) -> Best:
        """Train until the last epoch or until val has not improved for long enough."""
        if self.fabric.world_size > 1:
            return self._run()  # processes in step must not stop at different ones
        with defer_signals() as signals:
            self.signals = signals
            return self._run()

    def _run(self) -> Best:
        self._enter_phase(0)
        self._resume()
        self._look_ahead()
        if self.board.begin(len(self.history)):
            self.board.introduce(self.recipe, self._first_images())
        for epoch in range(len(self.history), self.recipe.epochs):
            if self._out_of_patience():
                break
            if epoch == self.freezing.frozen_epochs > 0 and self.turn == 0:
                self._enter_phase(epoch)
            self.usage.epoch_begins()
            loss = self._train_epoch_in_memory(epoch)
            self.usage.epoch_ended()
            self.train_seconds += self.epoch_seconds
            started = time.perf_counter()
            row = {"epoch": epoch + 1, "lr": self._lr(self.step - 1), "train_loss": loss}
            row |= self._evaluate(epoch)
            self.schedule.epoch_ended(row["val_macro_f1"])
            evaluated = time.perf_counter() - started
            row["seconds"] = round(self.epoch_seconds + evaluated, 3)
            self.history.append(row)
            rates = dict.fromkeys(group["lr"] for group in self.optimizer.param_groups)
            self.board.epoch(row, tuple(rates))
            self._begin_epoch()
            self._keep()
            self.task.journal.epoch(row)
        return self.best

    def _look_ahead(self) -> None:
        """Let the guards speak that need no training to know."""
        task, say = self.task, self.guards.say
        balance = diagnostics.double_balance(task.train.labels, task.classes, self.recipe)
        say("double balance", balance)
        if self.ema.module is not None:
            steps = self.recipe.epochs * self.steps_per_epoch
            say(
                "lagging average",
                diagnostics.lagging_average(self.ema.get_decay, steps, "at the end"),
            )
        say("other looks", diagnostics.other_looks(task.val.images, task.test.images))

    def _begin_epoch(self) -> None:
        """Nothing of the next epoch has been done yet: no batch, no loss, no time."""
        self.turn = 0
        self.loss_sum = torch.zeros((), device=self.fabric.device)
        self.norm_sum = torch.zeros((), device=self.fabric.device)
        self.epoch_seconds = 0.0
        self.kept_at = time.perf_counter()

    def _enter_phase(self, epoch: int) -> None:
        """Start the optimizer of the head-only epochs, or of the fine-tuning after them."""
        head_only = epoch < self.freezing.frozen_epochs
        self.freezing.start_phase(head_only=head_only)
        self.base_lr = (head_only and self.recipe.head_lr) or self.recipe.lr
        optimizer = build_optimizer(self.model, self.recipe, self.base_lr)
        self.optimizer: Any = self.fabric.setup_optimizers(optimizer)
        self.schedule = Schedule(self.recipe, epoch * self.steps_per_epoch, self.steps_per_epoch)

    def _train_epoch_in_memory(self, epoch: int) -> float:
        """Train an epoch. Raises TrainingError with a batch size that fits if memory runs out."""
        try:
            return self._train_epoch(epoch)
        except (RuntimeError, MemoryError) as error:
            if not memory.ran_out(error):
                raise
        # outside the handler, whose traceback holds on to the tensors that filled the memory
        self.optimizer.zero_grad(set_to_none=True)
        size = self.recipe.batch_size
        fits = memory.largest_batch(self._try_batch, size)
        raise TrainingError(memory.advice(size, fits, self.recipe.accumulate))

    def _try_batch(self, size: int) -> None:
        """A forward and a backward pass on this process's share of so many blank images."""
        side = self.recipe.image_size
        own = len(range(size)[distributed.own_share(self.fabric)])
        images = torch.zeros(own * self.views, 3, side, side, device=self.fabric.device)
        with self.fabric.autocast():
            logits = self.model(images.contiguous(memory_format=self.scale.layout))
        logits.float().logsumexp(dim=1).sum().backward()
        self.model.zero_grad(set_to_none=True)

    def _train_epoch(self, epoch: int) -> float:
        """Show every image of the epoch once, or those not shown yet; the mean loss of all."""
        task = self.task
        order, numbers = self.draws.of(epoch)
        mix = mixing(self.recipe, len(task.classes), epoch)
        self.freezing.enter(epoch)
        # wrapped anew: ddp listens to the parameters that learn when it wraps
        self.wrapped = self.fabric.setup_module(self.model, move_to_device=False)
        begun = time.perf_counter() - self.epoch_seconds
        for turn in range(self.turn, len(self.batches)):
            batch = self.batches[turn]
            sampling.seed_step(task.seed, task.column, epoch, turn)
            images, targets = self._batch(order[batch], numbers[batch], mix)
            weight = distributed.share_weight(self.fabric, len(images), len(order[batch]))
            loss = self.loss(self._logits(images), targets, epoch) * weight
            self.loss_sum += distributed.mean_over_processes(self.fabric, loss.detach())
            share, complete = accumulation(turn, len(self.batches), self.recipe.accumulate)
            self.fabric.backward(loss / share)
            if not complete:
                continue
            self._take_step()
            self.turn = turn + 1
            self.epoch_seconds = time.perf_counter() - begun
            if self.signals or time.perf_counter() - self.kept_at > task.checkpoint_seconds:
                self._refuse_not_finite(epoch)
                self._keep()
        mean = self.loss_sum.item() / len(self.batches)
        self.epoch_seconds = time.perf_counter() - begun
        self._refuse_not_finite(epoch)
        return mean

    def _batch(
        self, positions: np.ndarray, numbers: Draws, mix: Mix
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's images and target shares of a batch.

        Where images are mixed with each other, every process mixes the whole batch and takes its
        share then, so that the partners do not depend on the number of processes.
        """
        own = distributed.own_share(self.fabric)
        if isinstance(mix, NoMix):
            positions, numbers, own = positions[own], numbers[own], slice(None)
        images = self.augment(self.scale.unit(self.train_images.take(positions)), numbers)
        labels = torch.from_numpy(self.task.train.labels[positions]).to(self.fabric.device)
        images, targets = mix(self.scale.normalise(images), labels)
        return images[own], targets[own]

    def _first_images(self) -> np.ndarray:
        """The first images (N, 3, H, W) in [0, 1] that are shown, augmented and mixed."""
        task, batch = self.task, self.batches[0]
        order, numbers = self.draws.of(0)
        sampling.seed_step(task.seed, task.column, 0, 0)
        mix = mixing(self.recipe, len(task.classes), 0)
        images, _ = self._batch(order[batch], numbers[batch], mix)
        return np.asarray(self.scale.original(images).cpu().numpy())

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.wrapped(images.contiguous(memory_format=self.scale.layout))
        return logits

    def _take_step(self) -> None:
        """One step of the optimizer on the gradients that have gathered, and of the average."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr(self.step) * group.get("lr_scale", 1.0)
        if self.recipe.grad_clip is not None:
            limit = self.recipe.grad_clip
            # whether it is finite is asked once an epoch, so that a GPU need not wait each step
            norm = self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=limit, error_if_nonfinite=False
            )
            self.norm_sum = self.norm_sum + cast("torch.Tensor", norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.ema.update(self.model, self.step)

    def _refuse_not_finite(self, epoch: int) -> None:
        """Raise TrainingError rather than keep a state that has met what is not finite."""
        loss, norm = self.loss_sum.item() / self.turn, self.norm_sum.item()
        if not math.isfinite(loss):
            what = f"the loss is {loss}"
        elif not math.isfinite(norm):
            what = f"the gradient's norm is {norm}"
        elif not all(bool(each.isfinite().all()) for each in self.model.state_dict().values()):
            what = "the weights are not finite"
        else:
            return
        cure = "lower lr" if self.recipe.grad_clip is not None else "lower lr, or set grad_clip"
        raise TrainingError(
            f"{what} in epoch {epoch + 1}, step {self.turn}; the last good state is kept; {cure}"
        )

    def _lr(self, step: int) -> float:
        return self.base_lr * self.schedule.factor(step)

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """Val metrics of the raw and the averaged weights; the best ones so far are saved."""
        row: dict[str, float] = {}
        distributed.agree_on_buffers(self.fabric, self.model, self.ema.module)
        for kind, prefix, model in (
            ("best", "", self.model),
            ("best_ema", "ema_", self.ema.module),
        ):
            if model is None:
                continue
            val = self.task.val
            probs = predict_probs(
                self.fabric,
                model,
                self.val_images,
                self.scale,
                at_once=self.recipe.evaluation_batch,
            )
            metrics = val_metrics(val.labels, probs)
            self.board.evaluated(prefix, val.labels, probs)
            row |= {f"{prefix}{name}": value for name, value in metrics.items()}
            self._keep_if_best(metrics["val_macro_f1"], epoch, kind, model)
        return row

    def _keep_if_best(self, score: float, epoch: int, kind: str, model: nn.Module) -> None:
        so_far = max((past[score_name(kind)] for past in self.history), default=-math.inf)
        if score > so_far and self.fabric.is_global_zero:
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

    def _keep(self) -> None:
        """Write down all that another process needs to go on from here."""
        if self.fabric.is_global_zero:
            checkpoint.save_last(self.task.folder, self._state())
        self.kept_at = time.perf_counter()
        self.signals.deliver()  # whoever wants to end this training may do so now

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": asdict(self.best),
            "history": self.history,
            "step": self.step,
            "turn": self.turn,
            "loss_sum": self.loss_sum,
            "train_seconds": self.train_seconds,
            "epoch_seconds": self.epoch_seconds,
            "environment": environment(self.fabric),
            "said": self.guards.said,
        }

    def _resume(self) -> None:
        """Take up the state of an interrupted training, if there is one."""
        kept = checkpoint.load_last(self.task.folder)
        if kept is None:
            return
        state = BETWEEN_EPOCHS | kept.state
        self.history, self.turn = state["history"], state["turn"]
        begun_epochs = len(self.history) + (self.turn > 0)
        if begun_epochs > self.freezing.frozen_epochs:
            self._enter_phase(self.freezing.frozen_epochs)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best = Best(**state["best"])
        self.step, self.loss_sum = state["step"], state["loss_sum"].to(self.fabric.device)
        self.train_seconds, self.epoch_seconds = state["train_seconds"], state["epoch_seconds"]
        here = environment(self.fabric)
        tell_resumed(self.guards, state["said"], state["environment"], here, kept.refused)
        for row in self.history:
            self.task.journal.epoch(row)


def score_name(kind: str) -> str:
    """The column of the history with the val scores of the raw or the averaged weights."""
    return "val_macro_f1" if kind == "best" else "ema_val_macro_f1"


def _batches(count: int, size: int) -> list[slice]:
    """Slices of an epoch's order; a last batch that is not full is left out, unless it is all."""
    full = [slice(start, start + size) for start in range(0, count - size + 1, size)]
    return full or [slice(0, count)]


KEPT = ("val_score", "temperature")
GUARDS = "guards"


class StageJournal:
    """Passes on what must be known of a stage, under its name."""

    def __init__(self, journal: Journal, stage: str) -> None:
        self.journal, self.stage = journal, stage

    def epoch(self, row: Mapping[str, float]) -> None:
        """Keep nothing: the history is the last stage's."""

    def fact(self, name: str, value: Any) -> None:
        """Keep how good it is on val, its temperature, and what its guards said."""
        if name in KEPT:
            self.journal.fact(f"{self.stage}_{name}", value)
        if name == GUARDS and value:
            said = {f"{self.stage}: {guard}": self._told(text) for guard, text in value.items()}
            self.journal.fact(f"{self.stage}_{GUARDS}", said)

    def note(self, sentence: str) -> None:
        """Pass it on, as the stage's."""
        self.journal.note(self._told(sentence))

    def _told(self, sentence: str) -> str:
        return f"{self.stage}: {sentence}"

    def val_predictions(self, predictions: Predictions) -> None:
        """Not wanted: the last stage's are."""
