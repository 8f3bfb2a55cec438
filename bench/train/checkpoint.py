"""Checkpoints: written atomically, verified by hash, never unpickled; their metadata.

    last.pt, previous.pt   state of a training, written after each epoch and at intervals within one
    best.safetensors       raw weights with the best val score
    best_ema.safetensors   averaged weights with the best val score

A `.pt` file begins with the sha256 of the rest. A hash in a second file would need a second rename;
a kill between the two would leave a valid state with the wrong hash. The metadata of a best file
contain class order, recipe and normalisation, so that it can be used without any other file.

A best file may come from anyone. Its metadata are validated before a model is built; a fault is one
line, and no code in the file is executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from bench.data.appearance import NUMBERS
from bench.data.preprocess import preprocessing, recorded
from bench.errors import ResultsError
from bench.io import write_atomically
from bench.job import ClassName
from bench.recipe import Recipe

MAX_CLASSES = 10_000
CHANNELS = 3
Positive = Annotated[float, Field(gt=0, lt=math.inf)]
Colour = Annotated[tuple[FiniteFloat, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]
Numbers = Annotated[tuple[FiniteFloat, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]


class StoredAppearance(BaseModel):
    """Appearance of a training part; see `bench.data.appearance.Appearance`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: Numbers
    precision: Annotated[tuple[Numbers, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]
    limit: FiniteFloat


class CheckpointMetadata(BaseModel):
    """Metadata of a best file; see `bench.train.predictor.Classifier`."""

    model_config = ConfigDict(frozen=True)

    classes: Annotated[tuple[ClassName, ...], Field(min_length=1, max_length=MAX_CLASSES)]
    recipe: Recipe
    chain: list[dict[str, Any]]
    mean: Colour
    std: Annotated[tuple[Positive, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]
    temperature: Positive = 1.0
    image_temperature: Positive | None = None
    looks: StoredAppearance | None = None
    trained_on: dict[str, str | int] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> CheckpointMetadata:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a name occurs twice")
        if self.chain != recorded(preprocessing(self.recipe)):
            raise ValueError("chain: differs from the preprocessing of the recipe")
        return self


def read_raw_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a best file, not validated. Raises ResultsError for any other file."""
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
        return {name: json.loads(value) for name, value in metadata.items()}
    except Exception as error:  # a damaged file can raise any exception
        raise ResultsError(f"{path}: cannot be read as a checkpoint ({error})") from error


def read_metadata(path: Path) -> CheckpointMetadata:
    """The validated metadata of a best file. Raises ResultsError for any other file."""
    raw = read_raw_metadata(path)
    required = ("classes", "recipe", "chain", "mean", "std")
    missing = [name for name in required if name not in raw]
    if missing:
        raise ResultsError(
            f"{path}: not a lesion-bench checkpoint, its metadata lack {', '.join(missing)}; give "
            "a best.safetensors or best_ema.safetensors of a run"
        )
    try:
        return CheckpointMetadata.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, first["loc"])) or "metadata"
        raise ResultsError(
            f"{path}: not a lesion-bench checkpoint: {location}: {str(first['msg']).lower()}"
        ) from None


HASH_BYTES = 32
WEIGHTS_HASH = "weights_sha256"


def save_last(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a training; the state before it stays as `previous.pt`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    last = folder / "last.pt"
    if last.exists():
        last.replace(folder / "previous.pt")
    write_atomically(last, hashlib.sha256(content).digest() + content)


@dataclass(frozen=True, slots=True)
class StoredState:
    """A stored state of a training, and the names of newer files with a wrong hash."""

    state: dict[str, Any]
    refused: tuple[str, ...]


def load_last(folder: Path) -> StoredState | None:
    """The newest intact state, or None; a damaged file is skipped."""
    refused: list[str] = []
    for name in ("last.pt", "previous.pt"):
        try:
            stored = (folder / name).read_bytes()
        except OSError:
            continue
        digest, content = stored[:HASH_BYTES], stored[HASH_BYTES:]
        if hashlib.sha256(content).digest() == digest:
            try:
                state = torch.load(io.BytesIO(content), weights_only=True)
            except Exception:  # noqa: BLE001 - then it is not a state of a training
                state = None
            if isinstance(state, dict):
                return StoredState(state, tuple(refused))
        refused.append(name)
    return None


def save_best(path: Path, model: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write a model's weights with their metadata and hash."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    complete = {**metadata, WEIGHTS_HASH: _weights_sha256(tensors)}
    encoded = {name: json.dumps(value) for name, value in complete.items()}
    write_atomically(path, save(tensors, encoded))


def _weights_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the names and bytes of weights, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def add_metadata(path: Path, model: nn.Module, more: Mapping[str, Any]) -> None:
    """Write a best file again with more metadata, such as its temperature."""
    save_best(path, model, read_raw_metadata(path) | dict(more))


def load_best(path: Path, model: nn.Module) -> None:
    """Load weights of `save_best` into a model of the same architecture.

    Raises ResultsError for a damaged file.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as stream:
            stated = json.loads((stream.metadata() or {}).get(WEIGHTS_HASH, "null"))
        if stated != _weights_sha256(tensors):
            raise ValueError("the weights do not match their hash")  # noqa: TRY301
        model.load_state_dict(tensors)
    except Exception as error:
        raise ResultsError(
            f"{path}: the checkpoint cannot be read ({error}); remove its folder and run again"
        ) from error
