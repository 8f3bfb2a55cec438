"""Options without effect: refused in --set, left out of the combinations of a sweep."""

import pytest

from bench.errors import MethodError
from bench.method import OWN_MODEL, Recipe
from bench.protocol import parse_protocol
from bench.recipe import NEEDS, TUNED, TrainingSetup, inactive_options
from bench.run.planner import MethodRequest, Weights, drop_inactive, own_inactive
from bench.run.registry import load_method, method_names
from bench.settings import BASELINES
from tests.run.test_plan import PROTOCOL

TUNING = [
    ("drop_path=0.1", "model=resnet18"),
    ("head_lr=0.1", "freeze_epochs=1"),
    ("momentum=0.5", "optimizer=rmsprop"),
    ("plateau_factor=0.1", "schedule=plateau"),
    ("plateau_patience=1", "schedule=plateau"),
    ("sampler=class_aware", "sampler_power=0.5"),
    ("rare_augment=1", "erasing_prob=0.1"),
    ("class_weight_prior=natural", "sampler_power=0.5 class_weight_power=1"),
    ("class_weight_from=2", "class_weight_beta=0.99"),
    ("focal_gamma=1", "loss=focal"),
    ("ldam_margin=0.1", "loss=ldam"),
    ("ldam_scale=10", "loss=ldam"),
    ("supcon_temperature=1", "supcon_epochs=1"),
    ("prototype_scale=3", "head=prototypes"),
    ("cutmix_alpha=0.5", "cutmix_prob=0.5"),
    ("mixup_alpha=2", "mixup_prob=0.5"),
    ("mix_off_epochs=2", "mixup_prob=0.5"),
    ("rand_ops=3", "auto_augment=rand"),
    ("rand_magnitude=0.9", "auto_augment=rand"),
    ("pseudo_threshold=0.5", "unlabelled=ab"),
    ("ema_warmup=false", "ema_decay=0.9"),
]
BLOCKED = [
    ("cutmix_prob=0.5", "mix_off_epochs=20"),
    ("mixup_prob=0.5", "batch_size=1"),
    ("class_weight_power=1", "class_weight_from=20"),
    ("class_weight_beta=0.9", "sampler_power=1"),
    ("logit_adjustment=1", "sampler_power=1"),
    ("prototype_scale=3", "head=prototypes loss=ldam"),
    ("class_weight_prior=natural", "class_weight_power=1"),
    ("dropout=0.5", f"model={OWN_MODEL}"),
]
WITH_WEIGHTS = ("unmatched_weights=neck.*", "freeze_epochs=1", "unfreeze_epochs=1")


def read(words):
    return dict(word.split("=", 1) for word in words.split())


def inactive(*words, weights=True, devices=1):
    recipe = Recipe().with_overrides(read(" ".join(words)))
    return inactive_options(recipe, TrainingSetup(weights=weights, devices=devices))


@pytest.mark.parametrize(("option", "other"), TUNING)
def test_an_option_that_tunes_another_has_no_effect_without_it(option, other):
    assert list(inactive(option)) == [option.partition("=")[0]]
    assert inactive(other, option) == {}


@pytest.mark.parametrize(("option", "other"), BLOCKED)
def test_an_option_that_another_one_blocks_has_no_effect(option, other):
    assert option.partition("=")[0] in inactive(option, other)


def test_freezing_needs_weights_and_shared_norms_need_devices():
    for option in WITH_WEIGHTS:
        assert inactive(option) == {}
        assert list(inactive(option, weights=False)) == [option.partition("=")[0]]
    assert list(inactive("sync_batch_norm=true")) == ["sync_batch_norm"]
    assert inactive("sync_batch_norm=true", devices=2) == {}


def test_every_option_that_needs_another_is_tested_here():
    tested = {pair[0].partition("=")[0] for pair in (*TUNING, *BLOCKED)}
    tested |= {word.partition("=")[0] for word in WITH_WEIGHTS} | {"sync_batch_norm"}
    assert set(NEEDS) == tested
    assert set(NEEDS) > set(TUNED)


def test_an_option_tunes_an_option_of_the_recipe_or_of_the_command_line():
    assert {name for name in TUNED.values() if not name.startswith("--")} <= set(
        Recipe.model_fields
    )


def test_an_option_set_to_its_default_is_not_listed():
    assert inactive("mix_off_epochs=0", "ema_warmup=true") == {}


@pytest.mark.parametrize("name", method_names(BASELINES))
def test_no_baseline_has_an_option_without_effect(name):
    assert own_inactive(load_method(name, BASELINES).method) == ""


def requests(*variants, method="custom_cnn", weights=Weights()):
    loaded = load_method(method, BASELINES)
    return [MethodRequest(loaded, read(variant), weights) for variant in variants]


def settled(settled_requests, devices=1):
    return drop_inactive(parse_protocol(PROTOCOL, "p"), "small", settled_requests, devices)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("focal_gamma=3", r"focal_gamma=3: no effect in custom_cnn, since loss is not focal"),
        ("drop_path=0.1 epochs=2", "drop_path=0.1: no effect .* no paths to drop"),
        ("cutmix_prob=1 mix_off_epochs=3", "cutmix_prob=1: no effect"),
        ("freeze_epochs=2", "freeze_epochs=2: .* weights is frozen"),
        ("sync_batch_norm=true", "a job has one device"),
    ],
)
def test_an_override_without_effect_is_refused(words, message):
    with pytest.raises(MethodError, match=message):
        settled(requests(words))


def test_a_sweep_tries_an_option_only_where_it_has_an_effect():
    grid = [f"optimizer={o} momentum={m}" for o in ("adamw", "sgd") for m in ("0.5", "0.8")]
    overrides = [dict(ask.overrides) for ask in settled(requests(*grid))]
    assert overrides[:2] == [{"optimizer": "adamw"}] * 2
    assert overrides[2:] == [read(words) for words in grid[2:]]
    with pytest.raises(MethodError, match="momentum=0.5: no effect"):
        settled(requests(*grid[:2]))


def test_a_method_with_its_own_training_may_use_any_option():
    settled_requests = requests("focal_gamma=3", method="metadata_logistic")
    assert settled(settled_requests) == settled_requests


def test_a_recipe_option_of_the_user_without_effect_is_reported(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from bench.method import Recipe\nRECIPE = Recipe(focal_gamma=3.0)\n")
    assert (
        own_inactive(load_method(str(path), BASELINES).method)
        == "focal_gamma=3.0 (loss is not focal)"
    )
