"""Models by name: any of timm's, at any size, with weights of another size."""

from argparse import Namespace

import pytest
import timm
import torch
from safetensors.torch import load_file

from bench.errors import MethodError
from bench.method import Recipe
from bench.run.registry import load_method
from bench.settings import BASELINES
from bench.train import fit_predict
from bench.train.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CosineHead,
    _timm_model,
    build_model,
    layers,
    normalisation,
    read_weights,
)

BY_TIMM = {path.stem for path in BASELINES.glob("*.py")} - {"custom_cnn", "resnet18"}
SWIN = "swin_tiny_patch4_window7_224"


@pytest.mark.parametrize("name", sorted(BY_TIMM))
def test_every_baseline_trains_an_epoch(make_task, name):
    recipe = load_method(name, BASELINES).method.recipe
    task = make_task(recipe.with_overrides({"epochs": 1, "image_size": 32, "batch_size": 12}))
    predictions = fit_predict(task)
    assert set(predictions.image_ids) == set(task.test.image_ids)
    assert len(task.journal.rows) == 1


@pytest.mark.parametrize("size", [32, 64])
def test_swin_takes_weights_made_for_another_size(tmp_path, size):
    made = build_model(Recipe(model=SWIN, image_size=224), 10, None)
    state = made.state_dict()
    bias = "layers.3.blocks.0.attn.relative_position_bias_table"
    offsets = torch.arange(-6.0, 7.0)
    state[bias] = (offsets[:, None] + 100 * offsets).flatten()[:, None].repeat(1, 24)
    path = tmp_path / "swin.pth"
    torch.save(state, path)
    model = build_model(Recipe(model=SWIN, image_size=size), 3, path)
    assert torch.equal(model.patch_embed.proj.weight, made.patch_embed.proj.weight)
    assert model.eval()(torch.zeros(2, 3, size, size)).shape == (2, 3)
    resized = model.state_dict()[bias][:, 0]
    # what grew along each axis still does, and is as odd as it was
    side = int(len(resized) ** 0.5)
    assert torch.allclose(resized, -resized.flip(0), atol=1e-3)
    assert (resized.view(side, side).diff(dim=1) > 0).all()
    assert (resized.view(side, side).diff(dim=0) > 0).all()


def test_a_model_that_timm_cannot_build_is_refused_with_its_settings():
    with pytest.raises(MethodError, match=r"vgg11 with .*drop_path_rate=0.1"):
        build_model(Recipe(model="vgg11", drop_path=0.1), 3, None)


def test_a_head_of_cosines_forgets_the_length_of_features_and_weights():
    torch.manual_seed(0)
    head = CosineHead(8, 3, 30.0)
    features = torch.randn(5, 8)
    by_hand = 30 * torch.cosine_similarity(features[:, None], head.weight[None], dim=2)
    assert torch.allclose(head(features), by_hand, atol=1e-5)
    assert torch.allclose(head(7 * features), by_hand, atol=1e-5)


@pytest.mark.parametrize("name", ["custom_cnn", "resnet18", "efficientnet_b0", SWIN])
def test_ldam_gives_any_model_a_head_of_cosines(name):
    model = build_model(Recipe(model=name, image_size=32, loss="ldam"), 3, None)
    assert isinstance(model.get_classifier(), CosineHead)
    assert model.eval()(torch.rand(2, 3, 32, 32)).abs().max() <= 30
    assert max(layers(model).values()) == layers(model)[f"{_name_of_head(model)}.weight"]


def _name_of_head(model):
    return next(name for name, m in model.named_modules() if m is model.get_classifier())


@pytest.mark.parametrize(
    ("model", "pretrained", "mean", "std"),
    [
        ("vit_small_patch16_224", "timm/vit_small_patch16_224.dino", IMAGENET_MEAN, IMAGENET_STD),
        ("vit_small_patch16_224.dino", "timm/vit_small_patch16_224.dino", IMAGENET_MEAN,
         IMAGENET_STD),
        ("vit_small_patch16_224", None, (0.5,) * 3, (0.5,) * 3),
        ("vit_small_patch16_224", "me/vit_of_mine", (0.5,) * 3, (0.5,) * 3),
        ("vit_base_patch16_224", "timm/vit_base_patch16_224.mae", IMAGENET_MEAN, IMAGENET_STD),
        ("tf_efficientnet_b0", "timm/tf_efficientnet_b0.ap_in1k", (0.5,) * 3, (0.5,) * 3),
        ("tf_efficientnet_lite0", "timm/tf_efficientnet_lite0.in1k", (0.5,) * 3, (0.5,) * 3),
    ],
)  # fmt: skip
def test_images_are_normalised_for_the_weights_that_pretrained_names(model, pretrained, mean, std):
    recipe = Recipe(model=model, pretrained=pretrained, image_size=224)
    with torch.device("meta"):
        built = _timm_model(recipe, 3)
    assert normalisation(built) == (mean, std)


def test_a_tag_that_timm_does_not_know_is_refused_with_those_it_knows():
    recipe = Recipe(model="resnet18", pretrained="timm/resnet18.nonsense")
    with pytest.raises(MethodError, match=r"resnet18.nonsense.*resnet18.a1_in1k"):
        build_model(recipe, 3, None)


def test_a_training_records_its_normalisation(make_task):
    recipe = Recipe(model="tf_efficientnet_lite0", image_size=32, epochs=1, batch_size=12)
    task = make_task(recipe)
    fit_predict(task)
    assert task.journal.facts["normalisation"] == {"mean": [0.5] * 3, "std": [0.5] * 3}


def test_averaged_weights_of_a_training_are_taken_before_raw_ones_and_named(make_task, tmp_path):
    """As timm takes them from the same file."""
    recipe = Recipe(model="resnet18", pretrained="x", image_size=32, epochs=1, batch_size=12,
                    lr=1e-9)  # fmt: skip
    raw, averaged = (build_model(recipe, 3, None).state_dict() for _ in range(2))
    file = tmp_path / "last.pth.tar"
    content = {
        "epoch": 3, "args": Namespace(lr=0.1), "state_dict": raw,
        "state_dict_ema": {f"module.{name}": value for name, value in averaged.items()},
    }  # fmt: skip
    torch.save(content, file)
    found = read_weights(file)
    assert found.keys() == averaged.keys()
    assert all(torch.equal(found[name], averaged[name]) for name in averaged)
    by_timm = timm.models.load_state_dict(str(file))
    assert all(torch.equal(found[name], by_timm[name]) for name in by_timm)
    task = make_task(recipe, weights=file)
    fit_predict(task)
    assert task.journal.facts["weights_entry"] == "state_dict_ema"
    assert task.journal.facts["initial_weights"] == "last.pth.tar"
    trained = load_file(task.folder / "best.safetensors")["conv1.weight"]
    assert torch.allclose(trained, averaged["conv1.weight"], atol=1e-5)
    torch.save({"state_dict": raw}, file)
    assert torch.equal(read_weights(file)["conv1.weight"], raw["conv1.weight"])


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def names_of_efficientnet_pytorch(blocks):
    """The names of that package in the order of its layers, which is timm's."""

    def norm(name):
        return [f"{name}.{each}" for each in NORM]

    names = ["_conv_stem.weight", *norm("_bn0")]
    for number in range(blocks):
        own = ["_depthwise_conv.weight", *norm("_bn1"), "_project_conv.weight", *norm("_bn2")]
        expansion = ["_expand_conv.weight", *norm("_bn0")] if number else []
        names += [f"_blocks.{number}.{name}" for name in expansion + own]
    return [*names, "_conv_head.weight", *norm("_bn1"), "_fc.weight", "_fc.bias"]


def test_weights_of_efficientnet_pytorch_are_read_by_timms_names(tmp_path):
    recipe = Recipe(model="tf_efficientnet_lite0")
    made = build_model(recipe, 1000, None).state_dict()
    made = {name: torch.rand(value.shape).to(value.dtype) for name, value in made.items()}
    names = names_of_efficientnet_pytorch(16)
    torch.save(dict(zip(names, made.values(), strict=True)), tmp_path / "lite0.pth")
    model = build_model(recipe, 3, tmp_path / "lite0.pth")
    body = {name: value for name, value in model.state_dict().items() if "classifier" not in name}
    assert len(body) == len(made) - 2
    assert all(torch.equal(value, made[name]) for name, value in body.items())
