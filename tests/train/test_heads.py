"""The head's initial weights: small where they are random, untouched where they were set."""

import math

import pytest
import torch
from torch import nn

from bench.method import OWN_MODEL, Recipe
from bench.train import diagnostics, fit_predict
from bench.train.fit import fit_predict as fit_own
from bench.train.heads import classifier_layers
from bench.train.models import CosineHead, build_model

NAMES = ["efficientnet_b0", "resnet18", "vit_tiny_patch16_224", "convnext_atto", "vgg11",
         "mobilenetv3_small_050", "deit_tiny_distilled_patch16_224"]  # fmt: skip
OWN = Recipe(model=OWN_MODEL, image_size=16, epochs=1, batch_size=8)


def first_loss(model, size=32):
    torch.manual_seed(1)
    model.train()
    with torch.no_grad():
        logits = model(torch.randn(14, 3, size, size))
    logits = logits[0] if isinstance(logits, tuple) else logits
    return nn.functional.cross_entropy(logits, torch.arange(14) % 7).item()


@pytest.mark.parametrize("name", NAMES)
def test_the_first_loss_of_a_timm_model_is_that_of_no_knowledge(name):
    torch.manual_seed(0)
    model = build_model(Recipe(model=name, image_size=32), 7, None)
    for _, layer in classifier_layers(model, 7):
        assert layer.weight.std() <= 0.0105
        assert layer.bias.abs().max() == 0
    assert len(classifier_layers(model, 7)) == (2 if "distilled" in name else 1)
    assert first_loss(model) == pytest.approx(math.log(7), rel=0.1)


class Net(nn.Module):
    """Features whose logits are large unless the head is small; the head is found by its size."""

    def __init__(self, classes, prepare=nn.Identity()):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(8))
        self.body(torch.zeros(1, 3, 16, 16))
        self.last = nn.Linear(8, classes)
        nn.init.normal_(self.last.weight, std=0.5)
        prepare(self.last)

    def forward(self, images):
        return self.last(30 * self.body(images))


def built(prepare=nn.Identity()):
    torch.manual_seed(0)
    return build_model(OWN, 7, None, lambda classes: Net(classes, prepare)).last


def test_a_random_head_of_ones_own_model_starts_small():
    head = built()
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert head.bias.abs().max() == 0


def test_a_head_that_was_set_on_purpose_stays():
    given = torch.randn(7, 8)
    prior = torch.arange(7.0)

    def as_in_a_checkpoint(head):
        head.weight.data.copy_(given)
        head.bias.data.copy_(prior)

    def with_a_prior(head):
        head.bias.data.copy_(prior)

    assert torch.equal(built(as_in_a_checkpoint).weight, given)
    assert torch.equal(built(as_in_a_checkpoint).bias, prior)
    assert built(lambda head: nn.init.zeros_(head.weight)).weight.abs().max() == 0
    assert built(lambda head: nn.init.normal_(head.weight, std=1e-3)).weight.std() < 2e-3
    assert torch.equal(built(with_a_prior).bias, prior)
    assert built(with_a_prior).weight.std() < 0.02
    assert built(lambda head: head.requires_grad_(False)).weight.std() > 0.3


def test_the_body_and_the_numbers_drawn_after_it_are_those_of_one_build():
    torch.manual_seed(0)
    alone = Net(7)
    torch.manual_seed(0)
    model = build_model(OWN, 7, None, Net)
    assert torch.equal(model.body[1].weight, alone.body[1].weight)


def test_a_large_first_loss_is_a_warning_and_a_small_head_has_none(make_task):
    task = make_task(OWN, "small")
    fit_own(task, Net)
    assert "large first loss" not in task.journal.facts["guards"]
    task = make_task(OWN, "large")
    # the model multiplies its logits itself, which no head can know
    fit_own(task, lambda classes: nn.Sequential(Net(classes), Times()))
    assert "standard deviation of 0.01" in task.journal.facts["guards"]["large first loss"]


class Times(nn.Module):
    def forward(self, logits):
        return logits + 40 * torch.eye(logits.shape[1])[0]


@pytest.mark.parametrize(
    "switches",
    [{}, {"sampler_power": 1}, {"class_weight_power": 1}, {"logit_adjustment": 1},
     {"loss": "focal"}, {"loss": "ldam"}, {"head": "prototypes"}, {"supcon_epochs": 1}],
)  # fmt: skip
def test_no_recipe_of_a_small_head_warns_of_its_first_loss(make_task, switches):
    recipe = Recipe(model="resnet18", image_size=16, epochs=1, batch_size=8)
    task = make_task(recipe.with_overrides(switches))
    fit_predict(task)
    assert "large first loss" not in task.journal.facts["guards"]


def test_the_warning_begins_above_one_and_a_half_times_equal_logits():
    assert diagnostics.large_first_loss(1.5 * math.log(7), math.log(7)) == ""
    assert "6.30" in diagnostics.large_first_loss(6.3, math.log(7))


def test_a_head_of_cosines_is_left_as_it_is():
    model = build_model(Recipe(model="resnet18", loss="ldam"), 7, None)
    assert isinstance(model.get_classifier(), CosineHead)
    assert model.get_classifier().weight.std() > 0.02
