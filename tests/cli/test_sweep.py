"""`sweep` as a user runs it."""

import json

import pytest

from bench.errors import MethodError
from bench.workflows.sweep import combinations
from tests.cli.test_bad_input import bench, refused

SWEEP = (
    "sweep", "--protocol", "groupkfold5", "--method", "custom_cnn", "--image-size", 16,
    "--folds", 1, "--jobs", 1,
)  # fmt: skip


def test_a_grid_is_every_combination():
    assert combinations(("lr=1e-3,1e-2", "optimizer=sgd"), {}) == (
        {"lr": "1e-3", "optimizer": "sgd"},
        {"lr": "1e-2", "optimizer": "sgd"},
    )


@pytest.mark.parametrize(
    ("grid", "settings", "said"),
    [
        (("lr=",), {}, "takes key=value,value, not 'lr='"),
        (("=1",), {}, "takes key=value,value"),
        (("lr=1", "lr=2"), {}, "--grid lr is given twice"),
        (("lr=1",), {"lr": "3"}, "lr: either --set or --grid"),
    ],
)
def test_a_grid_that_is_none_is_refused(grid, settings, said):
    with pytest.raises(MethodError, match=said):
        combinations(grid, settings)


def test_wrong_switches_are_told_before_anything_is_trained(tmp_path):
    refused(bench(*SWEEP, "--grid", "optimizer=sdg", cwd=tmp_path), "optimizer='sdg'")
    refused(bench(*SWEEP, "--grid", "class_loss_scale=melanoma:2", cwd=tmp_path), "no class melano")
    assert not list(tmp_path.rglob("job.json"))


def test_a_sweep_chooses_keeps_its_choice_and_goes_on_where_it_was(tmp_path):
    asked = (*SWEEP, "--set", "epochs=1", "--grid", "lr=1e-3,0.001,1e-2")
    first = bench(*asked, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 jobs, 0 of them done already" in first.stdout
    path = tmp_path / "sweeps" / "groupkfold5" / "synthetic" / "sweep" / "custom_cnn.json"
    found = json.loads(path.read_text())
    assert [each["settings"] for each in found["candidates"]] == [{"lr": 0.001}, {"lr": 0.01}]
    (choice,) = found["choices"]
    best = max(found["candidates"], key=lambda each: each["val"])
    assert choice["row"] == best["row"]
    assert choice["val"] == pytest.approx(best["val"])
    assert choice["optimism"] == pytest.approx(choice["val"] - choice["test"])
    assert not (tmp_path / "results").exists()

    again = bench(*asked[:-1], "lr=1e-3,1e-2,1e38", cwd=tmp_path)
    assert "3 jobs, 2 of them done already" in again.stdout
    assert again.returncode == 1
    assert "the loss is nan in epoch 1" in again.stderr
    more = json.loads(path.read_text())
    assert more["candidates"][2]["val"] is None
    assert {**more, "candidates": more["candidates"][:2]} == found
    # an ordinary row: its record gives it again
    record = json.loads(
        (path.parents[1] / best["row"] / "seed0" / "fold1" / "record.json").read_text()
    )
    assert f"--set lr={'1e-3' if best['settings']['lr'] == 0.001 else '1e-2'}" in record["command"]
