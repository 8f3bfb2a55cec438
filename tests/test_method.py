"""Recipes: options by name and type, their help, and suggestions for a wrong name."""

import pytest

from bench.errors import MethodError
from bench.method import Recipe, parse_overrides
from bench.recipe import option_table


def test_overrides_are_converted_to_the_type_of_the_option():
    recipe = Recipe(early_stopping=5).with_overrides(
        parse_overrides(
            ("epochs=3", "lr=1e-4", "amp=false", "early_stopping=none", "model=resnet18")
        )
    )
    assert (recipe.epochs, recipe.lr, recipe.amp) == (3, 1e-4, False)
    assert recipe.early_stopping is None
    assert recipe.model == "resnet18"


def test_the_text_none_means_none_only_where_it_is_not_a_value_of_the_option():
    recipe = Recipe(tta="flips", auto_augment="rand", ema_decay=0.9, drop_path=0.1, grad_clip=1)
    words = ("tta=none", "auto_augment=none", "ema_decay=none", "drop_path=None", "grad_clip=none")
    assert recipe.with_overrides(parse_overrides(words)) == Recipe()
    declared = recipe.with_overrides(parse_overrides(("pretraining_data=none", "pretrained=none")))
    assert (declared.pretraining_data, declared.pretrained) == ("none", None)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs=many", "epochs='many'"),
        ("epochs=0", "epochs='0'"),
        ("epoch=3", r"unknown option 'epoch'; did you mean epochs( or|\?)"),
        ("zzzz=3", "unknown option 'zzzz'; docs/training.md lists the options"),
        ("mixup_prob=1.5", "mixup_prob"),
        ("optimizer=magic", "optimizer='magic'"),
        ("class_loss_scale=mel", "class_loss_scale='mel': takes name:number,name:number"),
        ("class_loss_scale=mel:0", "class_loss_scale.mel='0': input should be greater than 0"),
    ],
)
def test_a_wrong_option_is_named(setting, message):
    with pytest.raises(MethodError, match=message):
        Recipe().with_overrides(parse_overrides((setting,)))


def test_a_setting_without_value_is_refused():
    with pytest.raises(MethodError, match="key=value, not epochs"):
        parse_overrides(("epochs",))


def test_changed_options_are_those_that_differ_from_the_defaults():
    assert Recipe().changed_options() == {}
    assert Recipe(epochs=3).changed_options() == {"epochs": 3}


def test_factors_by_class_are_read_from_text_or_given():
    text = Recipe().with_overrides({"class_loss_scale": "mel:2,bkl:1.5"})
    assert text.class_loss_scale == {"mel": 2.0, "bkl": 1.5}
    assert text.changed_options() == {"class_loss_scale": {"mel": 2.0, "bkl": 1.5}}
    assert Recipe(class_loss_scale={"mel": 2, "bkl": 1.5}) == text
    assert Recipe.model_validate(text.model_dump()) == text


def test_two_kinds_of_class_weights_exclude_each_other():
    with pytest.raises(MethodError, match="exclude each other: set one"):
        Recipe(class_weight_power=0.5).with_overrides({"class_weight_beta": "0.9"})


def test_a_batch_is_mixed_in_one_way_at_most():
    assert Recipe(cutmix_prob=0.7, mixup_prob=0.3).mixup_prob == 0.3
    with pytest.raises(MethodError, match="sum to 1.1: a batch is mixed in one way at most"):
        Recipe(cutmix_prob=0.8).with_overrides({"mixup_prob": "0.3"})


def test_a_wrong_name_suggests_a_few_near_names_and_not_all():
    with pytest.raises(MethodError) as raised:
        Recipe().with_overrides({"focal_gama": "2"})
    assert "did you mean focal_gamma?" in str(raised.value)
    assert "image_size" not in str(raised.value)


def test_every_option_has_a_type_and_one_line_of_help_and_a_default_that_it_accepts():
    table = option_table()
    assert [option.name for option in table] == list(Recipe.model_fields)
    assert all(option.type and option.help.endswith(".") for option in table)
    assert max(len(option.help) for option in table) <= 100
    defaults = {option.name: option.default for option in table if option.default}
    assert Recipe().with_overrides(defaults) == Recipe()
    options = {option.name: option for option in table}
    assert options["grad_clip"].type == "number or none"
    assert options["metadata"].type == "none|late"
    assert options["freeze_epochs"][1:3] == ("integer", "0")
    assert options["amp"][1:3] == ("true|false", "true")
