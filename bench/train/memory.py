"""Out of memory: told with the batch size that would fit, never mended in silence."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

LEAST = 2
"""Images: batch norm cannot train on one."""
SIGNS = ("can't allocate memory", "out of memory", "not enough memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory was not enough."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def largest_batch(step: Callable[[int], None], size: int) -> int:
    """The largest of size/2, size/4, ... with which a step succeeds; 0 where none of 2 does."""
    while (size := size // 2) >= LEAST:
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


def advice(size: int, fits: int) -> str:
    """What to do about a batch of `size` images that does not fit."""
    told = f"out of memory with batch_size={size}"
    if fits == 0:
        return f"{told}, and with any smaller one; set a smaller image_size or model"
    return (
        f"{told}; {fits} fits here (a step on it was tried): --set batch_size={fits}, with "
        f"--set accumulate={-(-size // fits)} for steps as large as before"
    )
