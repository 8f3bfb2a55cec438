"""What a best checkpoint says of itself, believed only where it is what the bench writes.

The file may come from anyone. Whatever its header holds, it is read or refused in one line before a
model is built, and nothing of it is ever run.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from safetensors import safe_open

from bench.data.looks import NUMBERS
from bench.data.preprocess import preprocessing, recorded
from bench.errors import ResultsError
from bench.job import ClassName
from bench.recipe import Recipe

MOST_CLASSES = 10_000
CHANNELS = 3
Positive = Annotated[float, Field(gt=0, lt=math.inf)]
Colour = Annotated[tuple[FiniteFloat, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]
Numbers = Annotated[tuple[FiniteFloat, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]


class LooksTold(BaseModel):
    """A training part's looks; see `bench.data.looks.Looks`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: Numbers
    precision: Annotated[tuple[Numbers, ...], Field(min_length=NUMBERS, max_length=NUMBERS)]
    limit: FiniteFloat


class Header(BaseModel):
    """What a best file says of itself; see `bench.train.classifier.Classifier`."""

    model_config = ConfigDict(frozen=True)

    classes: Annotated[tuple[ClassName, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    recipe: Recipe
    chain: list[dict[str, Any]]
    mean: Colour
    std: Annotated[tuple[Positive, ...], Field(min_length=CHANNELS, max_length=CHANNELS)]
    temperature: Positive = 1.0
    image_temperature: Positive | None = None
    looks: LooksTold | None = None
    trained_on: dict[str, str | int] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Header:
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


def read_header(path: Path) -> Header:
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
        return Header.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ResultsError(
            f"{path}: its header is none of this bench's: {place}: {str(first['msg']).lower()}"
        ) from None
