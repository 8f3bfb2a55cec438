"""Jobs killed at random moments, again and again, end in the bits of the unbroken ones.

    python -m pytest tests/end_to_end/test_kills.py -m slow -s > docs/verification/kills.txt

One fold of the synthetic set a baseline; a state is kept every tenth of a second, so most kills
fall into an epoch, and some into the writing of a checkpoint.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from bench.train.checkpoint import read_raw_metadata
from tests.conftest import ROOT

KILLS = 7
"""Of each baseline; 21 in all."""
RUN = (
    "run", "--protocol", "groupkfold5", "--image-size", "24", "--folds", "1", "--jobs", "1",
    "--set", "epochs=3", "--set", "batch_size=64", "--checkpoint-seconds", "0.1",
)  # fmt: skip
KEPT = ("predictions.parquet", "val_predictions.parquet", "checkpoints/best.safetensors")


def unbroken(method: str, folder: Path) -> Path:
    """The job folder of a run that nothing interrupts."""
    words = [sys.executable, str(ROOT / "bench.py"), *RUN, "--method", method]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=550)
    (record,) = folder.glob("results/**/record.json")
    return record.parent


def run_until(job: Path, seconds: float | None) -> bool:
    """Run a job; kill it after so many seconds. Whether it was killed."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bench.py"), "job", str(job)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def content(path: Path) -> object:
    """A file's bytes; header and tensors of safetensors, which writes a header in any order."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    tensors = {name: value.numpy().tobytes() for name, value in load_file(path).items()}
    return read_raw_metadata(path), tensors


def same_files(mine: Path, theirs: Path) -> bool:
    averaged = "checkpoints/best_ema.safetensors"
    names = [*KEPT, *([averaged] if (theirs / averaged).exists() else [])]
    return all(content(mine / name) == content(theirs / name) for name in names)


def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv").drop(columns="seconds")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", ["custom_cnn", "resnet18", "efficientnet_phase4"])
def test_a_baseline_killed_at_random_moments_ends_in_the_same_bits(method, tmp_path):
    expected = unbroken(method, tmp_path)
    draw = random.Random(method)  # noqa: S311 - moments, no secrets
    broken = tmp_path / "broken"
    started = time.monotonic()
    broken.mkdir()
    shutil.copy(expected / "job.json", broken)
    run_until(broken / "job.json", None)
    longest = time.monotonic() - started  # with the start of Python and torch
    kills = 0
    while kills < KILLS:
        shutil.rmtree(broken)
        broken.mkdir()
        shutil.copy(expected / "job.json", broken)
        here = 0
        # a job that has little left is soon done: then another round
        while run_until(broken / "job.json", draw.uniform(0, longest)):
            here += 1
            steps = history(broken).shape[0] if (broken / "history.csv").exists() else 0
            kept = sorted(path.name for path in broken.glob("checkpoints/*.pt"))
            print(f"{method}: kill {kills + here} after epoch {steps}, kept: {kept}")
        kills += here
        assert same_files(broken, expected)
        pd.testing.assert_frame_equal(history(broken), history(expected), check_exact=True)
        record = json.loads((broken / "record.json").read_text())
        print(
            f"{method}: after {here} kills the same bits; {record['resumed']} processes before "
            f"the last, {record['wall_seconds']} s, of the processor {record['cpu_seconds']} s"
        )
