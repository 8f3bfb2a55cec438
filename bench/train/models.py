"""Models: the custom CNN and timm's, pretrained weights, frozen layers."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bench.errors import MethodError, listing
from bench.method import OWN_MODEL, Recipe
from bench.train.heads import start_small

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class CustomCNN(nn.Module):
    """A compact CNN: four stages of two 3x3 convolutions with batch norm, average pool, head.

    Images (N, 3, H, W), H and W at least 16, to logits (N, num_classes). 0.66 million weights.
    """

    def __init__(self, num_classes: int, dropout: float = 0.0, width: int = 24) -> None:
        super().__init__()
        channels = (3, width, 2 * width, 4 * width, 8 * width)
        self.stages = nn.Sequential(
            *(_stage(before, after) for before, after in pairwise(channels))
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W)."""
        features = self.stages(images).mean(dim=(2, 3))
        logits: torch.Tensor = self.head(self.dropout(features))
        return logits

    def get_classifier(self) -> nn.Module:
        """The head; the interface of timm's models."""
        return self.head

    def group_matcher(self, *, coarse: bool = False) -> dict[str, str]:  # noqa: ARG002
        """Patterns of the layers' names; the interface of timm's models."""
        return {"blocks": r"^stages\.(\d+)"}


class CosineHead(nn.Module):
    """Logits: `scale` times the cosine of the features and each class's direction, no bias.

    The normalised classifier of LDAM (Cao et al. 2019).
    """

    def __init__(self, features: int, num_classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, features))
        nn.init.xavier_uniform_(self.weight)
        self.scale = scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes) of features (N, F)."""
        # float32 also under mixed precision; 30 times the rounding of bfloat16 is 0.1
        with torch.autocast(features.device.type, enabled=False):
            directions = functional.normalize(self.weight)
            return self.scale * functional.linear(
                functional.normalize(features.float()), directions
            )


def _stage(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def build_model(
    recipe: Recipe,
    num_classes: int,
    weights: Path | None,
    own_model: Callable[[int], nn.Module] | None = None,
) -> nn.Module:
    """The recipe's model, with the body of `weights` if given, and a new head.

    The head of a timm model, and of an own model where it is found, starts with small weights.

    own_model  builds the model instead; then the recipe's `model` is OWN_MODEL
    Raises MethodError for a name that timm does not have, or weights that do not fit.
    """
    if (own_model is not None) != (recipe.model == OWN_MODEL):
        raise MethodError(
            f"model={recipe.model!r}: this method builds its own model; remove `model`"
            if own_model is not None
            else f"model={OWN_MODEL!r}: needs the method's file, which builds the model"
        )
    build: Callable[[], nn.Module]
    if own_model is not None:
        build = partial(_own, own_model, num_classes)
    elif recipe.model == "custom_cnn":
        build = partial(CustomCNN, num_classes, recipe.dropout)
    else:
        build = partial(_timm_model, recipe, num_classes)
    model = build()
    if recipe.model != "custom_cnn" and not has_cosine_head(recipe):
        start_small(model, num_classes, build)
    if recipe.loss == "ldam":
        _set_cosine_head(model, recipe.ldam_scale, "loss=ldam")
    elif recipe.head == "prototypes":
        _set_cosine_head(model, recipe.prototype_scale, "head=prototypes")
    if weights is not None:
        load_body(model, weights, recipe.unmatched_weights)
    return model


def _own(build: Callable[[int], nn.Module], num_classes: int) -> nn.Module:
    """The model of a method's build_model. Raises MethodError if it is not a torch module."""
    built = build(num_classes)
    if not isinstance(built, nn.Module):
        raise MethodError(f"build_model returned {type(built).__name__}, not a torch.nn.Module")
    return built


def _timm_model(recipe: Recipe, num_classes: int) -> nn.Module:
    import timm

    name = recipe.model
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise MethodError(f"timm has no model {name!r}; similar names: {listing(near)}")
    settings: dict[str, Any] = {"drop_rate": recipe.dropout}
    if recipe.drop_path is not None:
        settings["drop_path_rate"] = recipe.drop_path
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        # transformers with position embeddings are built for one image size
        settings["img_size"] = recipe.image_size
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=num_classes, **settings
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        given = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise MethodError(f"timm cannot build {name} with {given}: {error}") from None
    config = weights_config(recipe.pretrained)
    if config is not None and config.architecture == name.partition(".")[0]:
        own: Any = model.default_cfg
        model.default_cfg = own | {"mean": config.mean, "std": config.std}
    return model


def weights_config(repository: str | None) -> Any:
    """Timm's configuration of the weights that `pretrained` names; None if timm does not know them.

    Different weights of one architecture can need different normalisation, such as
    vit_small_patch16_224.dino and vit_small_patch16_224.augreg_in1k.
    Raises MethodError for an unknown tag of a timm repository.
    """
    import timm

    owner, _, name = (repository or "").rpartition("/")
    architecture, _, tag = name.partition(".")
    if not tag or not timm.is_model(architecture):
        return None
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        if owner != "timm":
            return None
        known = listing(timm.list_pretrained(f"{architecture}.*"))
        raise MethodError(
            f"pretrained={repository!r}: timm knows {known or 'no weights'}"
        ) from None


def weights_mismatch(recipe: Recipe, stated: str) -> str:
    """Why weights that state the name `stated` do not fit the recipe; "" if they do.

    stated  architecture.tag, such as vit_small_patch16_224.dino
    """
    given, named = weights_config(stated), weights_config(recipe.pretrained)
    model = recipe.model.partition(".")[0]
    if given is None or recipe.model == OWN_MODEL:
        return ""
    if given.architecture != model:
        return f"these are weights of {given.architecture}, but the model is {model}"
    if named is None or (given.mean, given.std) == (named.mean, named.std):
        return ""
    return (
        f"these are weights {stated}, made for images of mean {given.mean} and standard deviation "
        f"{given.std}, but pretrained={recipe.pretrained} needs {named.mean} and {named.std}; "
        f"set --set pretrained=timm/{stated}"
    )


def has_cosine_head(recipe: Recipe) -> bool:
    """Whether the recipe replaces the linear head by a cosine head."""
    return recipe.loss == "ldam" or recipe.head == "prototypes"


def _set_cosine_head(model: nn.Module, scale: float, option: str) -> None:
    """Replace the linear head by a cosine head."""
    if not hasattr(model, "get_classifier"):
        raise MethodError(f"{option}: the model has no get_classifier(), so its head is unknown")
    head = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear):
        raise MethodError(f"{option} needs a linear head; this model's is {type(head).__name__}")
    path = next(name for name, module in model.named_modules() if module is head)
    parent, _, name = path.rpartition(".")
    cosines = CosineHead(head.in_features, head.out_features, scale)
    setattr(model.get_submodule(parent), name, cosines)


def memory_layout(recipe: Recipe) -> torch.memory_format:
    """Memory layout of weights and images."""
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in [0, 1] for the normalisation of the model's input."""
    settings: Mapping[str, Any] = getattr(model, "default_cfg", None) or {}
    return (
        tuple(settings.get("mean", IMAGENET_MEAN)),
        tuple(settings.get("std", IMAGENET_STD)),
    )


def head_names(model: nn.Module) -> set[str]:
    """Names of the head's parameters and buffers; empty without get_classifier()."""
    if not hasattr(model, "get_classifier"):
        return set()
    head = model.get_classifier()  # type: ignore[operator]
    prefix = next(name for name, module in model.named_modules() if module is head)
    return {name for name in model.state_dict() if name.startswith(f"{prefix}.")}


def layers(model: nn.Module, *, coarse: bool = False) -> dict[str, int]:
    """The depth of each parameter by name: 0 at the image, the largest at the head.

    coarse: by stages instead of blocks. Raises MethodError for a model without group_matcher().
    """
    from timm.models import group_parameters

    if not hasattr(model, "group_matcher"):
        raise MethodError(
            f"{type(model).__name__} has no group_matcher(); layer_decay and unfreeze_epochs "
            "need it"
        )
    depth = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)  # type: ignore[operator]
    return {name: int(depth[name]) for name, _ in model.named_parameters()}


def load_body(model: nn.Module, path: Path, unmatched: str = "") -> None:
    """Load all weights except the head's from a file.

    unmatched  comma-separated patterns of keys that may differ; these keep their initial weights
    Raises MethodError if any other key differs.
    """
    weights = _adapted(read_weights(path), model)
    faults = weight_faults(model, weights)
    accepted = _matching(faults, unmatched)
    refused = [fault for name, fault in faults.items() if name not in accepted]
    if refused:
        raise MethodError(
            f"{path}: the weights do not fit the model: {listing(refused, 5)}; give weights of the "
            "same architecture with timm's names, or list the keys that may differ "
            "(--set unmatched_weights=...)"
        )
    fitting = set(model.state_dict()) - head_names(model) - set(faults)
    model.load_state_dict({name: weights[name] for name in fitting}, strict=False)


def weight_faults(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Differences between weights and a model without its head, by key."""
    head = head_names(model)
    body = {name: value for name, value in model.state_dict().items() if name not in head}
    faults = {name: f"{name} is missing" for name in body if name not in weights}
    faults |= {
        name: f"{name} is {tuple(weights[name].shape)}, not {tuple(value.shape)}"
        for name, value in body.items()
        if name in weights and weights[name].shape != value.shape
    }
    unknown = [name for name in weights if name not in body and name not in head]
    return faults | {name: f"{name} is unknown" for name in unknown}


def unmatched_weights(model: nn.Module, path: Path, unmatched: str) -> str:
    """Warning that lists the accepted differences of a file of weights; "" if there are none."""
    faults = weight_faults(model, _adapted(read_weights(path), model)) if unmatched else {}
    if not faults:
        return ""
    return (
        f"weights accepted although they differ from the model: {listing(list(faults.values()), 5)}"
    )


def _matching(names: Iterable[str], patterns: str) -> set[str]:
    """The names that match one of the comma-separated patterns."""
    each = [pattern.strip() for pattern in patterns.split(",")]
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in each)}


def _adapted(weights: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights by timm's names, with the parts that depend on the image size resized by timm."""
    if EFFICIENTNET_PYTORCH in weights and hasattr(model, "blocks"):
        weights = _timm_names(weights, model)
    adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if adapt is None:
        return weights
    with warnings.catch_warnings():
        # torch warns of the indexing in timm's interpolation; the result is right
        warnings.simplefilter("ignore", UserWarning)
        adapted: dict[str, torch.Tensor] = adapt(weights, model)
    return adapted


EFFICIENTNET_PYTORCH = "_conv_stem.weight"
"""This name identifies weights of the package efficientnet-pytorch."""
STEM_NAMES = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
              "_fc": "classifier"}  # fmt: skip
SEPARABLE_NAMES = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw",
                   "_bn2": "bn2"}  # fmt: skip
INVERTED_NAMES = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
                  "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
ATTENTION_NAMES = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}


def _timm_names(weights: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of efficientnet-pytorch by timm's names; an unknown name stays.

    efficientnet-pytorch numbers the blocks, timm groups them by stages; a block without expansion
    has fewer layers.
    """
    stages: Any = model.blocks
    blocks = [
        (f"blocks.{s}.{n}", each) for s, stage in enumerate(stages) for n, each in enumerate(stage)
    ]
    renamed = {}
    for name, value in weights.items():
        layer, _, rest = name.partition(".")
        number, _, inner = rest.partition(".")
        if layer == "_blocks" and number.isdecimal() and int(number) < len(blocks):
            prefix, block = blocks[int(number)]
            names = INVERTED_NAMES if hasattr(block, "conv_pwl") else SEPARABLE_NAMES
            part, _, last = inner.partition(".")
            known = (names | ATTENTION_NAMES).get(part, part)
            renamed[f"{prefix}.{known}.{last}"] = value
        else:
            renamed[f"{STEM_NAMES.get(layer, layer)}.{rest}"] = value
    return renamed


WEIGHTS_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Entries of a training's checkpoint that hold weights; timm takes the first one, so averaged
weights before raw ones."""


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a .safetensors, .pt or .pth file; no code in it is executed.

    Prefixes of DataParallel and of torch.compile are removed from the names, as timm does.
    """
    return _read(path)[1]


def weights_entry(path: Path) -> str:
    """Which entry of a checkpoint's file the weights are: one of WEIGHTS_KEYS, "" for the file."""
    return "" if path.suffix == ".safetensors" else _read(path)[0]


def _read(path: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """The entry of a file that holds its weights, and the weights."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return "", load_file(path)
        with torch.serialization.safe_globals([Namespace]):  # the options of a timm training
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - safetensors and torch raise many kinds for a broken file
        raise MethodError(f"{path}: cannot be read as weights: {error}") from None
    entry, state = "", content
    if isinstance(content, dict):
        entry = next((key for key in WEIGHTS_KEYS if isinstance(content.get(key), dict)), "")
        state = content[entry] if entry else content
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise MethodError(f"{path}: contains no tensors by name")
    from timm.models import clean_state_dict

    return entry, clean_state_dict(state)


class Freezing:
    """Freezing of layers in fine-tuning; the recipe freezes nothing without pretrained weights.

    In the first `frozen_epochs` only the head learns. Over the next `unfreeze_epochs` the stages of
    the body are unfrozen one by one from the head down. Parameters that the model's code froze
    (`requires_grad_(False)`) never learn. Frozen modules stay in evaluation mode, so their
    batch-norm statistics do not change.

    learning  names of the parameters that learn in some epoch
    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, pretrained: bool) -> None:
        self.model = model
        self.frozen_epochs = recipe.freeze_epochs if pretrained else 0
        self.unfreeze_epochs = recipe.unfreeze_epochs if pretrained else 0
        if self.frozen_epochs and not head_names(model):
            raise MethodError("freeze_epochs: the model has no get_classifier() for its head")
        self.stages = layers(model, coarse=True) if self.unfreeze_epochs else {}
        self.learning = {name for name, p in model.named_parameters() if p.requires_grad}
        if not self.learning:
            raise MethodError(
                "the model has no parameter that learns: requires_grad is false in all"
            )

    def start_phase(self, *, head_only: bool) -> None:
        """Select the parameters of the phase's optimizer: the head's, or all that learn."""
        head = head_names(self.model)
        if head_only and not head & self.learning:
            raise MethodError("freeze_epochs: only the head would learn, and build_model froze it")
        self._let_learn(self.learning & head if head_only else self.learning)

    def _let_learn(self, names: set[str]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in names)

    def enter(self, epoch: int) -> None:
        """Set training mode for an epoch, and evaluation mode for frozen modules."""
        if epoch < self.frozen_epochs:
            self.model.train(mode=False)
            self.model.get_classifier().train()  # type: ignore[operator]
            return
        self.model.train()
        if self.stages:
            self._let_learn(self.learning - self._frozen_stages(epoch))
        for module in self.model.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                module.training = False  # not its children, which may learn

    def _frozen_stages(self, epoch: int) -> set[str]:
        """Names of the parameters in stages that are not yet unfrozen in this epoch."""
        depth = max(self.stages.values())
        # counted with the head's group; all are unfrozen after the last of these epochs
        share = (epoch - self.frozen_epochs + 1) / (self.unfreeze_epochs + 1)
        return {name for name, stage in self.stages.items() if depth - stage >= share * (depth + 1)}
