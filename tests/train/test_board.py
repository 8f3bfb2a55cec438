"""TensorBoard: its event file read back by TensorBoard itself."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from bench.train import checkpoint, fit_predict
from bench.train.loop import Training
from bench.train.tensorboard import DEEP, EVENTS, TensorBoardWriter, confusion_picture
from tests.conftest import CLASSES
from tests.train.conftest import Heard, Killed, interrupt_after
from tests.train.test_loop import EVERYTHING, kill_at_save

RECIPE = EVERYTHING.with_overrides({"epochs": 3, "body_lr_scale": 0.5})


@pytest.fixture
def watched(make_task, tmp_path):
    """A task that tells TensorBoard."""

    def make(folder: str = "job"):
        return replace(make_task(RECIPE, folder), tensorboard=tmp_path / folder / "tensorboard")

    return make


def read(task) -> EventAccumulator:
    found = EventAccumulator(str(task.tensorboard), size_guidance={"images": 0, "scalars": 0})
    return found.Reload()


def scalars(task) -> dict[str, list[tuple[int, float]]]:
    told = read(task)
    return {
        tag: [(event.step, event.value) for event in told.Scalars(tag)]
        for tag in told.Tags()["scalars"]
        if tag != "seconds"
    }


def test_losses_rates_and_val_metrics_are_those_of_the_history(watched):
    task = watched()
    fit_predict(task)
    told = scalars(task)
    for name in ("train_loss", "lr", "val_macro_f1", "val_loss", "ema_val_macro_f1"):
        assert [step for step, _ in told[name]] == [1, 2, 3]
        expected = [row[name] for row in task.journal.rows]
        assert [value for _, value in told[name]] == pytest.approx(expected, rel=1e-6)
    assert [told[f"lr_by_group/{n}"][-1][1] for n in (0, 1)] == pytest.approx(
        [told["lr"][-1][1] * factor for factor in (0.5, 1)]
    )
    by_class = [told[f"val_f1/{name}"][-1][1] for name in CLASSES]
    assert np.nanmean(by_class) == pytest.approx(told["val_macro_f1"][-1][1], abs=1e-6)


def test_class_metrics_and_confusion_are_scikit_learns(tmp_path):
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 3, 60), rng.random((60, 3))
    board = TensorBoardWriter(tmp_path, CLASSES)
    assert board.begin(0)
    board.evaluated("", labels, probs)
    board.epoch({"epoch": 1}, (0.1,))
    told = EventAccumulator(str(tmp_path)).Reload()
    expected = f1_score(labels, probs.argmax(1), average=None)
    found = [told.Scalars(f"val_f1/{name}")[0].value for name in CLASSES]
    assert found == pytest.approx(expected, rel=1e-6)
    (shown,) = told.Images("val_confusion")
    picture = Image.open(io.BytesIO(shown.encoded_image_string))
    assert picture.size == (shown.width, shown.height)


def test_a_perfect_confusion_is_deep_on_its_diagonal_alone():
    picture = np.asarray(confusion_picture(np.diag([5, 6, 7]), CLASSES))
    corners = picture[62::44, 62::44][:3, :3]
    assert (corners[np.eye(3, dtype=bool)] == DEEP).all()
    assert (corners[~np.eye(3, dtype=bool)] == 255).all()


def test_every_switch_is_a_hyperparameter_and_the_first_images_are_shown(watched):
    task = watched()
    fit_predict(task)
    told = read(task)
    content = told.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    switches = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert set(switches) == set(RECIPE.model_dump())
    assert switches["lr"].number_value == RECIPE.lr
    assert switches["early_stopping"].number_value == 3
    (grid,) = told.Images("training images")
    assert (grid.width, grid.height) == (4 * 16, 2 * 16)
    assert np.asarray(Image.open(io.BytesIO(grid.encoded_image_string))).std() > 5


def test_the_grid_shows_what_the_first_step_trains_on(watched, monkeypatch):
    task = watched()
    seen = []
    batch = Training._batch

    def noting(self, *args):
        seen.append(batch(self, *args))
        return seen[-1]

    monkeypatch.setattr(Training, "_batch", noting)
    fit_predict(task)
    assert (seen[0][0] == seen[1][0]).all()


def test_telling_changes_no_bit(watched, make_task):
    quiet = make_task(RECIPE, "quiet")
    assert (fit_predict(watched()).probs == fit_predict(quiet).probs).all()
    assert not list(quiet.folder.glob("**/*tfevents*"))


@pytest.mark.parametrize("stop", ["after an epoch", "within one", "before the first"])
def test_a_resumed_training_tells_each_epoch_once(watched, monkeypatch, stop):
    unbroken = watched("unbroken")
    fit_predict(unbroken)
    broken = watched("broken")
    if stop == "within one":
        broken = replace(broken, checkpoint_seconds=0)
    with monkeypatch.context() as context, pytest.raises(Killed):
        if stop == "after an epoch":
            interrupt_after(context, 1)
        else:
            kill_at_save(context, 5 if stop == "within one" else 1)
        fit_predict(broken)
    # a kill while the file is written leaves half a record
    events = broken.tensorboard / EVENTS
    events.write_bytes(events.read_bytes() + b"\x40\x00\x00")
    again = replace(broken, journal=Heard())
    fit_predict(again)
    assert scalars(again) == scalars(unbroken)
    assert len(read(again).Images("training images")) == 1
    assert len(read(again).Images("val_confusion")) == 3


def test_a_folder_whose_checkpoints_are_gone_is_told_anew(watched):
    task = watched()
    fit_predict(task)
    for name in ("last.pt", "previous.pt"):
        (task.folder / name).unlink()
    assert checkpoint.load_last(task.folder) is None
    again = replace(task, journal=Heard())
    fit_predict(again)
    assert [step for step, _ in scalars(again)["train_loss"]] == [1, 2, 3]
