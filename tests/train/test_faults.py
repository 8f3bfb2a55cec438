"""Faults that happen to checkpoints: the state before is taken up, and nothing damaged is used."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import ResultsError
from bench.train import checkpoint, fit_predict
from tests.run.small_disk import SmallDisk, small_disk
from tests.train.conftest import Killed, RecordingJournal, interrupt_after
from tests.train.test_loop import EVERYTHING

__all__ = ["small_disk"]


@pytest.mark.parametrize("name", ["last.pt", "best.safetensors"])
def test_a_disk_that_fills_while_a_checkpoint_is_written_costs_one_epoch(
    make_task, small_disk: SmallDisk, monkeypatch, name
):
    expected = fit_predict(make_task(EVERYTHING, "unbroken")).probs
    task = replace(make_task(EVERYTHING), folder=small_disk.folder / "checkpoints")
    with monkeypatch.context() as context, pytest.raises(Killed):
        interrupt_after(context, 1)
        fit_predict(task)
    with monkeypatch.context() as context, pytest.raises(OSError) as raised:  # noqa: PT011
        write = small_disk.fills_at(checkpoint.write_atomically, name)
        context.setattr(checkpoint, "write_atomically", write)
        fit_predict(replace(task, journal=RecordingJournal()))
    assert raised.value.errno in {errno.ENOSPC, errno.EFBIG}
    assert raised.value.filename == str(task.folder / name)
    assert len(checkpoint.load_last(task.folder).state["history"]) >= 1
    assert (fit_predict(replace(task, journal=RecordingJournal())).probs == expected).all()


@pytest.mark.parametrize("place", ["weights", "header"])
def test_a_flipped_byte_in_the_best_weights_is_refused(make_task, place):
    task = make_task(EVERYTHING)
    expected = fit_predict(task).probs
    path = task.folder / "best.safetensors"
    content = bytearray(path.read_bytes())
    at = len(content) - 200 if place == "weights" else content.index(b"weights_sha256") + 30
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResultsError, match="remove its folder and run again"):
        fit_predict(replace(task, journal=RecordingJournal()))
    for each in task.folder.iterdir():
        each.unlink()
    assert np.array_equal(fit_predict(replace(task, journal=RecordingJournal())).probs, expected)
