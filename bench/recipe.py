"""Recipes: every switch of a training, in one flat and frozen list.

Flat, so that any switch is `--set key=value` and a job's identity is the switches that differ
from their defaults. A switch is explained where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bench.errors import MethodError, listing

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
ROUNDING = 1e-9


def _by_class(value: Any) -> Any:
    """`mel:2,bkl:1.5` as {"mel": "2", "bkl": "1.5"}."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition(":") for pair in value.split(",")]
    if not all(name and number for name, _, number in pairs):
        raise ValueError("takes name:number,name:number such as mel:2,bkl:1.5")
    return {name.strip(): number for name, _, number in pairs}


ByClass = Annotated[dict[str, Positive], BeforeValidator(_by_class)]


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
    unmatched_weights: str = ""
    """Keys of a weights file that need not match the model, as patterns: `neck.*,stem.bias`."""
    metadata: Literal["none", "late"] = "none"
    """late: the probabilities are multiplied with those of a classifier of age, sex and
    localization, by weights fitted on val (`bench.train.fusion`)."""
    dropout: Share = 0.0
    drop_path: Share | None = None
    """Stochastic depth of timm's models; None leaves them what timm gives them."""
    image_size: Annotated[int, Field(ge=8, le=4096)] = 224
    """Images are resized to image_size x image_size pixels."""

    # preprocessing, once an image, in this order, before it is resized
    hair_removal: bool = False
    """Dark hairs are found by a black-hat and painted over."""
    colour_constancy: Annotated[float, Field(ge=1)] | None = None
    """Norm of the shades-of-grey that take the light's colour out (6 is usual); None leaves it."""
    clahe: Positive | None = None
    """Clip limit of CLAHE on the lightness (2 is usual); None leaves the contrast."""

    # optimisation
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 32
    """The rest of an epoch that fills no batch is left out of it; each epoch has another order."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are averaged for one step of the optimizer."""
    optimizer: Literal[
        "adamw", "sgd", "adam", "rmsprop", "nadam", "nadamw", "radam", "lamb", "lion", "adopt",
        "adabelief", "adan", "laprop", "madgrad", "novograd",
    ] = "adamw"  # fmt: skip
    """All but the first two are timm's."""
    lookahead: bool = False
    """Every 6 steps the weights go half-way back to where they were (Zhang et al. 2019)."""
    lr: Positive = 1e-3
    weight_decay: NonNegative = 1e-2
    momentum: Share = 0.9
    """Of sgd, rmsprop and madgrad."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer below the head learns at this share of the rate of the one above it."""
    body_lr_scale: Positive = 1.0
    """The body learns at this multiple of lr; the head at lr."""
    lr_scales: ByClass = {}
    """Further multiples by parameter names, as patterns: `conv_stem*:0.1,blocks.0.*:0.2`."""
    schedule: Literal["constant", "plateau", "cosine", "one_cycle"] = "constant"
    """one_cycle rises from lr / 25 to lr and falls to lr / 250,000, both as a cosine."""
    warmup_epochs: NonNegative = 0.0
    """Linear warm-up of the learning rate, in epochs; one_cycle's rise, where 0 means 30% of it."""
    plateau_factor: Share = 0.5
    plateau_patience: Count = 2
    freeze_epochs: Count = 0
    """Epochs at the start in which only the head learns; none where weights are from scratch."""
    head_lr: Positive | None = None
    """Learning rate of those epochs; None means lr."""
    unfreeze_epochs: Count = 0
    """Epochs after those over which the body thaws stage by stage, from the head down; likewise."""
    grad_clip: Positive | None = None
    """Largest L2 norm of the gradient."""
    amp: bool = True
    """bfloat16 mixed precision where the device is a GPU; on a CPU always float32."""
    compile: bool = False
    """The model is compiled by torch (a minute at the start, other bits); worth it on a GPU."""
    deterministic: bool = False
    """Algorithms that give the same bits each time, also on a GPU, where that costs speed."""
    sync_batch_norm: bool = False
    """Several GPUs of a job share their batch norms' statistics; else each has its own share's."""
    channels_last: bool = True
    """Weights and images lie in memory pixel by pixel, all channels of one beside each other; false
    leaves them plane by plane (other bits). Which is faster depends on model and device."""
    evaluation_batch: Annotated[int, Field(ge=1)] = 256
    """Images predicted at once: a matter of memory (and of the last bits)."""

    # imbalance: the sampler changes what is drawn; weights, loss scale and logit adjustment what it
    # counts. Weights and adjustment start from what the sampler leaves, so nothing balances twice
    # unless class_weight_prior is "natural".
    sampler_power: Share = 0.0
    """Classes are drawn with probability ~ count^(1 - power): 0 natural, 1 balanced. 0 draws each
    image once an epoch; above it draws with replacement."""
    sampler: Literal["replacement", "class_aware"] = "replacement"
    """class_aware draws the same shares, but the images of a class equally often (within one)."""
    rare_augment: NonNegative = 0.0
    """Augmentation of a class is stronger by this share times 1 - count / largest count."""
    class_weight_power: Share = 0.0
    """Loss weights ~ prior^-power, mean 1 over the drawn images."""
    class_weight_beta: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Loss weights by effective number, ~ (1 - beta) / (1 - beta^count), likewise (Cui 2019)."""
    class_weight_prior: Literal["drawn", "natural"] = "drawn"
    """Prior that the weights balance: what the sampler leaves of the imbalance, or the natural one
    (with a balancing sampler this balances twice, as the original notebook did)."""
    class_weight_from: Count = 0
    """Epochs at the start in which loss weights rest (deferred re-weighting, Cao 2019)."""
    class_loss_scale: ByClass = {}
    """Further factors of the loss by class, such as mel:2,bkl:1.5; the rest has 1."""
    logit_adjustment: NonNegative = 0.0
    """Logits are trained with this times the log prior added (tau of Menon et al. 2021)."""
    label_smoothing: Share = 0.0
    loss: Literal["cross_entropy", "focal", "ldam"] = "cross_entropy"
    """Of a mixed label: the mixture of the labels' losses. ldam (Cao 2019) gives the model a head
    of cosines, whose logits are ldam_scale times the cosine."""
    focal_gamma: NonNegative = 2.0
    ldam_margin: Positive = 0.5
    """Of the rarest class; the others' shrink with count^(1/4)."""
    ldam_scale: Positive = 30.0

    # small classes (`bench.train.contrastive`)
    supcon_epochs: Count = 0
    """Epochs of supervised contrastive pretraining of the body on train, before all others."""
    supcon_temperature: Positive = 0.1
    head: Literal["linear", "prototypes"] = "linear"
    """prototypes: a head of cosines, which starts from the mean features of each class."""
    prototype_scale: Positive = 10.0
    """Logits are this times the cosine (with loss=ldam: ldam_scale)."""

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
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest zoom, either way, as a share of the size."""
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest turn of the hue, as a share of the colour circle."""
    auto_augment: Literal["none", "rand", "trivial"] = "none"
    """RandAugment (Cubuk et al. 2020), or TrivialAugment Wide (Müller & Hutter 2021)."""
    rand_ops: Annotated[int, Field(ge=1, le=4)] = 2
    rand_magnitude: Share = 0.3
    """Strength of RandAugment's operations; 9 of 30 is 0.3."""
    erasing_prob: Share = 0.0
    """Random erasing (Zhong et al. 2020): a rectangle becomes the image's mean colour."""

    # images that nobody has labelled
    unlabelled: str = ""
    """Hash of a folder of them, set by `run --unlabelled DIR`; a teacher trained by this recipe
    labels them for the fold's model (`bench.train.pseudo_labels`)."""
    pseudo_threshold: Share = 0.9
    """Calibrated probability from which the teacher's label is learned from."""

    # choice on val
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    ema_warmup: bool = True
    """Decay grows as step / (10 + step) up to ema_decay, steps counted from 0, so that the average
    catches up."""
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better val macro-F1 after which training stops; None never stops."""
    tta: Literal["none", "flips", "dihedral"] = "none"
    """Views whose final predictions are averaged: 4 flips, or the 8 symmetries of a square."""
    temperature: bool = False
    """Predictions are tempered by the temperature fitted on val, which is recorded in any case."""

    @model_validator(mode="after")
    def _one_kind_of_weights(self) -> Self:
        if self.class_weight_power and self.class_weight_beta:
            raise ValueError("class_weight_power and class_weight_beta exclude each other: set one")
        return self

    @model_validator(mode="after")
    def _one_mixing_a_batch(self) -> Self:
        both = self.cutmix_prob + self.mixup_prob
        if both > 1 + ROUNDING:
            raise ValueError(
                f"cutmix_prob and mixup_prob sum to {both:g}: a batch is mixed in one way at most, "
                "so at most to 1"
            )
        return self

    def with_overrides(self, overrides: Mapping[str, Any]) -> Recipe:
        """The same with some switches set; text is read as the switch's type.

        "none" is None where a switch can be that, and a word where it is one of the switch's own:
        `tta=none`, or `pretraining_data=none`, which declares a training from scratch.
        """
        values = {
            key: None if _is_none(value) and key in NONE_IS_NOTHING else value
            for key, value in overrides.items()
        }
        try:
            return Recipe.model_validate(self.model_dump() | values)
        except ValidationError as error:
            raise MethodError(f"recipe: {'; '.join(_faults(error))}") from None

    def refuse_other_classes(self, classes: Sequence[str]) -> None:
        """Raise MethodError where a switch names a class that the data does not have."""
        unknown = sorted(set(self.class_loss_scale) - set(classes))
        if unknown:
            raise MethodError(
                f"class_loss_scale: no class {listing(unknown)}; the data has {listing(classes)}"
            )

    def switches(self) -> dict[str, Any]:
        """The switches that differ from their defaults, by name."""
        return self.model_dump(exclude_defaults=True)


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value.lower() == "none"


NONE_IS_NOTHING = frozenset(
    name
    for name, switch in Recipe.model_fields.items()
    if type(None) in get_args(switch.annotation) and name != "pretraining_data"
)
"""The switches that can be None, and are so where `none` is given."""


def _faults(error: ValidationError) -> list[str]:
    return [
        _fault(each["loc"], each["type"], each["input"], each["msg"]) for each in error.errors()
    ]


def _fault(place: tuple[int | str, ...], kind: str, given: Any, told: str) -> str:
    """One of pydantic's faults in a sentence; a fault of the whole recipe has no place."""
    switch, told = ".".join(map(str, place)), told.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"unknown switch {switch!r}; known are {', '.join(Recipe.model_fields)}"
    return f"{switch}={given!r}: {told.lower()}" if switch else told


def parse_overrides(settings: tuple[str, ...]) -> dict[str, str]:
    """Read `key=value` settings of the command line."""
    wrong = [setting for setting in settings if "=" not in setting]
    if wrong:
        raise MethodError(f"--set takes key=value, not {listing(wrong)}")
    return dict(setting.split("=", 1) for setting in settings)
