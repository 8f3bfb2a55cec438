"""A checkpoint's header is what the bench writes, or the file is refused in one line."""

from __future__ import annotations

import pytest

from bench.errors import ResultsError
from bench.train.checkpoint import read_metadata
from tests.hostile.parsers import CLASSES, checkpoint


def test_what_the_bench_writes_is_read(tmp_path):
    path = tmp_path / "best.safetensors"
    path.write_bytes(checkpoint())
    header = read_metadata(path)
    assert header.classes == CLASSES
    assert header.recipe.image_size == 16
    assert header.temperature == 1.5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"classes": 7}, "classes: "),
        ({"classes": []}, "classes: "),
        ({"classes": ["nv", "nv"]}, "classes: "),
        ({"classes": [str(n) for n in range(10_001)]}, "classes: "),
        ({"recipe": {"model": "resnet18", "image_size": 10**6}}, "recipe.image_size: "),
        ({"recipe": {"no such option": 1}}, "recipe.no such option: "),
        ({"recipe": "resnet18"}, "recipe: "),
        ({"mean": [0.5, 0.5]}, "mean: "),
        ({"std": [0.2, 0.0, 0.2]}, "std.1: "),
        ({"mean": [0.5, float("nan"), 0.5]}, "mean.1: "),
        ({"chain": [{"step": "os.system", "command": "true"}]}, "chain: "),
        ({"chain": [{"step": "resize", "size": 10**9, "interpolation": "area"}]}, "chain: "),
        ({"chain": None}, "lack chain"),
        ({"mean": None, "std": None}, "metadata lack mean, std"),
        ({"temperature": 0}, "temperature: "),
        ({"temperature": "hot"}, "temperature: "),
        ({"looks": {"mean": [0.0], "precision": [], "limit": 1}}, "looks.mean: "),
        ({"trained_on": {"dataset": ["x"]}}, "trained_on.dataset"),
    ],
)
def test_anything_else_is_refused(tmp_path, changed, said):
    path = tmp_path / "best.safetensors"
    path.write_bytes(checkpoint(**changed))
    with pytest.raises(ResultsError) as told:
        read_metadata(path)
    assert said in str(told.value)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
