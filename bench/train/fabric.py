"""Devices: one or several processes, precision, memory.

All processes use the same epoch order and each takes its share of each batch, so that together they
train on each image once, without padding. Fabric's ddp averages gradients. In evaluation, images
are distributed in turn and gathered by their position in the part.
"""

from __future__ import annotations

import gc
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import nn

from bench.errors import MethodError
from bench.method import FoldTask, Recipe
from bench.recipe import Precision, gpu_precision

PADDING = -1


def build_fabric(task: FoldTask) -> Fabric:
    """The device or devices of a task, with the precision of its recipe.

    `amp` means the mixed precision that all visible GPUs compute natively (`gpu_precision`). With
    several devices this must be one of the processes that torchrun started. Raises MethodError for
    a batch size below the number of devices, and for --device cuda without a GPU.
    """
    device = resolve_device(task.device)
    precision: Precision = "32-true"
    if task.recipe.amp and device == "cuda":
        gpus = range(torch.cuda.device_count())
        precision = gpu_precision(min(map(torch.cuda.get_device_capability, gpus)))
    if task.recipe.batch_size < task.devices:
        raise MethodError(
            f"batch_size={task.recipe.batch_size} is smaller than the number of devices "
            f"({task.devices}); set a larger batch_size"
        )
    fabric = fabric_on(device, task.devices, precision)
    if task.devices > 1:
        fabric.launch()
    return fabric


def fabric_on(device: str, devices: int = 1, precision: Precision = "32-true") -> Fabric:
    """A Fabric for one device, or for one of several processes that torchrun started.

    The launcher is explicit; otherwise Fabric would take Slurm's tasks for processes of the
    training.
    """
    return Fabric(
        accelerator=device,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,
        plugins=[TorchElasticEnvironment() if devices > 1 else LightningEnvironment()],
    )


def resolve_device(wanted: str) -> str:
    """The device "cpu" or "cuda"; "auto" is the GPU if there is one."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise MethodError("--device cuda: no CUDA device on this machine; use --device cpu")
    return wanted


def device_name(device: torch.device) -> str:
    """The GPU's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def precision_name(fabric: Fabric) -> str:
    """The precision of most arithmetic: "bf16-mixed", "fp16-mixed" or "float32"."""
    kind = fabric.device.type
    with fabric.autocast():
        if not torch.is_autocast_enabled(kind):
            return "float32"
        return "bf16-mixed" if torch.get_autocast_dtype(kind) == torch.bfloat16 else "fp16-mixed"


def gradient_scaler(fabric: Fabric) -> torch.amp.GradScaler | None:
    """The scaler of the loss, which fp16 needs for small gradients; None in other precisions."""
    scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
    return scaler


def synchronised(model: nn.Module, fabric: Fabric, recipe: Recipe) -> nn.Module:
    """The model, with synchronised batch norms for several processes if the recipe asks for it.

    Raises MethodError on CPUs; torch synchronises on GPUs only.
    """
    if fabric.world_size == 1 or not recipe.sync_batch_norm:
        return model
    if fabric.device.type != "cuda":
        raise MethodError("sync_batch_norm: torch synchronises batch norms on GPUs only")
    from timm.layers.norm_act import convert_sync_batchnorm

    converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return converted


def own_share(fabric: Fabric) -> slice:
    """This process's share of a sequence; each image belongs to exactly one process."""
    return slice(fabric.global_rank, None, fabric.world_size)


def share_weight(fabric: Fabric, own: int, whole: int) -> float:
    """Weight of a mean loss over `own` of `whole` images, which makes averaged gradients exact.

    ddp weights all processes equally, also those with an image less.
    """
    return own * fabric.world_size / whole


def gather_rows(fabric: Fabric, positions: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """All rows (count, C), gathered from the rows of this process at positions (n,) and the others.

    Shares differ in length by at most one; shorter ones are padded for the transfer. Raises
    RuntimeError if a position is missing.
    """
    if fabric.world_size == 1:
        return rows
    room = -(-count // fabric.world_size)
    padding = room - len(rows)
    sent = torch.from_numpy(np.pad(rows, ((0, padding), (0, 0)))).to(fabric.device)
    places = torch.from_numpy(np.pad(positions, (0, padding), constant_values=PADDING))
    every_row = _from_all(fabric, sent).flatten(0, 1).cpu().numpy()
    every_place = _from_all(fabric, places.to(fabric.device)).flatten().cpu().numpy()
    real = every_place != PADDING
    if not np.array_equal(np.sort(every_place[real]), np.arange(count)):
        raise RuntimeError("the processes did not return every image exactly once")
    gathered = np.empty((count, rows.shape[1]), dtype=rows.dtype)
    gathered[every_place[real]] = every_row[real]
    return gathered


def _from_all(fabric: Fabric, tensor: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(fabric.all_gather(tensor))


def mean_over_processes(fabric: Fabric, value: torch.Tensor) -> torch.Tensor:
    """The mean of a number over all processes."""
    return torch.as_tensor(fabric.all_reduce(value, reduce_op="mean"))


def wait_for_all(fabric: Fabric) -> None:
    """Wait until all processes arrive here."""
    fabric.barrier()


def agree_on_buffers(fabric: Fabric, *modules: nn.Module | None) -> None:
    """Copy the first process's buffers (batch-norm statistics) to all processes, as ddp does.

    They differ because each process trains on its own share of the images.
    """
    if fabric.world_size == 1:
        return
    for module in modules:
        for buffer in module.buffers() if module is not None else ():
            torch.distributed.broadcast(buffer, src=0)


CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def same_bits(*, wanted: bool) -> Iterator[None]:
    """Use deterministic algorithms if wanted, else the fastest of cuDNN; restore the state after.

    With deterministic algorithms torch raises RuntimeError for an operation that has none. A CPU is
    deterministic in any case.
    """
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark
    if wanted:
        os.environ.setdefault(CUBLAS, ":4096:8")  # required by cuBLAS
    torch.use_deterministic_algorithms(wanted)
    cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.benchmark = before[1]


class Usage:
    """Utilisation of the device by a training.

    On a CPU: processor time by wall time and threads. On a GPU: the driver's utilisation of the
    last second, measured at the end of each epoch.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        self.device, self.threads = device, threads
        self.cpu_seconds = self.wall_seconds = 0.0
        self.gpu_shares: list[float] = []

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure an epoch that is trained in this context."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu_seconds += time.process_time() - cpu
        self.wall_seconds += time.perf_counter() - wall
        share = gpu_utilisation(self.device) if self.device.type == "cuda" else None
        self.gpu_shares += [] if share is None else [share]

    def facts(self) -> dict[str, float]:
        """Facts for the record; shares are in [0, 1]. Empty if no epoch was trained."""
        if self.device.type != "cuda":
            available = self.wall_seconds * self.threads
            return {"utilisation": round(self.cpu_seconds / available, 3)} if available else {}
        facts = {"gpu_peak_memory_bytes": float(torch.cuda.max_memory_reserved(self.device))}
        if self.gpu_shares:
            facts["utilisation"] = round(sum(self.gpu_shares) / len(self.gpu_shares), 3)
        return facts


def gpu_utilisation(device: torch.device) -> float | None:
    """Share of the last second in which a GPU worked, by its driver; None if unknown."""
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return utilisation_by(["nvidia-smi", f"--id={uuid}"])


def utilisation_by(smi: list[str]) -> float | None:
    """The GPU utilisation in [0, 1] that a call of nvidia-smi prints; None if it prints none."""
    command = [*smi, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        return float(done.stdout) / 100
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


T = TypeVar("T")

MIN_BATCH = 2
"""Batch norm cannot train on one image."""
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)
    )


def largest_batch(step: Callable[[int], Any], size: int, least: int = MIN_BATCH) -> int:
    """The largest of size/2, size/4, ... for which `step` succeeds; 0 if `least` fails."""
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
    """Message for a batch of `size` images that does not fit; `fits` is the largest that does."""
    fault = f"out of memory with batch_size={size}"
    if fits == 0:
        return f"{fault}, and with any smaller one; set a smaller image_size or model"
    return (
        f"{fault}; {fits} fits (tested): --set batch_size={fits}, with "
        f"--set accumulate={accumulate * -(-size // fits)} for the same images per step"
    )


def evaluation_advice(size: int, fits: int) -> str:
    """Message for `size` images that cannot be predicted at once; `fits` is a number that can."""
    fault = f"out of memory while predicting {size} images at once"
    if fits == 0:
        return f"{fault}, and with any smaller number; set a smaller image_size or model"
    return f"{fault}; {fits} fit (tested): --set evaluation_batch={fits}"


def in_memory(predict: Callable[[np.ndarray], T], positions: np.ndarray) -> T:
    """`predict(positions)`. Raises MethodError with the number that fits if memory runs out."""
    try:
        return predict(positions)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    # outside the handler, whose traceback keeps the tensors that filled the memory
    count = len(positions)
    fits = largest_batch(lambda size: predict(positions[:size]), count, least=1)
    raise MethodError(evaluation_advice(count, fits))
