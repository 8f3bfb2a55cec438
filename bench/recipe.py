"""Recipe: every option of a training, in one flat, frozen list.

An option is `--set name=value`; a job id hashes the options that differ from their defaults. Each
option states its help text in the docstring below it. Its annotation states its range and, where it
depends on others, `Tunes` (the option that it tunes) and `Needs` (when it has an effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bench.errors import MethodError, listing

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
ROUNDING = 1e-9
OWN_MODEL = "build_model"
"""Value of `model` where the method's file builds the model."""
WITH_MOMENTUM = ("sgd", "rmsprop", "madgrad")


def _by_class(value: Any) -> Any:
    """`mel:2,bkl:1.5` as {"mel": "2", "bkl": "1.5"}."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition(":") for pair in value.split(",")]
    if not all(name and number for name, _, number in pairs):
        raise ValueError("takes name:number,name:number such as mel:2,bkl:1.5")
    return {name.strip(): number for name, _, number in pairs}


ByClass = Annotated[dict[str, Positive], BeforeValidator(_by_class)]


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """Start of a training beside its recipe.

    weights  whether a file of pretrained weights is given
    devices  processes that share the training, each on one device
    """

    weights: bool = False
    devices: int = 1


@dataclass(frozen=True, slots=True)
class Tunes:
    """Annotation: the option only adjusts another one, so without that it is harmless."""

    option: str


@dataclass(frozen=True, slots=True)
class Needs:
    """Annotation: the option has an effect only where `met(recipe, setup)`; else the reason."""

    met: Callable[[Recipe, TrainingSetup], bool]
    reason: str


_BUILT_BY_RECIPE = Needs(lambda r, _: r.model != OWN_MODEL, "the method builds its own model")
_WEIGHTS = Needs(lambda _, s: s.weights, "only a model that starts from weights is frozen")
_PLATEAU = Needs(lambda r, _: r.schedule == "plateau", "schedule is not plateau")
_LDAM = Needs(lambda r, _: r.loss == "ldam", "loss is not ldam")
_RAND = Needs(lambda r, _: r.auto_augment == "rand", "auto_augment is not rand")
_CLASS_WEIGHTS = Needs(
    lambda r, _: bool(r.class_weight_power or r.class_weight_beta), "there are no class weights"
)
_WEIGHTS_START = Needs(
    lambda r, _: r.class_weight_from < r.epochs,
    "class_weight_from turns class weights off in all epochs",
)
_IMBALANCE_LEFT = Needs(
    lambda r, _: r.sampler_power < 1 or r.class_weight_prior == "natural",
    "sampler_power=1 leaves no imbalance to weight",
)
_MIXING_STARTS = Needs(
    lambda r, _: r.mix_off_epochs < r.epochs, "mix_off_epochs turns mixing off in all epochs"
)
_PARTNER = Needs(lambda r, _: r.batch_size > 1, "with batch_size=1 an image has no partner")
_AUGMENTATIONS = (
    "rotation", "scale", "brightness", "contrast", "saturation", "hue", "erasing_prob",
)  # fmt: skip
_AUGMENTATION = Needs(
    lambda r, _: r.auto_augment != "none" or any(getattr(r, name) for name in _AUGMENTATIONS),
    "flips are the only augmentation",
)


Precision = Literal["bf16-mixed", "16-mixed", "32-true"]
SLOW_FP16 = ((6, 1),)
"""GPUs after Pascal's first whose fp16 arithmetic has a 64th of the speed of float32."""


def gpu_precision(capability: tuple[int, int]) -> Precision:
    """The mixed precision that a GPU computes natively, by its CUDA compute capability.

    bfloat16 from 8.0 (A100, RTX 30); below, torch only emulates it, so fp16 with a gradient scaler
    from 6.0 (P100, V100, T4); float32 for older GPUs and 6.1 (GTX 10).
    """
    if capability >= (8, 0):
        return "bf16-mixed"
    return "16-mixed" if capability >= (6, 0) and capability not in SLOW_FP16 else "32-true"


class Recipe(BaseModel):
    """Options of a training. Frozen; `recipe.with_overrides({"epochs": "5"})` gives a changed copy.

    A new option needs a default that changes nothing: a job id hashes the options that differ from
    their defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    # model
    model: str = "custom_cnn"
    """custom_cnn, or the name of a timm model."""
    pretrained: str | None = None
    """Hugging Face repository of the pretrained weights; none trains from scratch."""
    pretraining_data: str | None = None
    """Data of the pretraining, as its authors declare it; "none" declares training from scratch."""
    unmatched_weights: Annotated[
        str, Tunes("--weights"), Needs(lambda _, s: s.weights, "no file of weights is given")
    ] = ""
    """Keys of the weights file that need not match the model, as patterns: neck.*,stem.bias."""
    metadata: Literal["none", "late"] = "none"
    """late: multiply by the probabilities of a classifier of age, sex and site, weighted on val."""
    dropout: Annotated[Share, _BUILT_BY_RECIPE] = 0.0
    """Dropout probability before the head."""
    drop_path: Annotated[
        Share | None,
        _BUILT_BY_RECIPE,
        Needs(lambda r, _: r.model != "custom_cnn", "custom_cnn has no paths to drop"),
    ] = None
    """Stochastic depth of timm models; none keeps timm's default."""
    image_size: Annotated[int, Field(ge=8, le=4096)] = 224
    """Side of the square input images in pixels."""

    # preprocessing, once per image, in this order, before resizing
    hair_removal: bool = False
    """Find dark hairs by a black-hat filter and inpaint them."""
    colour_constancy: Annotated[float, Field(ge=1)] | None = None
    """Norm of the shades-of-grey colour constancy (usual: 6); none turns it off."""
    clahe: Positive | None = None
    """Clip limit of CLAHE on the lightness channel (usual: 2); none turns it off."""

    # optimisation
    epochs: Annotated[int, Field(ge=1)] = 20
    """Number of epochs."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Images per batch; an incomplete last batch of an epoch is dropped."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are averaged for one optimizer step."""
    optimizer: Literal[
        "adamw", "sgd", "adam", "rmsprop", "nadam", "nadamw", "radam", "lamb", "lion", "adopt",
        "adabelief", "adan", "laprop", "madgrad", "novograd",
    ] = "adamw"  # fmt: skip
    """Optimizer: adamw and sgd of torch, the others of timm."""
    lookahead: bool = False
    """Every 6 steps move the weights half-way back to a slow copy (Zhang et al. 2019)."""
    lr: Positive = 1e-3
    """Base learning rate."""
    weight_decay: NonNegative = 1e-2
    """Weight decay; biases and norms have none."""
    momentum: Annotated[
        Share,
        Tunes("optimizer"),
        Needs(
            lambda r, _: r.optimizer in WITH_MOMENTUM,
            f"only {', '.join(WITH_MOMENTUM)} have a momentum",
        ),
    ] = 0.9
    """Momentum of sgd, rmsprop and madgrad."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each layer as a share of the rate of the layer above it."""
    body_lr_scale: Positive = 1.0
    """Learning rate of the body as a multiple of lr; the head uses lr."""
    lr_scales: ByClass = {}
    """Further multiples by parameter names, as patterns: conv_stem*:0.1,blocks.0.*:0.2."""
    schedule: Literal["constant", "plateau", "cosine", "one_cycle"] = "constant"
    """Learning-rate schedule; one_cycle goes from lr / 25 to lr to lr / 250,000 along cosines."""
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear warm-up; of one_cycle the rising part, where 0 means 30%."""
    plateau_factor: Annotated[Share, Tunes("schedule"), _PLATEAU] = 0.5
    """Factor of the learning rate at each plateau of the val macro-F1."""
    plateau_patience: Annotated[Count, Tunes("schedule"), _PLATEAU] = 2
    """Epochs without a better val macro-F1 before the rate shrinks."""
    freeze_epochs: Annotated[Count, _WEIGHTS] = 0
    """Epochs at the start in which only the head learns; needs pretrained weights."""
    head_lr: Annotated[
        Positive | None,
        Tunes("freeze_epochs"),
        _WEIGHTS,
        Needs(lambda r, _: r.freeze_epochs > 0, "freeze_epochs is 0"),
    ] = None
    """Learning rate of the freeze_epochs; none means lr."""
    unfreeze_epochs: Annotated[Count, _WEIGHTS] = 0
    """Next epochs, over which the body is unfrozen stage by stage from the head down."""
    grad_clip: Positive | None = None
    """Largest L2 norm of the gradient; none does not clip."""
    amp: bool = True
    """Mixed precision on a GPU, by bfloat16 or fp16; a CPU always uses float32."""
    compile: bool = False
    """Compile the model by torch (a minute at the start, other rounding); for GPUs."""
    deterministic: bool = False
    """Use deterministic GPU algorithms: the same bits each time, but slower."""
    sync_batch_norm: Annotated[
        bool,
        Tunes("--devices-per-job"),
        Needs(lambda _, s: s.devices > 1, "a job has one device"),
    ] = False
    """Share batch-norm statistics between the GPUs of a job."""
    channels_last: bool = True
    """Channels-last memory layout of weights and images; false: channels-first (other rounding)."""
    evaluation_batch: Annotated[int, Field(ge=1)] = 256
    """Images per batch in evaluation; changes memory use and the last bits."""

    # Class imbalance: the sampler changes the images that are drawn; class weights, loss scale and
    # logit adjustment change how much they count. Class weights and logit adjustment start from the
    # imbalance that the sampler leaves, so nothing is balanced twice unless class_weight_prior is
    # "natural".
    sampler_power: Share = 0.0
    """Draw classes with probability ~ count^(1 - power): 0 natural (each once), 1 balanced."""
    sampler: Annotated[
        Literal["replacement", "class_aware"],
        Tunes("sampler_power"),
        Needs(lambda r, _: r.sampler_power > 0, "with sampler_power=0 each image is drawn once"),
    ] = "replacement"
    """class_aware: the same class shares, but each image of a class equally often (within one)."""
    rare_augment: Annotated[NonNegative, _AUGMENTATION] = 0.0
    """Stronger augmentation of rare classes, by this share times 1 - count / largest count."""
    class_weight_power: Annotated[Share, _WEIGHTS_START, _IMBALANCE_LEFT] = 0.0
    """Loss weights ~ prior^-power, mean 1 over the drawn images."""
    class_weight_beta: Annotated[float, Field(ge=0, lt=1), _WEIGHTS_START, _IMBALANCE_LEFT] = 0.0
    """Loss weights by effective number, ~ (1 - beta) / (1 - beta^count), mean 1 (Cui 2019)."""
    class_weight_prior: Annotated[
        Literal["drawn", "natural"],
        Tunes("class_weight_power"),
        _CLASS_WEIGHTS,
        Needs(
            lambda r, _: r.sampler_power > 0,
            "with sampler_power=0 the natural prior is the drawn one",
        ),
    ] = "drawn"
    """Prior that class weights balance: after the sampler (drawn) or before it (natural)."""
    class_weight_from: Annotated[
        Count, Tunes("class_weight_power"), _CLASS_WEIGHTS, _WEIGHTS_START
    ] = 0
    """Epochs at the start without class weights (deferred re-weighting, Cao 2019)."""
    class_loss_scale: ByClass = {}
    """Further loss factors by class: mel:2,bkl:1.5; other classes have 1."""
    logit_adjustment: Annotated[
        NonNegative,
        Needs(lambda r, _: r.sampler_power < 1, "sampler_power=1 leaves no imbalance to adjust"),
    ] = 0.0
    """Tau of logit adjustment: train with tau times the log prior added (Menon et al. 2021)."""
    label_smoothing: Share = 0.0
    """Share of each label that is spread over all classes."""
    loss: Literal["cross_entropy", "focal", "ldam"] = "cross_entropy"
    """Loss; ldam (Cao 2019) uses a cosine head. A mixed label has the mixture of its losses."""
    focal_gamma: Annotated[
        NonNegative, Tunes("loss"), Needs(lambda r, _: r.loss == "focal", "loss is not focal")
    ] = 2.0
    """Focusing exponent gamma of the focal loss."""
    ldam_margin: Annotated[Positive, Tunes("loss"), _LDAM] = 0.5
    """LDAM margin of the rarest class; others shrink with count^(1/4)."""
    ldam_scale: Annotated[Positive, Tunes("loss"), _LDAM] = 30.0
    """Logits of LDAM are this times the cosine."""

    # small classes (`bench.train.contrastive`)
    supcon_epochs: Count = 0
    """Epochs of supervised contrastive pretraining of the body on train, before all others."""
    supcon_temperature: Annotated[
        Positive,
        Tunes("supcon_epochs"),
        Needs(lambda r, _: r.supcon_epochs > 0, "supcon_epochs is 0"),
    ] = 0.1
    """Temperature of the contrastive loss."""
    head: Literal["linear", "prototypes"] = "linear"
    """prototypes: a cosine head that starts from the mean features of each class."""
    prototype_scale: Annotated[
        Positive,
        Tunes("head"),
        Needs(lambda r, _: r.head == "prototypes", "head is not prototypes"),
        Needs(lambda r, _: r.loss != "ldam", "with loss=ldam it is ldam_scale"),
    ] = 10.0
    """Logits of head=prototypes are this times the cosine (with loss=ldam: ldam_scale)."""

    # mixing
    cutmix_prob: Annotated[Share, _MIXING_STARTS, _PARTNER] = 0.0
    """Probability that a batch is mixed by CutMix."""
    cutmix_alpha: Annotated[
        Positive,
        Tunes("cutmix_prob"),
        Needs(lambda r, _: r.cutmix_prob > 0, "cutmix_prob is 0"),
    ] = 1.0
    """Beta-distribution parameter of CutMix."""
    mixup_prob: Annotated[Share, _MIXING_STARTS, _PARTNER] = 0.0
    """Probability that a batch is mixed by MixUp."""
    mixup_alpha: Annotated[
        Positive,
        Tunes("mixup_prob"),
        Needs(lambda r, _: r.mixup_prob > 0, "mixup_prob is 0"),
    ] = 0.4
    """Beta-distribution parameter of MixUp."""
    mix_off_epochs: Annotated[
        Count,
        Tunes("cutmix_prob"),
        Needs(lambda r, _: bool(r.cutmix_prob or r.mixup_prob), "cutmix_prob and mixup_prob are 0"),
        _MIXING_STARTS,
    ] = 0
    """Epochs at the end without mixing."""

    # augmentation, drawn for each image
    hflip: Share = 0.5
    """Probability of a horizontal flip."""
    vflip: Share = 0.5
    """Probability of a vertical flip."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation in degrees, in both directions."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest zoom in or out, as a share of the size."""
    brightness: Share = 0.0
    """Largest relative change of brightness."""
    contrast: Share = 0.0
    """Largest relative change of contrast."""
    saturation: Share = 0.0
    """Largest relative change of saturation."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest turn of the hue, as a share of the colour circle."""
    auto_augment: Literal["none", "rand", "trivial"] = "none"
    """RandAugment (Cubuk et al. 2020) or TrivialAugment Wide (Müller & Hutter 2021)."""
    rand_ops: Annotated[int, Field(ge=1, le=4), Tunes("auto_augment"), _RAND] = 2
    """Operations of RandAugment per image."""
    rand_magnitude: Annotated[Share, Tunes("auto_augment"), _RAND] = 0.3
    """Strength of RandAugment's operations; magnitude 9 of 30 is 0.3."""
    erasing_prob: Share = 0.0
    """Probability of random erasing: fill a rectangle with the mean colour (Zhong et al. 2020)."""

    # unlabelled images
    unlabelled: str = ""
    """Hash of a folder of unlabelled images, set by run --unlabelled; a teacher labels them."""
    pseudo_threshold: Annotated[
        Share,
        Tunes("unlabelled"),
        Needs(lambda r, _: bool(r.unlabelled), "--unlabelled is not given"),
    ] = 0.9
    """Least calibrated probability of the teacher for a pseudo-label."""

    # selection on val
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the exponential moving average of the weights; none keeps no average."""
    ema_warmup: Annotated[
        bool, Tunes("ema_decay"), Needs(lambda r, _: r.ema_decay is not None, "ema_decay is none")
    ] = True
    """Let the decay grow as step / (10 + step) up to ema_decay."""
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many epochs without a better val macro-F1; none never stops early."""
    tta: Literal["none", "flips", "dihedral"] = "none"
    """Test-time augmentation: average over 4 flips, or the 8 symmetries of a square."""
    temperature: bool = False
    """Apply the temperature that is fitted on val; it is recorded in any case."""

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
        """A copy with some options changed; text is converted to the option's type.

        "none" means None for an option that can be None. It stays text where it is a value of the
        option: `tta=none`, or `pretraining_data=none`, which declares training from scratch.
        Raises MethodError for an unknown option or a value out of its range.
        """
        values = {
            key: None if _is_none(value) and key in OPTIONAL else value
            for key, value in overrides.items()
        }
        try:
            return Recipe.model_validate(self.model_dump() | values)
        except ValidationError as error:
            raise MethodError(f"recipe: {'; '.join(_faults(error))}") from None

    def refuse_other_classes(self, classes: Sequence[str]) -> None:
        """Raise MethodError if an option names a class that the data does not have."""
        unknown = sorted(set(self.class_loss_scale) - set(classes))
        if unknown:
            raise MethodError(
                f"class_loss_scale: no class {listing(unknown)}; the data has {listing(classes)}"
            )

    def changed_options(self) -> dict[str, Any]:
        """Options that differ from their defaults, by name."""
        return self.model_dump(exclude_defaults=True)


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value.lower() == "none"


OPTIONAL = frozenset(
    name
    for name, field in Recipe.model_fields.items()
    if type(None) in get_args(field.annotation) and name != "pretraining_data"
)
"""Options for which the text `none` means None."""


def _faults(error: ValidationError) -> list[str]:
    return [
        _fault(each["loc"], each["type"], each["input"], each["msg"]) for each in error.errors()
    ]


def _fault(location: tuple[int | str, ...], kind: str, value: Any, message: str) -> str:
    """One validation error in a sentence; an error of the whole recipe has no location."""
    option, message = ".".join(map(str, location)), message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"unknown option {option!r}; {_nearest(option)}"
    return f"{option}={value!r}: {message.lower()}" if option else message


def _nearest(name: str) -> str:
    """Suggest options whose names resemble this one."""
    near = get_close_matches(name, Recipe.model_fields, n=4, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "docs/training.md lists the options"


def parse_overrides(settings: tuple[str, ...]) -> dict[str, str]:
    """Read `key=value` settings of the command line. Raises MethodError for one without "="."""
    wrong = [setting for setting in settings if "=" not in setting]
    if wrong:
        raise MethodError(f"--set takes key=value, not {listing(wrong)}")
    return dict(setting.split("=", 1) for setting in settings)


class OptionInfo(NamedTuple):
    """One option of a recipe for display: its name, type, default and help text."""

    name: str
    type: str
    default: str
    help: str


def option_table() -> list[OptionInfo]:
    """All options in the order of the recipe, with type, default and help as text."""
    return [
        OptionInfo(
            name,
            _type_text(field.annotation),
            "none" if name in OPTIONAL and field.default is None else _value_text(field.default),
            " ".join((field.description or "").split()),
        )
        for name, field in Recipe.model_fields.items()
    ]


def _type_text(annotation: Any) -> str:
    """`int`, `number or none`, `name:number,...`, or the values to choose from."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is Literal:
        return "|".join(arguments)
    if origin is dict:
        return "name:number,..."
    if arguments:  # a union with None
        return " or ".join(_type_text(each) for each in arguments)
    names = {float: "number", int: "integer", bool: "true|false", str: "text", type(None): "none"}
    return names[annotation]


def _value_text(value: Any) -> str:
    """A default as `--set` takes it; empty where there is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == {}:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _marks(kind: type[Any]) -> dict[str, list[Any]]:
    """The annotations of one kind by option, for the options that have any."""
    marks = {
        name: [mark for mark in field.metadata if isinstance(mark, kind)]
        for name, field in Recipe.model_fields.items()
    }
    return {name: found for name, found in marks.items() if found}


NEEDS: Mapping[str, list[Needs]] = _marks(Needs)
TUNED: Mapping[str, str] = {name: marks[0].option for name, marks in _marks(Tunes).items()}
"""The option that an option tunes, by name. All other options change the training by themselves."""


def inactive_options(recipe: Recipe, setup: TrainingSetup) -> dict[str, str]:
    """Options that differ from their defaults but have no effect, each with the first reason."""
    reasons = {
        name: [need.reason for need in NEEDS.get(name, []) if not need.met(recipe, setup)]
        for name in recipe.changed_options()
    }
    return {name: found[0] for name, found in reasons.items() if found}


def describe_inactive(recipe: Recipe, inactive: Mapping[str, str]) -> str:
    """Inactive options as text: `focal_gamma=3.0 (loss is not focal), ...`."""
    return ", ".join(f"{name}={getattr(recipe, name)} ({why})" for name, why in inactive.items())
