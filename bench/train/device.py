"""What of the device a training sets, and how much of it was used."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
