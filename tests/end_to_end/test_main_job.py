"""The main job as a user runs it: from nothing to a leaderboard, killed and resumed, repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.metrics import classification_report

from bench.run.results import is_locked
from tests.conftest import ROOT

RUN = ("run", "--protocol", "groupkfold5", "--image-size", "24")
CNN = (*RUN, "--method", "custom_cnn", "--set", "epochs=2")


def bench(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "bench.py"), *words],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip


def row_folder(cwd: Path, method: str) -> Path:
    (folder,) = (cwd / "results" / "groupkfold5" / "synthetic").glob(f"{method}@*")
    return folder


def predictions(cwd: Path, method: str, fold: int) -> pd.DataFrame:
    return pd.read_parquet(
        row_folder(cwd, method) / "seed0" / f"fold{fold}" / "predictions.parquet"
    )


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the custom CNN on all five folds of the synthetic set."""
    cwd = tmp_path_factory.mktemp("finished")
    done = bench(*CNN, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SYNTHETIC" in done.stdout
    assert "epoch 2/2" in done.stdout
    return cwd


def leaderboard(cwd: Path) -> dict:
    path = cwd / "results" / "groupkfold5" / "synthetic" / "leaderboard" / "leaderboard.json"
    return json.loads(path.read_text())


def test_it_ends_in_a_leaderboard_with_the_row_and_three_references(finished):
    board = leaderboard(finished)
    assert board["protocol"] == "groupkfold5"
    assert board["unit"] == "patient"
    assert board["dataset"]["synthetic"] is True
    rows = {row["method"]: row for row in board["methods"]}
    assert set(rows) == {"custom_cnn", "majority", "prior", "uniform"}
    own = rows["custom_cnn"]
    assert own["kind"] == "trained"
    assert own["complete"] is True
    assert own["folds"] == [0, 1, 2, 3, 4]
    assert own["rank"]["best"] == 1
    estimate = own["metrics"]["macro_f1"]
    assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert estimate["n"] == board["dataset"]["images"]
    page = finished / "results" / "groupkfold5" / "synthetic" / "leaderboard" / "index.html"
    assert "synthetic" in page.read_text().lower()


def test_every_image_is_predicted_once_in_the_fold_that_tests_it(finished):
    """Read from the files alone, without the bench's own code."""
    roles = pd.read_csv(ROOT / "protocols" / "groupkfold5" / "synthetic.csv", comment="#")
    tested = []
    for fold in range(5):
        frame = predictions(finished, "custom_cnn", fold)
        expected = roles.loc[roles[f"fold{fold}"] == "test", "image_id"]
        assert set(frame["image_id"]) == set(expected)
        classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
        assert list(frame.columns) == ["image_id", *(f"p_{name}" for name in classes)]
        assert np.allclose(frame.iloc[:, 1:].sum(axis=1), 1, atol=1e-3)
        tested += frame["image_id"].tolist()
    assert sorted(tested) == sorted(roles["image_id"])


def test_accuracy_on_the_page_is_what_predictions_and_labels_give_by_hand(finished, cache):
    (metadata,) = cache.glob("**/metadata.csv")
    labels = pd.read_csv(metadata).set_index("image_id")
    column = next(name for name in ("dx", "label") if name in labels.columns)
    frames = pd.concat(predictions(finished, "custom_cnn", fold) for fold in range(5))
    chosen = frames.set_index("image_id").idxmax(axis=1).str.removeprefix("p_")
    by_hand = (chosen == labels.loc[chosen.index, column]).mean()
    (row,) = [r for r in leaderboard(finished)["methods"] if r["method"] == "custom_cnn"]
    assert row["metrics"]["accuracy"]["value"] == pytest.approx(by_hand)


def test_report_and_table_beside_the_predictions_are_scikit_learns_and_hold_no_label(
    finished, cache
):
    (metadata,) = cache.glob("**/metadata.csv")
    labels = pd.read_csv(metadata).set_index("image_id")
    column = next(name for name in ("dx", "label") if name in labels.columns)
    row = row_folder(finished, "custom_cnn")
    for folder in (row / "seed0" / "fold2", row):
        table = pd.read_csv(folder / "test_predictions.csv")
        assert (
            not set(table)
            - {"image_id", "predicted", "job"}
            - set(predictions(finished, "custom_cnn", 2))
        )
        truth = labels.loc[table["image_id"], column]
        expected = classification_report(truth, table["predicted"], digits=3, zero_division=np.nan)
        assert (folder / "classification_report.txt").read_text().endswith(f"\n\n{expected}")
    fold = pd.read_csv(row / "seed0" / "fold2" / "test_predictions.csv", dtype={"p_nv": "float32"})
    assert (fold["p_nv"] == predictions(finished, "custom_cnn", 2)["p_nv"]).all()
    assert bench("verify-results", cwd=finished).stdout.count("does not know") == 0
    assert (row / "seed0" / "fold2" / "tensorboard").is_dir()


def test_the_same_command_again_trains_nothing_and_reports_the_same(finished):
    before = leaderboard(finished)
    texts = sorted((finished / "results").glob("**/classification_report.txt"))
    content, times = texts[0].read_bytes(), [path.stat().st_mtime_ns for path in texts[1:]]
    texts[0].write_text("another")
    done = bench(*CNN, cwd=finished)
    assert texts[0].read_bytes() == content
    assert [path.stat().st_mtime_ns for path in texts[1:]] == times  # the same is not written again
    assert done.returncode == 0
    assert "5 jobs, 5 of them done already" in done.stdout
    assert "epoch" not in done.stdout
    assert leaderboard(finished) == before
    again = bench("report", "--protocol", "groupkfold5", cwd=finished)
    assert again.returncode == 0, again.stderr
    assert leaderboard(finished) == before


def test_gradcam_draws_every_class_and_leaves_the_job_done(finished):
    fold = row_folder(finished, "custom_cnn") / "seed0" / "fold2"
    before = (fold / "record.json").read_bytes()
    done = bench("gradcam", "--protocol", "groupkfold5", "--folds", "2", cwd=finished)
    assert done.returncode == 0, done.stderr
    drawn = sorted(path.name for path in (fold / "gradcam").iterdir())
    assert drawn == [f"{c}.png" for c in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")]
    assert not (fold.parent / "fold1" / "gradcam").exists()
    assert (fold / "record.json").read_bytes() == before
    again = bench(*CNN, "--dry-run", cwd=finished)
    assert "5 jobs, 5 of them done already" in again.stdout


def test_a_rows_page_shows_its_hardest_images_where_they_are_asked_for(finished):
    done = bench("report", "--protocol", "groupkfold5", "--with-images", cwd=finished)
    assert done.returncode == 0, done.stderr
    row = row_folder(finished, "custom_cnn").name
    board = finished / "results/groupkfold5/synthetic/leaderboard"
    page = (board / "methods" / f"{row}.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 2 * page.count('alt="Grad-CAM') > 20
    done = bench("report", "--protocol", "groupkfold5", "--image-sizes", cwd=finished)
    assert done.returncode == 0, done.stderr
    page = (board / "methods" / f"{row}.html").read_text()
    assert "<img" not in page
    assert "the same in all images: 128x96" in page


def test_gradcam_says_which_jobs_have_no_checkpoint(finished):
    fold = row_folder(finished, "custom_cnn") / "seed0" / "fold2"
    away = (fold / "checkpoints").rename(fold / "elsewhere")
    done = bench("gradcam", "--protocol", "groupkfold5", "--folds", "2", cwd=finished)
    away.rename(fold / "checkpoints")
    assert done.returncode == 1
    assert "no checkpoint" in done.stderr


def test_one_job_repeated_by_hand_gives_the_same_bits(finished, tmp_path):
    job = row_folder(finished, "custom_cnn") / "seed0" / "fold3" / "job.json"
    before = predictions(finished, "custom_cnn", 3)
    job.with_name("record.json").unlink()
    for checkpoint in (job.parent / "checkpoints").iterdir():
        checkpoint.unlink()
    done = bench("job", str(job), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(predictions(finished, "custom_cnn", 3), before, check_exact=True)


def test_a_run_killed_in_the_middle_goes_on_and_ends_in_the_same_bits(tmp_path):
    """Phase 4 with all it has: sampler, weights, mixing, EMA, plateau, early stopping."""
    words = (
        *RUN, "--method", "efficientnet_phase4", "--folds", "1", "--set", "epochs=3",
        "--set", "batch_size=64",
    )  # fmt: skip
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for folder in (unbroken, broken):
        folder.mkdir()
    assert bench(*words, cwd=unbroken).returncode == 0
    runner = subprocess.Popen(
        [sys.executable, str(ROOT / "bench.py"), *words],
        cwd=broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    histories = (broken / "results").glob
    wait_until(lambda: any(histories("**/history.csv")))
    job_processes = children(runner.pid)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    # the job must not live on without its runner
    wait_until(lambda: not any(alive(process) for process in job_processes), 30)
    (history,) = histories("**/history.csv")
    assert not history.with_name("record.json").exists()
    done = bench(*words, cwd=broken)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(history.with_name("record.json").read_text())
    assert record["resumed"] == 1
    pd.testing.assert_frame_equal(
        predictions(broken, "efficientnet_phase4", 1),
        predictions(unbroken, "efficientnet_phase4", 1),
        check_exact=True,
    )


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_process_and_no_lock(
    tmp_path, number, code
):
    runner = subprocess.Popen(
        [sys.executable, str(ROOT / "bench.py"), *CNN],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: any((tmp_path / "results").glob("**/job.json")))
    wait_until(lambda: len(children(runner.pid)) > 1)  # what jobs are forked from, and a job
    job_processes = children(runner.pid)
    runner.send_signal(number)
    _, said = runner.communicate(timeout=300)
    assert runner.returncode == code
    assert "the same command goes on from here" in said
    # a job that was being started when the signal came ends by itself: its runner's pipe closes;
    # it may be none of those counted above, so that its lock alone tells
    wait_until(lambda: not any(alive(process) for process in job_processes), 30)
    locks = list((tmp_path / "results").glob("**/job.lock"))
    assert locks
    wait_until(lambda: not any(is_locked(lock.parent) for lock in locks), 30)


def test_a_failing_method_is_reported_with_its_log_and_the_others_go_on(tmp_path):
    (tmp_path / "bad.py").write_text(
        '"""bad: fails in fold 1."""\n'
        "import numpy as np\n"
        "from bench.method import Method, Recipe\n"
        "from bench.predictions import Predictions\n"
        "def fit_predict(task):\n"
        "    if task.column == 1:\n"
        "        raise RuntimeError('no such luck')\n"
        "    probs = np.full((len(task.test), len(task.classes)), 1 / len(task.classes))\n"
        "    return Predictions(task.test.image_ids, probs, task.classes)\n"
        "METHOD = Method('bad', Recipe(image_size=24), fit_predict)\n"
    )
    words = ("run", "--protocol", "groupkfold5", "--image-size", "24", "--method", "bad.py")
    done = bench(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "FAILED: RuntimeError: no such luck" in done.stdout
    (row,) = [r for r in leaderboard(tmp_path)["methods"] if r["method"] == "bad"]
    assert row["complete"] is False
    assert row["folds"] == [0, 2, 3, 4]
    assert row["rank"]["best"] is None
    # its own recipe is what ran, so the row has the method's name alone
    row_path = tmp_path / "results" / "groupkfold5" / "synthetic" / "bad"
    log = row_path / "seed0" / "fold1" / "log.txt"
    assert "no such luck" in log.read_text()


def test_the_cache_of_the_tests_is_used(cache):
    assert os.environ["BENCH_CACHE"] == str(cache)
