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


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("epochs=many", "epochs='many'"),
        ("epochs=0", "epochs='0'"),
        ("epoch=3", "unknown switch 'epoch'; known are model"),
        ("mixup_prob=1.5", "mixup_prob"),
        ("optimizer=magic", "optimizer='magic'"),
        ("class_loss_scale=mel", "class_loss_scale='mel': takes class:number,class:number"),
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
