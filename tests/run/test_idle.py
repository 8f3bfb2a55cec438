"""Switches that change nothing: refused where the user names them, left out of a sweep's rest."""

import pytest

from bench.errors import MethodError
from bench.inactive_options import COMPANIONS, RULES, TrainingSetup, inactive_options
from bench.method import OWN_MODEL, Recipe
from bench.protocol import parse_protocol
from bench.run.planner import MethodRequest, Weights, drop_inactive, own_inactive
from bench.run.registry import load_method, method_names
from bench.settings import BASELINES
from tests.run.test_plan import PROTOCOL

ASKED = [
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
NEVER = [
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


def idle(*words, weights=True, devices=1):
    recipe = Recipe().with_overrides(read(" ".join(words)))
    return inactive_options(recipe, TrainingSetup(weights=weights, devices=devices))


@pytest.mark.parametrize(("switch", "beside"), ASKED)
def test_a_switch_that_speaks_of_another_is_idle_without_it(switch, beside):
    assert list(idle(switch)) == [switch.partition("=")[0]]
    assert idle(beside, switch) == {}


@pytest.mark.parametrize(("switch", "beside"), NEVER)
def test_what_another_switch_takes_all_room_from_is_idle(switch, beside):
    assert switch.partition("=")[0] in idle(switch, beside)


def test_freezing_needs_weights_and_shared_norms_need_devices():
    for switch in WITH_WEIGHTS:
        assert idle(switch) == {}
        assert list(idle(switch, weights=False)) == [switch.partition("=")[0]]
    assert list(idle("sync_batch_norm=true")) == ["sync_batch_norm"]
    assert idle("sync_batch_norm=true", devices=2) == {}


def test_every_rule_is_of_switches_and_every_one_of_them_is_tried_here():
    tried = {word.partition("=")[0] for pair in (*ASKED, *NEVER) for word in pair[:1]}
    tried |= {word.partition("=")[0] for word in WITH_WEIGHTS} | {"sync_batch_norm"}
    ruled = {name for rule in RULES for name in rule.switches}
    assert ruled == tried
    assert ruled >= COMPANIONS
    assert ruled <= set(Recipe.model_fields)


def test_a_default_spelled_out_switches_off_and_is_not_idle():
    assert idle("mix_off_epochs=0", "ema_warmup=true") == {}


@pytest.mark.parametrize("name", method_names(BASELINES))
def test_no_recipe_of_ours_asks_for_what_never_takes_place(name):
    assert own_inactive(load_method(name, BASELINES).method) == ""


def asks(*variants, method="custom_cnn", weights=Weights()):
    loaded = load_method(method, BASELINES)
    return [MethodRequest(loaded, read(variant), weights) for variant in variants]


def settled(asked, devices=1):
    return drop_inactive(parse_protocol(PROTOCOL, "p"), "small", asked, devices)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("focal_gamma=3", r"focal_gamma=3: changes nothing in custom_cnn, since loss is not focal"),
        ("drop_path=0.1 epochs=2", "drop_path=0.1: changes nothing .* no paths to drop"),
        ("cutmix_prob=1 mix_off_epochs=3", "cutmix_prob=1: changes nothing"),
        ("freeze_epochs=2", "only what starts from a file of weights is frozen"),
        ("sync_batch_norm=true", "a job has one device"),
    ],
)
def test_a_named_switch_that_changes_nothing_is_refused(words, said):
    with pytest.raises(MethodError, match=said):
        settled(asks(words))


def test_a_sweep_leaves_a_switch_out_where_it_changes_nothing_and_tries_it_where_it_does():
    grid = [f"optimizer={o} momentum={m}" for o in ("adamw", "sgd") for m in ("0.5", "0.8")]
    overrides = [dict(ask.overrides) for ask in settled(asks(*grid))]
    assert overrides[:2] == [{"optimizer": "adamw"}] * 2
    assert overrides[2:] == [read(words) for words in grid[2:]]
    with pytest.raises(MethodError, match="momentum=0.5: changes nothing"):
        settled(asks(*grid[:2]))


def test_a_method_that_trains_itself_may_use_any_switch():
    asked = asks("focal_gamma=3", method="metadata_logistic")
    assert settled(asked) == asked


def test_what_a_recipe_of_the_users_never_does_is_told(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from bench.method import Recipe\nRECIPE = Recipe(focal_gamma=3.0)\n")
    assert (
        own_inactive(load_method(str(path), BASELINES).method)
        == "focal_gamma=3.0 (loss is not focal)"
    )
