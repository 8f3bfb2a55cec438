"""Methods by file and by installed package: what counts as one, and what tells it from another."""

from __future__ import annotations

import hashlib
import sys

import pytest

from bench.errors import MethodError
from bench.method import OWN_MODEL, Recipe
from bench.run.local_modules import local_modules
from bench.run.registry import inputs_sha256, installed_methods, load_method, method_files
from bench.run.templates import starting_file
from bench.train import fit_predict
from tests.conftest import ROOT

BASELINES = ROOT / "baselines"
BEGINNING = "from bench.method import Method, Recipe\n"


def written(tmp_path, source, name="mine.py"):
    file = tmp_path / name
    file.write_text(BEGINNING + source)
    return load_method(str(file), BASELINES)


def test_a_file_with_a_recipe_alone_is_trained_by_the_engine_under_its_own_name(tmp_path):
    method = written(tmp_path, "RECIPE = Recipe(epochs=3)").method
    assert (method.name, method.recipe, method.fit_predict) == (
        "mine",
        Recipe(epochs=3),
        fit_predict,
    )


def test_a_file_with_a_model_is_trained_by_the_engine_which_is_told_to_build_it(tmp_path):
    source = "def build_model(num_classes):\n    return num_classes\n"
    for more in ("", "from bench.train import fit_predict\n"):
        method = written(tmp_path, source + more).method
        assert method.recipe == Recipe(model=OWN_MODEL)
        assert method.fit_predict.func is fit_predict
        assert method.fit_predict.keywords["build_model"](7) == 7


def test_a_file_with_fit_predict_is_called_itself(tmp_path):
    source = "RECIPE = Recipe(image_size=16)\ndef fit_predict(task):\n    return task\n"
    method = written(tmp_path, source).method
    assert method.fit_predict("task") == "task"
    assert method.recipe == Recipe(image_size=16)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "defines no METHOD .* nor RECIPE, build_model"),
        ("METHOD = 'mine'", "defines no METHOD"),
        ("RECIPE = {'epochs': 3}", "RECIPE is a dict, not a Recipe"),
        ("def build_model(n): pass\ndef fit_predict(t): pass", "remove one"),
    ],
)
def test_a_file_that_is_no_method_says_what_is_missing(tmp_path, source, message):
    with pytest.raises(MethodError, match=message):
        written(tmp_path, source)


def test_a_file_whose_own_name_is_none_or_taken_is_refused(tmp_path):
    with pytest.raises(MethodError, match="use letters, digits"):
        written(tmp_path, "RECIPE = Recipe()", "my method.py")
    with pytest.raises(MethodError, match="'resnet18' is taken"):
        written(tmp_path, "RECIPE = Recipe()", "resnet18.py")


@pytest.mark.parametrize("kind", ["recipe", "model", "whole"])
def test_a_starting_file_is_a_method_with_a_passport(tmp_path, kind):
    file = tmp_path / "mine.py"
    file.write_text(starting_file("mine", kind))
    loaded = load_method(str(file), BASELINES)
    assert loaded.method.name == "mine"
    assert loaded.passport.startswith("mine: ")
    for word in ("source", "licence", "pretrained", "measured", "command"):
        assert f"\n{word}" in loaded.passport
    assert "NAME" not in file.read_text()


@pytest.mark.parametrize("name", ["resnet18", "prior", "a-b", "../x", "1st", ""])
def test_no_starting_file_for_a_name_that_no_method_can_have(name):
    with pytest.raises(MethodError):
        starting_file(name, "recipe", taken=list(method_files(BASELINES)))


USES = "from nets import Net\nRECIPE = Recipe(epochs=Net.epochs)\n"


def test_a_file_imports_the_modules_beside_it_as_they_are_now(tmp_path):
    (tmp_path / "nets.py").write_text("class Net: epochs = 3\n")
    first = written(tmp_path, USES)
    assert first.method.recipe.epochs == 3
    assert written(tmp_path, USES).source_sha256 == first.source_sha256
    (tmp_path / "nets.py").write_text("class Net: epochs = 5\n")  # of the same size and second
    second = written(tmp_path, USES)
    assert second.method.recipe.epochs == 5
    assert second.source_sha256 != first.source_sha256
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "nets.py").write_text("class Net: epochs = 7\n")
    assert written(tmp_path / "other", USES).method.recipe.epochs == 7
    assert written(tmp_path, USES).source_sha256 == second.source_sha256


def test_all_modules_that_a_file_reaches_in_its_folder_are_hashed_and_no_other(tmp_path):
    parts = tmp_path / "parts"
    (parts / "deep").mkdir(parents=True)
    (parts / "__init__.py").write_text("")
    (parts / "deep" / "block.py").write_text("from ..sizes import WIDTH\n")
    (parts / "sizes.py").write_text("import lazy\nWIDTH = 8\n")
    (tmp_path / "lazy.py").write_text("x = 1\n")
    (tmp_path / "unused.py").write_text("x = 1\n")
    source = "RECIPE = Recipe()\nif False:\n    from parts.deep import block\n"
    file = tmp_path / "mine.py"
    known = written(tmp_path, source).source_sha256
    assert list(local_modules(file)) == [
        "lazy.py", "parts/__init__.py", "parts/deep/block.py", "parts/sizes.py",
    ]  # fmt: skip
    for name, counts in (("lazy.py", True), ("parts/sizes.py", True), ("unused.py", False)):
        path = tmp_path / name
        before = path.read_text()
        path.write_text(f"{before}y = 2\n")
        assert (written(tmp_path, source).source_sha256 != known) is counts
        path.write_text(before)


def test_a_file_without_modules_beside_it_has_the_hash_of_its_code(tmp_path):
    code = f"{BEGINNING}RECIPE = Recipe()\n"
    loaded = written(tmp_path, "RECIPE = Recipe()\n")
    assert loaded.source_sha256 == hashlib.sha256(code.encode()).hexdigest()
    assert all(local_modules(path) == {} for path in method_files(BASELINES).values())


def test_a_module_with_the_name_of_an_installed_one_is_refused(tmp_path):
    (tmp_path / "scipy.py").write_text("x = 1\n")
    with pytest.raises(MethodError, match=r"module 'scipy' beside it.*rename"):
        written(tmp_path, "import scipy\nRECIPE = Recipe()\n")


def test_declared_input_files_are_hashed_by_content_and_must_exist(tmp_path):
    (tmp_path / "features.npz").write_bytes(b"old")
    (tmp_path / "tables" / "deep").mkdir(parents=True)
    (tmp_path / "tables" / "deep" / "a.csv").write_text("1")
    source = "INPUTS = ['features.npz', 'tables']\nRECIPE = Recipe()\n"
    known = inputs_sha256(written(tmp_path, source))
    whole = "METHOD = Method('mine', Recipe(), print, inputs=['features.npz', 'tables'])\n"
    assert inputs_sha256(written(tmp_path, whole)) == known
    assert inputs_sha256(written(tmp_path, "RECIPE = Recipe()\n")) == ""
    (tmp_path / "features.npz").write_bytes(b"new")
    changed = inputs_sha256(written(tmp_path, source))
    (tmp_path / "tables" / "deep" / "a.csv").write_text("2")
    assert len({known, changed, inputs_sha256(written(tmp_path, source))}) == 3
    (tmp_path / "features.npz").unlink()
    with pytest.raises(MethodError, match=r"mine.py: declares the input features.npz"):
        inputs_sha256(written(tmp_path, source))
    with pytest.raises(MethodError, match="INPUTS is a list of paths"):
        written(tmp_path, "INPUTS = 'features.npz'\nRECIPE = Recipe()\n")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed distribution, as pip leaves one: two methods announced, one of them broken."""
    site = tmp_path / "site"
    (site / "lesion_nets").mkdir(parents=True)
    (site / "lesion_nets" / "__init__.py").write_text("")
    (site / "lesion_nets" / "small.py").write_text(
        f'"""small_net: a method of a package."""\n{BEGINNING}RECIPE = Recipe(epochs=2)\n'
    )
    (site / "lesion_nets" / "inner.py").write_text("x = 1\n")
    info = site / "lesion_nets-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lesion-nets\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[bench.methods]\nsmall_net = lesion_nets.small\ngone = lesion_nets.gone\n"
        "odd = lesion_nets.small:RECIPE\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.startswith("lesion_nets")]:
        del sys.modules[name]


def test_an_installed_package_brings_methods_by_its_entry_points(package):
    assert list(installed_methods()) == ["gone", "odd", "small_net"]
    loaded = load_method("small_net", BASELINES)
    assert loaded.method.recipe == Recipe(epochs=2)
    assert loaded.passport == "small_net: a method of a package.\ninstalled  lesion-nets 1.2"
    assert loaded.given == "small_net"
    again = load_method(loaded.address, package)
    assert again.source_sha256 == loaded.source_sha256
    (package / "lesion_nets" / "inner.py").write_text("x = 2\n")
    assert load_method("small_net", BASELINES).source_sha256 != loaded.source_sha256


def test_an_entry_point_that_leads_nowhere_is_told_when_it_is_asked_for(package):
    assert package.is_dir()
    with pytest.raises(MethodError, match="gone = lesion_nets.gone: cannot be loaded: ModuleNot"):
        load_method("gone", BASELINES)
    with pytest.raises(MethodError, match="is a Recipe, neither a Method nor a module"):
        load_method("odd", BASELINES)
    with pytest.raises(MethodError, match="known are .*small_net"):
        load_method("nothing", BASELINES)
