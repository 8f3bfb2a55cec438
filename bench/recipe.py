"""Recipes: every switch of a training, in one flat and frozen list.

Flat, so that any switch is `--set key=value` and a job's identity is the switches that differ
from their defaults. A switch is explained where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import MethodError, listing

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Recipe(BaseModel):
    """Every switch of a training. Frozen; `recipe.with_overrides({"epochs": "5"})` makes another.

    A switch added later gets a default that changes nothing, since a job's identity is made of
    the switches that differ from their defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # model
    model: str = "custom_cnn"
    """`custom_cnn`, or the name of a timm model."""
    pretrained: str | None = None
    """Repository of the pretrained weights on the Hugging Face hub; None trains from scratch."""
    pretraining_data: str | None = None
    """What those weights have seen, as declared by their authors."""
    dropout: Share = 0.0
    image_size: Annotated[int, Field(ge=8, le=4096)] = 224
    """Images are resized to image_size x image_size pixels."""

    # optimisation
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 32
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NonNegative = 1e-2
    momentum: Share = 0.9
    """Of SGD."""
    schedule: Literal["constant", "plateau", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0.0
    """Linear warm-up of the learning rate, in epochs."""
    plateau_factor: Share = 0.5
    plateau_patience: Count = 2
    freeze_epochs: Count = 0
    """Epochs at the start in which only the head learns; none where weights are from scratch."""
    head_lr: Positive | None = None
    """Learning rate of those epochs; None means lr."""
    grad_clip: Positive | None = None
    """Largest L2 norm of the gradient."""
    amp: bool = True
    """bfloat16 mixed precision where the device is a GPU; on a CPU always float32."""

    # imbalance
    sampler_power: Share = 0.0
    """Classes are drawn with probability ~ count^(1 - power): 0 natural, 1 balanced. 0 draws each
    image once an epoch; above it draws with replacement."""
    class_weight_power: Share = 0.0
    """Loss weights ~ prior^-power, mean 1 over the drawn images."""
    class_weight_prior: Literal["drawn", "natural"] = "drawn"
    """Prior that the weights balance: what the sampler leaves of the imbalance, or the natural one
    (with a balancing sampler this balances twice, as the original notebook did)."""
    label_smoothing: Share = 0.0

    # mixing
    cutmix_prob: Share = 0.0
    cutmix_alpha: Positive = 1.0
    mixup_prob: Share = 0.0
    mixup_alpha: Positive = 0.4
    mix_off_epochs: Count = 0
    """Epochs at the end without mixing."""

    # augmentation, drawn for every image
    hflip: Share = 0.5
    vflip: Share = 0.5
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation in degrees, either way."""
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest turn of the hue, as a share of the colour circle."""

    # choice on val
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    ema_warmup: bool = True
    """Decay grows as (1 + step) / (10 + step) up to ema_decay, so that the average catches up."""
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better val macro-F1 after which training stops; None never stops."""

    def with_overrides(self, overrides: Mapping[str, Any]) -> Recipe:
        """The same with some switches set; text is read as the switch's type ("none" as None)."""
        values = {
            key: None if isinstance(value, str) and value.lower() == "none" else value
            for key, value in overrides.items()
        }
        try:
            return Recipe.model_validate(self.model_dump() | values)
        except ValidationError as error:
            raise MethodError(f"recipe: {'; '.join(_faults(error))}") from None

    def switches(self) -> dict[str, Any]:
        """The switches that differ from their defaults, by name."""
        return self.model_dump(exclude_defaults=True)


def _faults(error: ValidationError) -> list[str]:
    known = ", ".join(Recipe.model_fields)
    return [
        f"unknown switch {'.'.join(map(str, e['loc']))!r}; known are {known}"
        if e["type"] == "extra_forbidden"
        else f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg'].lower()}"
        for e in error.errors()
    ]


def parse_overrides(settings: tuple[str, ...]) -> dict[str, str]:
    """Read `key=value` settings of the command line."""
    wrong = [setting for setting in settings if "=" not in setting]
    if wrong:
        raise MethodError(f"--set takes key=value, not {listing(wrong)}")
    return dict(setting.split("=", 1) for setting in settings)
