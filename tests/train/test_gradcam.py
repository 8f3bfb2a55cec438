"""Grad-CAM against its definition, written out; of the layer that still knows places."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import MethodError
from bench.method import Recipe
from bench.train.evaluate import Scale
from bench.train.models import build_model
from bench.train.predictor import Classifier, features_of, heat_maps

SWIN, VIT = "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"


def classifier_of(model, recipe):
    scale = Scale.of(model, torch.device("cpu"))
    return Classifier(model.eval(), ("a", "b", "c"), recipe, (), scale, 1.0)


def some_classifier(name, size):
    torch.manual_seed(0)
    recipe = Recipe(model=name, image_size=size)
    return classifier_of(build_model(recipe, 3, None), recipe)


def image_of(size):
    return np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("custom_cnn", 64, "stages"),
        ("custom_cnn", 32, "stages.3.2"),
        ("resnet18", 128, "layer4"),
        ("resnet18", 32, "layer2"),
        (SWIN, 128, "norm"),
        (VIT, 64, "blocks[-1].norm1"),
    ],
)
def test_the_deepest_layer_that_knows_places_is_explained(name, size, layer):
    classifier = some_classifier(name, size)
    found = features_of(classifier.model, torch.zeros(1, 3, size, size))
    assert found.name.startswith(layer)


@pytest.mark.parametrize("name", ["custom_cnn", "resnet18"])
def test_the_map_is_selvarajus(name):
    classifier, image = some_classifier(name, 128), image_of(128)
    batch = classifier.scale.normalise(classifier.scale.unit(image[None]))
    layer = features_of(classifier.model, batch).layer
    kept = []
    hook = layer.register_forward_hook(lambda _m, _i, output: kept.append(output))
    for label, found in enumerate(heat_maps(classifier, image, (0, 1, 2))):
        kept.clear()
        score = classifier.model(batch)[0, label]
        features = kept[0]
        (gradient,) = torch.autograd.grad(score, features)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        by_hand = (weights * features).sum(dim=1).relu()[0].detach().numpy()
        by_hand = by_hand - by_hand.min()
        by_hand = cv2.resize(by_hand / (by_hand.max() + 1e-7), (128, 128))
        expected = (by_hand - by_hand.min()) / (by_hand.max() - by_hand.min() + 1e-7)
        assert np.allclose(found, expected, atol=1e-4)
    hook.remove()


class Corner(nn.Module):
    """Class 1 is the red in the upper left quarter, class 0 the red in the lower right one."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.shown = nn.Identity()
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])[:, :, None, None])

    def forward(self, images):
        maps = self.features(images).clone()
        half = maps.shape[-1] // 2
        mask = torch.zeros_like(maps)
        mask[:, 0, half:, half:] = 1
        mask[:, 1, :half, :half] = 1
        return self.shown(maps * mask).sum(dim=(2, 3))


def test_a_map_lies_where_the_class_is():
    model = Corner()
    scale = Scale(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    classifier = Classifier(model, ("lower", "upper"), Recipe(), (), scale, 1.0)
    image = np.full((16, 16, 3), 200, np.uint8)
    lower, upper = heat_maps(classifier, image, (0, 1))
    assert lower[8:, 8:].min() > 0.9
    assert lower[:8].max() < 0.1
    assert upper[:8, :8].min() > 0.9
    assert upper[8:].max() < 0.1


@pytest.mark.parametrize(("name", "size"), [("efficientnet_b0", 64), (SWIN, 64), (VIT, 64)])
def test_maps_of_other_families_have_the_images_size_and_differ_by_class(name, size):
    classifier = some_classifier(name, size)
    before = [p.clone() for p in classifier.model.parameters()]
    maps = heat_maps(classifier, image_of(size), (0, 1))
    assert maps.shape == (2, size, size)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert np.abs(maps[0] - maps[1]).max() > 0.05
    assert all(
        torch.equal(a, b) for a, b in zip(before, classifier.model.parameters(), strict=True)
    )


def test_a_model_without_places_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    with pytest.raises(MethodError, match="no spatial features"):
        features_of(model, torch.zeros(1, 3, 4, 4))
