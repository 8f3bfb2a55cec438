"""The state of a training is removed when its job is done, and only then."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bench.run import results, worker
from bench.run.worker import run_job
from tests.run.small_jobs import plan, verified

ENGINE = """from bench.method import Recipe
RECIPE = Recipe(image_size=16, epochs=2, batch_size=8, ema_decay=0.9)
"""


def jobs(source, tmp_path, **place):
    method = tmp_path / "mine.py"
    method.write_text(ENGINE)
    return plan(source, tmp_path / "results", method, folds=1, **place)[0]


def checkpoints(job_file) -> set[str]:
    return {path.name for path in Path(job_file.place.folder, "checkpoints").iterdir()}


@pytest.mark.parametrize("keep", [False, True])
def test_a_finished_job_keeps_its_best_weights_and_its_state_if_asked(small_source, tmp_path, keep):
    job_file = jobs(small_source, tmp_path, keep_state=keep)
    results.prepare(job_file)
    record = run_job(job_file)
    best = {"best.safetensors", "best_ema.safetensors"}
    state = {"last.pt", "previous.pt"}
    assert checkpoints(job_file) == (best | state if keep else best)
    assert {name for name in record.files if name.startswith("checkpoints/")} == {
        f"checkpoints/{name}" for name in best
    }
    assert verified(tmp_path / "results").findings == ()


def test_a_kill_after_the_record_leaves_a_state_that_the_next_process_removes(
    small_source, tmp_path, monkeypatch
):
    job_file = jobs(small_source, tmp_path)
    results.prepare(job_file)
    with monkeypatch.context() as patch:
        patch.setattr(worker.results, "remove_training_state", lambda folder: None)  # noqa: ARG005
        first = run_job(job_file)
    assert "last.pt" in checkpoints(job_file)
    assert verified(tmp_path / "results").findings == ()
    assert run_job(job_file) == first
    assert checkpoints(job_file) == {"best.safetensors", "best_ema.safetensors"}


def test_a_last_pt_of_another_program_is_a_result_and_stays(tmp_path):
    for name, content in (("last.pt", b"weights of another program"), ("deep/previous.pt", b"")):
        path = tmp_path / "checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    state = tmp_path / "checkpoints" / "supcon" / "last.pt"
    state.parent.mkdir()
    state.write_bytes(hashlib.sha256(b"state").digest() + b"state")
    assert set(results.files_beside_record(tmp_path)) == {
        "checkpoints/last.pt", "checkpoints/deep/previous.pt",
    }  # fmt: skip
    results.remove_training_state(tmp_path)
    assert not state.exists()
    assert (tmp_path / "checkpoints" / "last.pt").exists()
    assert (tmp_path / "checkpoints" / "deep" / "previous.pt").exists()
