"""Checkpoints: written atomically, verified by hash, never unpickled; their metadata.

The file may come from anyone. Whatever its header holds, it is read or refused in one line before a
model is built, and nothing of it is ever run.

last.pt, previous.pt          all that an interrupted training needs, kept after each epoch and,
                                  in a long one, every so many seconds
    best.safetensors              the raw weights with the best val score
    best_ema.safetensors          the averaged weights with the best val score

A `.pt` begins with the sha256 of the rest: a hash in a file beside it would be a second rename, and
a kill between the two would leave a sound state that its hash refuses. A best file's header holds
class order, recipe and normalisation, so that it can be used without anything else.
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

MOST_CLASSES = 10_000
CHANNELS = 3
Positive = Annotated[float, Field(gt=0, lt=math.inf)]
Colour = Annotated[tuple[FiniteFloat, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]
Numbers = Annotated[tuple[FiniteFloat, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]


class StoredAppearance(BaseModel):
    """A training part's looks; see `bench.data.appearance.Appearance`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: Numbers
    precision: Annotated[tuple[Numbers, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]
    limit: FiniteFloat


class CheckpointMetadata(BaseModel):
    """What a best file says of itself; see `bench.train.predictor.Classifier`."""

    model_config = ConfigDict(frozen=True)

    classes: Annotated[tuple[ClassName, ...], Field(min_length=1, max_length=MOST_CLASSES)]
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
            raise ValueError("classes: one stands there twice")
        if self.chain != recorded(preprocessing(self.recipe)):
            raise ValueError("chain: is not the preprocessing of its recipe")
        return self


def told_by(path: Path) -> dict[str, Any]:
    """What a best file says, unproven. Raises ResultsError where it is no file of weights."""
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
        return {name: json.loads(value) for name, value in metadata.items()}
    except Exception as error:  # whatever a damaged file makes its readers raise
        raise ResultsError(f"{path}: cannot be read as a checkpoint ({error})") from error


def read_header(path: Path) -> CheckpointMetadata:
    """What a best file says of itself. Raises ResultsError where it is none of the bench's."""
    told = told_by(path)
    missing = [name for name in ("classes", "recipe", "mean", "std") if name not in told]
    if missing:
        raise ResultsError(
            f"{path}: its header lacks {', '.join(missing)}; give a best.safetensors or "
            "best_ema.safetensors of this bench"
        )
    if "chain" not in told:
        raise ResultsError(f"{path}: does not tell its preprocessing; train it again")
    try:
        return CheckpointMetadata.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ResultsError(
            f"{path}: its header is none of this bench's: {place}: {str(first['msg']).lower()}"
        ) from None


HASH_BYTES = 32
PROOF = "weights_sha256"


def save_last(folder: Path, state: dict[str, Any]) -> None:
    """Keep the state of a training; the one before stays as `previous.pt`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    last = folder / "last.pt"
    if last.exists():
        last.replace(folder / "previous.pt")
    write_atomically(last, hashlib.sha256(content).digest() + content)


@dataclass(frozen=True, slots=True)
class Kept:
    """A state that was kept, and the names of newer files that their hash refused."""

    state: dict[str, Any]
    refused: tuple[str, ...]


def load_last(folder: Path) -> Kept | None:
    """The newest state that is whole, or None; a damaged one is passed over for the one before."""
    refused: list[str] = []
    for name in ("last.pt", "previous.pt"):
        try:
            stored = (folder / name).read_bytes()
        except OSError:
            continue
        proof, content = stored[:HASH_BYTES], stored[HASH_BYTES:]
        if hashlib.sha256(content).digest() == proof:
            try:
                state = torch.load(io.BytesIO(content), weights_only=True)
            except Exception:  # noqa: BLE001 - whatever stands there, it is no state of ours
                state = None
            if isinstance(state, dict):
                return Kept(state, tuple(refused))
        refused.append(name)
    return None


def save_best(path: Path, model: nn.Module, header: dict[str, Any]) -> None:
    """Write a model's weights with what is needed to use them, and their hash."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    proven = header | {PROOF: _weights_sha256(tensors)}
    metadata = {name: json.dumps(value) for name, value in proven.items()}
    write_atomically(path, save(tensors, metadata))


def _weights_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the names and bytes of weights, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def complete_header(path: Path, model: nn.Module, more: dict[str, Any]) -> None:
    """Write a best file again with what became known after it: its temperature."""
    save_best(path, model, told_by(path) | more)


def load_best(path: Path, model: nn.Module) -> None:
    """Load weights that `save_best` wrote into a model of the same make.

    Raises ResultsError where they are not what was written.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as stream:
            stated = json.loads((stream.metadata() or {}).get(PROOF, "null"))
        # files of earlier versions state no hash
        if stated is not None and stated != _weights_sha256(tensors):
            raise ValueError("its weights are not what its hash was made of")  # noqa: TRY301
        model.load_state_dict(tensors)
    except Exception as error:
        raise ResultsError(
            f"{path}: the checkpoint cannot be read ({error}); remove its folder and run again"
        ) from error
