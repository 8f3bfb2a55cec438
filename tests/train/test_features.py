"""Frozen features are what timm's own model without a head gives, and are computed once."""

import numpy as np
import pytest
import timm
import torch

from bench.errors import MethodError
from bench.method import Recipe
from bench.train import features
from bench.train.models import IMAGENET_MEAN, IMAGENET_STD, build_model

RECIPE = Recipe(model="resnet18", image_size=32)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "resnet18.pth"
    torch.save(build_model(RECIPE, 3, None).state_dict(), path)
    return path


def test_features_are_those_of_the_model_without_its_head(make_task, weights):
    task = make_task(RECIPE, weights=weights)
    made = features.frozen_features(task)(task.test)
    model = timm.create_model("resnet18", num_classes=0).eval()
    state = torch.load(weights, weights_only=True)
    model.load_state_dict({name: v for name, v in state.items() if not name.startswith("fc.")})
    images = task.test.images.take(np.arange(len(task.test))) / 255
    scaled = (images - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    with torch.inference_mode():
        expected = model(torch.from_numpy(scaled).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    assert task.journal.facts["initial_weights"] == "resnet18.pth"


def test_other_weights_have_other_features_and_the_same_ones_are_read_again(
    make_task, weights, monkeypatch
):
    with_weights, without = make_task(RECIPE, weights=weights), make_task(RECIPE)
    first = features.frozen_features(with_weights)(with_weights.val)
    assert not np.array_equal(features.frozen_features(without)(without.val), first)
    monkeypatch.setattr(features, "_computed", None)
    again = features.frozen_features(with_weights)(with_weights.val)
    np.testing.assert_array_equal(again, first)


def test_a_model_without_features_is_refused(make_task):
    with pytest.raises(MethodError, match="model=custom_cnn: .*timm"):
        features.frozen_features(make_task(Recipe(image_size=16)))
