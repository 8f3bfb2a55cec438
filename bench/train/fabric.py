"""Devices: one or several processes, precision, memory.

Every process draws the same epoch order and takes its own share of each batch, so that together
they show each image once, and no batch is padded. Gradients are averaged by Fabric's ddp. Evaluated
images are dealt out in turn and gathered by their position in the part.
"""

from __future__ import annotations

import gc
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import nn

from bench.errors import MethodError
from bench.method import FoldTask, Recipe

NOBODY = -1

Precision = Literal["bf16-mixed", "32-true"]


def build_fabric(task: FoldTask) -> Fabric:
    """The device or devices of a task, with the precision that its recipe asks for.

    bfloat16 mixed precision is taken on a GPU that has it. With several devices this must be one of
    the processes that torchrun started.
    """
    device = resolve_device(task.device)
    mixed = task.recipe.amp and device == "cuda" and torch.cuda.is_bf16_supported()
    if task.recipe.batch_size < task.devices:
        raise MethodError(
            f"batch_size={task.recipe.batch_size} leaves some of {task.devices} devices "
            "without an image; set a larger one"
        )
    fabric = fabric_on(device, task.devices, "bf16-mixed" if mixed else "32-true")
    if task.devices > 1:
        fabric.launch()
    return fabric


def fabric_on(device: str, devices: int = 1, precision: Precision = "32-true") -> Fabric:
    """A Fabric for one device, or for one of several processes that torchrun started.

    What starts the processes is named, never guessed: where Slurm is installed Fabric would take
    its tasks for ours.
    """
    return Fabric(
        accelerator=device,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,
        plugins=[TorchElasticEnvironment() if devices > 1 else LightningEnvironment()],
    )


def resolve_device(wanted: str) -> str:
    """Name the device that is meant: "auto" is the GPU where there is one."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise MethodError("--device cuda: this machine shows no CUDA device; use --device cpu")
    return wanted


def device_name(device: torch.device) -> str:
    """The GPU's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def precision_name(fabric: Fabric) -> str:
    """What most of the arithmetic is done in: "bf16-mixed" or "float32"."""
    with fabric.autocast():
        return "bf16-mixed" if torch.is_autocast_enabled(fabric.device.type) else "float32"


def synchronised(model: nn.Module, fabric: Fabric, recipe: Recipe) -> nn.Module:
    """The model, its batch norms of several processes sharing statistics if the recipe says so.

    Raises MethodError on CPUs, where torch cannot.
    """
    if fabric.world_size == 1 or not recipe.sync_batch_norm:
        return model
    if fabric.device.type != "cuda":
        raise MethodError("sync_batch_norm: torch synchronises batch norms on GPUs only")
    from timm.layers.norm_act import convert_sync_batchnorm

    converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def own_share(fabric: Fabric) -> slice:
    """What this process takes of a sequence: every image goes to exactly one process."""
    return slice(fabric.global_rank, None, fabric.world_size)


def share_weight(fabric: Fabric, own: int, whole: int) -> float:
    """Factor of a mean loss over `own` of `whole` images, so that averaged gradients are right.

    The average over processes counts each of them alike, also where one has an image less.
    """
    return own * fabric.world_size / whole


def gather_rows(fabric: Fabric, positions: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """All rows (count, C) from those that this process has, at their positions (n,).

    Shares differ in length by one at most; the shorter are padded for the way, and what is padded
    is dropped by its position. Raises RuntimeError if a position is missing.
    """
    if fabric.world_size == 1:
        return rows
    room = -(-count // fabric.world_size)
    padding = room - len(rows)
    sent = torch.from_numpy(np.pad(rows, ((0, padding), (0, 0)))).to(fabric.device)
    places = torch.from_numpy(np.pad(positions, (0, padding), constant_values=NOBODY))
    every_row = _from_all(fabric, sent).flatten(0, 1).cpu().numpy()
    every_place = _from_all(fabric, places.to(fabric.device)).flatten().cpu().numpy()
    real = every_place != NOBODY
    if not np.array_equal(np.sort(every_place[real]), np.arange(count)):
        raise RuntimeError("the processes did not return every image exactly once")
    gathered = np.empty((count, rows.shape[1]), dtype=rows.dtype)
    gathered[every_place[real]] = every_row[real]
    return gathered


def _from_all(fabric: Fabric, tensor: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(fabric.all_gather(tensor))


def mean_over_processes(fabric: Fabric, value: torch.Tensor) -> torch.Tensor:
    """The mean of a number that each process has."""
    return torch.as_tensor(fabric.all_reduce(value, reduce_op="mean"))


def wait_for_all(fabric: Fabric) -> None:
    """Go on when every process has come so far."""
    fabric.barrier()


def agree_on_buffers(fabric: Fabric, *modules: nn.Module | None) -> None:
    """Give every process the first one's buffers: running means and variances of batch norms.

    Each process has seen its own share of the images, so theirs differ; ddp trains with the first
    one's as well.
    """
    if fabric.world_size == 1:
        return
    for module in modules:
        for buffer in module.buffers() if module is not None else ():
            torch.distributed.broadcast(buffer, src=0)


CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def same_bits(*, wanted: bool) -> Iterator[None]:
    """Within this, the same arithmetic gives the same bits on a GPU, too.

    Torch then refuses an operation that it has no such algorithm for, by its name. Otherwise cuDNN
    takes the algorithms that it measures to be the fastest. On a CPU neither changes anything.
    """
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark
    if wanted:
        os.environ.setdefault(CUBLAS, ":4096:8")  # what cuBLAS needs for it
    torch.use_deterministic_algorithms(wanted)
    cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.benchmark = before[1]


class Usage:
    """How much of its device a training keeps busy.

    On a CPU the processor's share of its threads; on a GPU what its driver says at each epoch's
    end, of the second before.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        self.device, self.threads = device, threads
        self.cpu_seconds = self.wall_seconds = 0.0
        self.told: list[float] = []

    def epoch_begins(self) -> None:
        """Count from here."""
        self.cpu_seconds -= time.process_time()
        self.wall_seconds -= time.perf_counter()

    def epoch_ended(self) -> None:
        """Count until here."""
        self.cpu_seconds += time.process_time()
        self.wall_seconds += time.perf_counter()
        busy = gpu_busy(self.device) if self.device.type == "cuda" else None
        self.told += [] if busy is None else [busy]

    def facts(self) -> dict[str, float]:
        """What the record says of it; shares are in [0, 1]. Nothing where no epoch was trained."""
        if self.device.type != "cuda":
            available = self.wall_seconds * self.threads
            return {"utilisation": round(self.cpu_seconds / available, 3)} if available else {}
        found = {"gpu_peak_memory_bytes": float(torch.cuda.max_memory_reserved(self.device))}
        if self.told:
            found["utilisation"] = round(sum(self.told) / len(self.told), 3)
        return found


def gpu_busy(device: torch.device) -> float | None:
    """Share of the last second in which a GPU had work, as its driver says; None: nobody knows."""
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return busy_share(["nvidia-smi", f"--id={uuid}"])


def busy_share(smi: list[str]) -> float | None:
    """The share that this call of nvidia-smi tells; None where it tells none."""
    words = [*smi, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
        return float(told.stdout) / 100
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


T = TypeVar("T")

LEAST = 2
"""Images: batch norm cannot train on one."""
SIGNS = ("can't allocate memory", "out of memory", "not enough memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory was not enough."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def largest_batch(step: Callable[[int], Any], size: int, least: int = LEAST) -> int:
    """The largest of size/2, size/4, ... with which a step succeeds; 0 where the least fails."""
    while (size := size // 2) >= least:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            step(size)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        else:
            return size
    return 0


def advice(size: int, fits: int, accumulate: int = 1) -> str:
    """What to do about a batch of `size` images that does not fit, `accumulate` to a step."""
    told = f"out of memory with batch_size={size}"
    if fits == 0:
        return f"{told}, and with any smaller one; set a smaller image_size or model"
    return (
        f"{told}; {fits} fits here (a step on it was tried): --set batch_size={fits}, with "
        f"--set accumulate={accumulate * -(-size // fits)} for steps as large as before"
    )


def evaluation_advice(size: int, fits: int) -> str:
    """What to do about `size` images that cannot be predicted at once."""
    told = f"out of memory while predicting {size} images at once"
    if fits == 0:
        return f"{told}, and with any smaller number; set a smaller image_size or model"
    return f"{told}; {fits} fit here (it was tried): --set evaluation_batch={fits}"


def predicting(predict: Callable[[np.ndarray], T], positions: np.ndarray) -> T:
    """What `predict(positions)` gives. Raises MethodError with how many fit if memory runs out."""
    try:
        return predict(positions)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    # outside the handler, whose traceback holds on to the tensors that filled the memory
    count = len(positions)
    fits = largest_batch(lambda size: predict(positions[:size]), count, least=1)
    raise MethodError(evaluation_advice(count, fits))
