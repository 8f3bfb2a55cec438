"""Features of a frozen model, computed once and cached for all folds, seeds and methods.

The cache key hashes the model's weights and the images. No label is used, so the features of an
image are the same in every fold.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from bench.data.cache import cache_folder
from bench.errors import MethodError
from bench.io import write_atomically
from bench.method import FoldTask, Part
from bench.train import sampling
from bench.train.evaluate import EVALUATION_BATCH, Scale
from bench.train.fabric import resolve_device
from bench.train.fit import record_origin
from bench.train.models import build_model

BLOCK_BYTES = 1 << 24


def frozen_features(task: FoldTask) -> Callable[[Part], np.ndarray]:
    """Features before the head of the recipe's model: a function of a part, to (N, F) float32.

    The weights are the task's, or random ones that depend on the seed only; they are not trained.
    Raises MethodError for a model that is not from timm.
    """
    torch.set_num_threads(task.threads)
    torch.manual_seed(sampling.derived_seed(task.seed, 0, sampling.WEIGHTS))
    model = build_model(task.recipe, len(task.classes), task.weights).eval()
    if not hasattr(model, "forward_head"):
        raise MethodError(f"model={task.recipe.model}: frozen features need a timm model")
    record_origin(task)
    pixels = task.train.images.pixels
    path = cache_folder() / "features" / f"{_key(model, pixels)}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            device = torch.device(resolve_device(task.device))
            buffer = io.BytesIO()
            np.save(buffer, _computed(model.to(device), pixels, device))
            write_atomically(path, buffer.getvalue())
    features: np.ndarray = np.load(path, mmap_mode="r")
    return lambda part: np.asarray(features[part.images.rows])


def _key(model: nn.Module, pixels: np.ndarray) -> str:
    """Cache key: hash of a model's weights and of images (M, S, S, 3)."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    rows = max(1, BLOCK_BYTES // max(1, pixels[:1].nbytes))
    for start in range(0, len(pixels), rows):
        digest.update(pixels[start : start + rows].tobytes())
    return digest.hexdigest()[:32]


@torch.inference_mode()
def _computed(model: nn.Module, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    scale = Scale.of(model, device)
    batches = []
    for start in range(0, len(pixels), EVALUATION_BATCH):
        images = scale.normalise(scale.unit(np.array(pixels[start : start + EVALUATION_BATCH])))
        features = model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]
        batches.append(features.float().cpu().numpy())
    return np.concatenate(batches)
