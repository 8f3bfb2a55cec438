"""TensorBoard event files, read back by TensorBoard itself."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from bench.train import checkpoint, fit_predict
from bench.train.batches import TrainingBatches
from bench.train.tensorboard import FULL, TensorBoardWriter, confusion_picture
from tests.conftest import CLASSES
from tests.train.conftest import Killed, RecordingJournal, interrupt_after
from tests.train.test_loop import EVERYTHING, kill_at_save

RECIPE = EVERYTHING.with_overrides({"epochs": 3, "body_lr_scale": 0.5})


@pytest.fixture
def logged(make_task, tmp_path):
    """A task that writes TensorBoard events."""

    def make(folder: str = "job"):
        return replace(make_task(RECIPE, folder), tensorboard=tmp_path / folder / "tensorboard")

    return make


def read(task) -> EventAccumulator:
    found = EventAccumulator(str(task.tensorboard), size_guidance={"images": 0, "scalars": 0})
    return found.Reload()


def scalars(task) -> dict[str, list[tuple[int, float]]]:
    events = read(task)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "seconds"
    }


def test_losses_rates_and_val_metrics_are_those_of_the_history(logged):
    task = logged()
    fit_predict(task)
    events = scalars(task)
    for name in ("train_loss", "lr", "val_macro_f1", "val_loss", "ema_val_macro_f1"):
        assert [step for step, _ in events[name]] == [1, 2, 3]
        expected = [row[name] for row in task.journal.rows]
        assert [value for _, value in events[name]] == pytest.approx(expected, rel=1e-6)
    assert [events[f"lr_by_group/{n}"][-1][1] for n in (0, 1)] == pytest.approx(
        [events["lr"][-1][1] * factor for factor in (0.5, 1)]
    )
    by_class = [events[f"val_f1/{name}"][-1][1] for name in CLASSES]
    assert np.nanmean(by_class) == pytest.approx(events["val_macro_f1"][-1][1], abs=1e-6)


def test_class_metrics_and_confusion_are_scikit_learns(tmp_path):
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 3, 60), rng.random((60, 3))
    writer = TensorBoardWriter(tmp_path, CLASSES)
    assert writer.begin(0)
    writer.validation("", labels, probs, 1)
    writer.epoch({"epoch": 1}, (0.1,))
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    expected = f1_score(labels, probs.argmax(1), average=None)
    found = [events.Scalars(f"val_f1/{name}")[0].value for name in CLASSES]
    assert found == pytest.approx(expected, rel=1e-6)
    (shown,) = events.Images("val_confusion")
    picture = Image.open(io.BytesIO(shown.encoded_image_string))
    assert picture.size == (shown.width, shown.height)


def test_a_perfect_confusion_is_coloured_on_its_diagonal_alone():
    picture = np.asarray(confusion_picture(np.diag([5, 6, 7]), CLASSES))
    corners = picture[62::44, 62::44][:3, :3]
    assert (corners[np.eye(3, dtype=bool)] == FULL).all()
    assert (corners[~np.eye(3, dtype=bool)] == 255).all()


def test_every_option_is_a_hyperparameter_and_the_first_images_are_shown(logged):
    task = logged()
    fit_predict(task)
    events = read(task)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    options = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert set(options) == set(RECIPE.model_dump())
    assert options["lr"].number_value == RECIPE.lr
    assert options["early_stopping"].number_value == 3
    (grid,) = events.Images("training images")
    assert (grid.width, grid.height) == (4 * 16, 2 * 16)
    assert np.asarray(Image.open(io.BytesIO(grid.encoded_image_string))).std() > 5


def test_the_grid_shows_what_the_first_step_trains_on(logged, monkeypatch):
    task = logged()
    seen = []
    batch = TrainingBatches.batch

    def recording(self, *args):
        seen.append(batch(self, *args))
        return seen[-1]

    monkeypatch.setattr(TrainingBatches, "batch", recording)
    fit_predict(task)
    assert (seen[0][0] == seen[1][0]).all()


def test_writing_events_changes_no_bit(logged, make_task):
    quiet = make_task(RECIPE, "quiet")
    assert (fit_predict(logged()).probs == fit_predict(quiet).probs).all()
    assert not list(quiet.folder.glob("**/*tfevents*"))


@pytest.mark.parametrize("stop", ["after an epoch", "within one", "before the first"])
def test_a_resumed_training_has_each_epoch_once(logged, monkeypatch, stop):
    unbroken = logged("unbroken")
    fit_predict(unbroken)
    broken = logged("broken")
    if stop == "within one":
        broken = replace(broken, checkpoint_seconds=0)
    with monkeypatch.context() as context, pytest.raises(Killed):
        if stop == "after an epoch":
            interrupt_after(context, 1)
        else:
            kill_at_save(context, 5 if stop == "within one" else 1)
        fit_predict(broken)
    # a kill while the file is written leaves half a record
    (file,) = broken.tensorboard.iterdir()
    file.write_bytes(file.read_bytes() + b"\x40\x00\x00")
    time.sleep(1.1)  # event files are read in the order of their names, which start with seconds
    again = replace(broken, journal=RecordingJournal())
    fit_predict(again)
    assert scalars(again) == scalars(unbroken)
    assert len(read(again).Images("training images")) == 1
    assert len(read(again).Images("val_confusion")) == 3


def test_a_training_that_starts_again_replaces_its_events(logged):
    task = logged()
    fit_predict(task)
    for name in ("last.pt", "previous.pt"):
        (task.folder / name).unlink()
    assert checkpoint.load_last(task.folder) is None
    time.sleep(1.1)
    again = replace(task, journal=RecordingJournal())
    fit_predict(again)
    assert len(read(again).Images("training images")) == 1
    assert [step for step, _ in scalars(again)["train_loss"]] == [1, 2, 3]
