"""Recipes: switches by name and type, nothing else."""

import pytest

from bench.errors import MethodError
from bench.method import Recipe, parse_overrides


def test_overrides_are_read_as_the_switchs_type():
    recipe = Recipe(early_stopping=5).with_overrides(
        parse_overrides(
            ("epochs=3", "lr=1e-4", "amp=false", "early_stopping=none", "model=resnet18")
        )
    )
    assert (recipe.epochs, recipe.lr, recipe.amp) == (3, 1e-4, False)
    assert recipe.early_stopping is None
    assert recipe.model == "resnet18"


def test_none_is_nothing_or_a_word_as_the_switch_has_it():
    recipe = Recipe(tta="flips", auto_augment="rand", ema_decay=0.9, drop_path=0.1, grad_clip=1)
    words = ("tta=none", "auto_augment=none", "ema_decay=none", "drop_path=None", "grad_clip=none")
    assert recipe.with_overrides(parse_overrides(words)) == Recipe()
    declared = recipe.with_overrides(parse_overrides(("pretraining_data=none", "pretrained=none")))
    assert (declared.pretraining_data, declared.pretrained) == ("none", None)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("epochs=many", "epochs='many'"),
        ("epochs=0", "epochs='0'"),
        ("epoch=3", "unknown switch 'epoch'; known are model"),
        ("mixup_prob=1.5", "mixup_prob"),
        ("optimizer=magic", "optimizer='magic'"),
        ("class_loss_scale=mel", "class_loss_scale='mel': takes name:number,name:number"),
        ("class_loss_scale=mel:0", "class_loss_scale.mel='0': input should be greater than 0"),
    ],
)
def test_a_wrong_switch_is_named(setting, said):
    with pytest.raises(MethodError, match=said):
        Recipe().with_overrides(parse_overrides((setting,)))


def test_a_setting_without_value_is_refused():
    with pytest.raises(MethodError, match="key=value, not epochs"):
        parse_overrides(("epochs",))


def test_switches_are_those_that_differ_from_the_defaults():
    assert Recipe().switches() == {}
    assert Recipe(epochs=3).switches() == {"epochs": 3}


def test_factors_by_class_are_read_from_text_or_given():
    text = Recipe().with_overrides({"class_loss_scale": "mel:2,bkl:1.5"})
    assert text.class_loss_scale == {"mel": 2.0, "bkl": 1.5}
    assert text.switches() == {"class_loss_scale": {"mel": 2.0, "bkl": 1.5}}
    assert Recipe(class_loss_scale={"mel": 2, "bkl": 1.5}) == text
    assert Recipe.model_validate(text.model_dump()) == text


def test_two_kinds_of_class_weights_exclude_each_other():
    with pytest.raises(MethodError, match="exclude each other: set one"):
        Recipe(class_weight_power=0.5).with_overrides({"class_weight_beta": "0.9"})


def test_a_batch_is_mixed_in_one_way_at_most():
    assert Recipe(cutmix_prob=0.7, mixup_prob=0.3).mixup_prob == 0.3
    with pytest.raises(MethodError, match="sum to 1.1: a batch is mixed in one way at most"):
        Recipe(cutmix_prob=0.8).with_overrides({"mixup_prob": "0.3"})
