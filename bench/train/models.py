"""Models: the custom CNN and timm's, pretrained weights, frozen layers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bench.errors import MethodError, listing
from bench.method import OWN_MODEL, Recipe

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class CustomCNN(nn.Module):
    """A compact CNN: four stages of two 3x3 convolutions with batch norm, average pool, head.

    Images (N, 3, H, W), H and W at least 16; gives logits (N, num_classes). 0.66 million weights.
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
        """The head, by the name that timm's models give it."""
        return self.head

    def group_matcher(self, *, coarse: bool = False) -> dict[str, str]:  # noqa: ARG002
        """Patterns of the layers' names, as timm's models tell them."""
        return {"blocks": r"^stages\.(\d+)"}


class CosineHead(nn.Module):
    """Logits `scale` times the cosine of features and each class's direction; no bias.

    The normalised classifier of LDAM (Cao et al. 2019).
    """

    def __init__(self, features: int, num_classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, features))
        nn.init.xavier_uniform_(self.weight)
        self.scale = scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes) of features (N, F)."""
        # in float32 also under mixed precision: 30 times the rounding of bfloat16 is 0.1
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
    """The recipe's model, its body from `weights` where given, its head always new.

    own_model  builds it in place of the recipe's name, which then is OWN_MODEL
    Raises MethodError for a name that timm does not know, or weights that do not fit.
    """
    if (own_model is not None) != (recipe.model == OWN_MODEL):
        raise MethodError(
            f"model={recipe.model!r}: this method builds its own model; leave `model` out"
            if own_model is not None
            else f"model={OWN_MODEL!r}: was built by its method's file, which is needed for it"
        )
    if own_model is not None:
        model = _own(own_model, num_classes)
    elif recipe.model == "custom_cnn":
        model = CustomCNN(num_classes, recipe.dropout)
    else:
        model = _timm_model(recipe, num_classes)
    if recipe.loss == "ldam":
        _give_cosine_head(model, recipe.ldam_scale, "loss=ldam")
    elif recipe.head == "prototypes":
        _give_cosine_head(model, recipe.prototype_scale, "head=prototypes")
    if weights is not None:
        load_body(model, weights, recipe.unmatched_weights)
    return model


def _own(build: Callable[[int], nn.Module], num_classes: int) -> nn.Module:
    """What a method's own build_model gives. Raises MethodError where it is no torch module."""
    built = build(num_classes)
    if not isinstance(built, nn.Module):
        raise MethodError(f"build_model gave {type(built).__name__}, not a torch.nn.Module")
    return built


def _timm_model(recipe: Recipe, num_classes: int) -> nn.Module:
    import timm

    name = recipe.model
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise MethodError(f"timm has no model {name!r}; near it: {listing(near)}")
    settings: dict[str, Any] = {"drop_rate": recipe.dropout}
    if recipe.drop_path is not None:
        settings["drop_path_rate"] = recipe.drop_path
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        # transformers with positions are built for one image size
        settings["img_size"] = recipe.image_size
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=num_classes, **settings
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        told = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise MethodError(f"timm cannot make {name} with {told}: {error}") from None
    return model


def _give_cosine_head(model: nn.Module, scale: float, switch: str) -> None:
    """Put a head of cosines in place of the linear one."""
    if not hasattr(model, "get_classifier"):
        raise MethodError(f"{switch}: the model has no get_classifier() that tells its head")
    head = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear):
        raise MethodError(f"{switch} needs a linear head; this model's is {type(head).__name__}")
    path = next(name for name, module in model.named_modules() if module is head)
    parent, _, name = path.rpartition(".")
    cosines = CosineHead(head.in_features, head.out_features, scale)
    setattr(model.get_submodule(parent), name, cosines)


def memory_layout(recipe: Recipe) -> torch.memory_format:
    """How a recipe wants weights and images to lie in memory."""
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in [0, 1] that the model wants its images scaled by."""
    settings: Mapping[str, Any] = getattr(model, "default_cfg", None) or {}
    return (
        tuple(settings.get("mean", IMAGENET_MEAN)),
        tuple(settings.get("std", IMAGENET_STD)),
    )


def head_names(model: nn.Module) -> set[str]:
    """Names of the head's parameters and buffers; none of a model that does not tell its head."""
    if not hasattr(model, "get_classifier"):
        return set()
    head = model.get_classifier()  # type: ignore[operator]
    prefix = next(name for name, module in model.named_modules() if module is head)
    return {name for name in model.state_dict() if name.startswith(f"{prefix}.")}


def layers(model: nn.Module, *, coarse: bool = False) -> dict[str, int]:
    """The depth of each parameter by name: 0 at the image, the largest at the head.

    Coarse: by stages instead of blocks. Raises MethodError where a model does not tell its layers.
    """
    from timm.models import group_parameters

    if not hasattr(model, "group_matcher"):
        raise MethodError(
            f"{type(model).__name__} does not tell its layers: layer_decay and unfreeze_epochs "
            "cannot be used with it"
        )
    depth = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)  # type: ignore[operator]
    return {name: int(depth[name]) for name, _ in model.named_parameters()}


def load_body(model: nn.Module, path: Path, unmatched: str = "") -> None:
    """Load everything but the head from a file of weights.

    unmatched  patterns of keys, separated by commas, that need not fit and then stay as they are
    Raises MethodError unless all others fit.
    """
    found = _adapted(read_weights(path), model)
    faults = weight_faults(model, found)
    named = _named(faults, unmatched)
    unnamed = [fault for name, fault in faults.items() if name not in named]
    if unnamed:
        raise MethodError(
            f"{path}: these weights are not the model's: {listing(unnamed, 5)}; give the file of "
            "this very architecture, in timm's naming, or name the keys that need not match "
            "(--set unmatched_weights=...)"
        )
    fitting = set(model.state_dict()) - head_names(model) - set(faults)
    model.load_state_dict({name: found[name] for name in fitting}, strict=False)


def weight_faults(model: nn.Module, found: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """What does not fit between tensors by name and a model without its head, by key."""
    head = head_names(model)
    wanted = {name: value for name, value in model.state_dict().items() if name not in head}
    faults = {name: f"{name} is missing" for name in wanted if name not in found}
    faults |= {
        name: f"{name} is {tuple(found[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    }
    unknown = [name for name in found if name not in wanted and name not in head]
    return faults | {name: f"{name} is unknown" for name in unknown}


def unmatched_weights(model: nn.Module, path: Path, unmatched: str) -> str:
    """What a file of weights was let pass with, in a sentence; "" where all of it fits."""
    faults = weight_faults(model, _adapted(read_weights(path), model)) if unmatched else {}
    if not faults:
        return ""
    return f"weights let pass although they do not match: {listing(list(faults.values()), 5)}"


def _named(names: Iterable[str], patterns: str) -> set[str]:
    """The names that one of the patterns, separated by commas, fits."""
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in wanted)}


def _adapted(found: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """The same with what depends on the image size resized, as timm does it for this model."""
    adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if adapt is None:
        return found
    with warnings.catch_warnings():
        # torch finds fault with how timm's interpolation indexes and searches, not with its result
        warnings.simplefilter("ignore", UserWarning)
        adapted: dict[str, torch.Tensor] = adapt(found, model)
    return adapted


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from a .safetensors, .pt or .pth file; nothing in it is executed."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - safetensors and torch raise many kinds for a broken file
        raise MethodError(f"{path}: cannot be read as weights: {error}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise MethodError(f"{path}: holds no tensors by name")
    return state


class Freezing:
    """The freezing of a fine-tuning; none where the weights are from scratch.

    A new head on random features teaches nothing, so freezing needs pretrained weights. In the
    first `frozen_epochs` only the head learns. Then, over `unfreeze_epochs`, the body's stages
    thaw one after the other from the head down. Frozen modules stay in evaluation mode, so their
    batch norms do not move.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, pretrained: bool) -> None:
        self.model = model
        self.frozen_epochs = recipe.freeze_epochs if pretrained else 0
        self.thawing_epochs = recipe.unfreeze_epochs if pretrained else 0
        if self.frozen_epochs and not head_names(model):
            raise MethodError(
                "freeze_epochs: the model has no get_classifier() that tells its head"
            )
        self.stages = layers(model, coarse=True) if self.thawing_epochs else {}

    def start_phase(self, *, head_only: bool) -> None:
        """Say which parameters the phase's optimizer gets: the head's, or all of them."""
        head = head_names(self.model)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in head or not head_only)

    def enter(self, epoch: int) -> None:
        """Put the model into training mode for an epoch, but for what is frozen in it."""
        if epoch < self.frozen_epochs:
            self.model.train(mode=False)
            self.model.get_classifier().train()  # type: ignore[operator]
            return
        self.model.train()
        if self.stages:
            self._thaw_until(epoch)

    def _thaw_until(self, epoch: int) -> None:
        """Freeze the stages whose turn has not come."""
        depth = max(self.stages.values())
        # with the head's group, all thaw at once after the last of these epochs
        thawed = (epoch - self.frozen_epochs + 1) / (self.thawing_epochs + 1)
        frozen = {
            name for name, stage in self.stages.items() if depth - stage >= thawed * (depth + 1)
        }
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
        for name, module in self.model.named_modules():
            own = [f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)]
            if own and frozen.issuperset(own):
                module.eval()
