"""Initial weights of the classifier: logits near 0, so that the first loss is that of no knowledge.

timm initialises the head of some models with large weights (EfficientNet with 7 classes: standard
deviation 0.22); then the first loss is three times ln K, and the first epochs undo it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

HEAD_STD = 0.01
Layer = nn.Linear | nn.Conv2d


def classifier_layers(model: nn.Module, num_classes: int) -> list[tuple[str, Layer]]:
    """Names and modules of the last layers of a model; empty if none is found.

    These are the linear or 1x1 convolution layers with `num_classes` outputs within
    get_classifier(); without that method, the last linear layer with `num_classes` outputs.
    """
    names = {module: name for name, module in model.named_modules()}
    if hasattr(model, "get_classifier"):
        head = model.get_classifier()  # type: ignore[operator]
        parts = head if isinstance(head, tuple | list) else [head]
        modules = [each for part in parts if isinstance(part, nn.Module) for each in part.modules()]
        return [
            (names[each], each)
            for each in modules
            if isinstance(each, Layer) and _outputs(each) == num_classes
        ]
    layers: list[tuple[str, Layer]] = [
        (names[each], each)
        for each in model.modules()
        if isinstance(each, nn.Linear) and each.out_features == num_classes
    ]
    return layers[-1:]


def _outputs(layer: Layer) -> int:
    """Number of outputs of a layer; 0 for a convolution over more than one pixel."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if set(layer.kernel_size) == {1} else 0


def start_small(model: nn.Module, num_classes: int, build: Callable[[], nn.Module]) -> None:
    """Draw the weights of the classifier with standard deviation HEAD_STD and set its bias to 0.

    Only random tensors are drawn again: a tensor that is the same in another model of `build`, with
    another state of torch's generator, was set on purpose: zeros, a prior, or a checkpoint. A
    frozen tensor, and weights that are smaller already, stay as well.
    """
    layers = classifier_layers(model, num_classes)
    if not layers:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed() + 1)
        other = build().state_dict()
    for name, layer in layers:
        for own_name, parameter in layer.named_parameters(recurse=False):
            again = other.get(f"{name}.{own_name}")
            on_purpose = again is not None and torch.equal(again, parameter)
            if on_purpose or not parameter.requires_grad:
                continue
            if own_name == "bias":
                nn.init.zeros_(parameter)
            elif parameter.std() > HEAD_STD:
                nn.init.normal_(parameter, std=HEAD_STD)
