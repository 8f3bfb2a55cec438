"""Out of memory: told with the batch size that would fit, never mended in silence."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from bench.errors import MethodError

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
