"""A run on two nodes of Ray whose workers, nodes and driver die ends as a local run does.

    pip install -r requirements-ray.txt
    python -m pytest tests/end_to_end/test_ray.py -m slow -s > docs/verification/ray.txt

Ray's own test cluster: several raylets on this machine, each a node with one CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bench.run.supervisor import JOB_MARK, mark_of
from tests.conftest import ROOT

pytest.importorskip("ray", reason="Ray is an extra: pip install -r requirements-ray.txt")

WORDS = (
    "run", "--protocol", "groupkfold5", "--method", "custom_cnn", "--image-size", "24",
    "--folds", "0,1,2,3", "--set", "epochs=4", "--checkpoint-seconds", "0.2",
)  # fmt: skip
QUIET = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, in the process that plays the cluster
]


@pytest.fixture
def cluster() -> Iterator[object]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    # the head has no CPU: it keeps the books, jobs run on the two others
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def bench(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench.py"), *words],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=900, env=QUIET,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def workers() -> list[psutil.Process]:
    """Ray's processes that are doing a job of ours."""
    return [each for each in psutil.process_iter(["name"]) if each.name().startswith("ray::do_job")]


def job_processes(below: Path) -> list[psutil.Process]:
    marks = {mark_of(path.parent) for path in below.glob("**/job.json")}
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(JOB_MARK) in marks:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_a_worker_a_node_and_the_driver_die_and_every_fold_ends_once(cluster, tmp_path):
    local, there = tmp_path / "local", tmp_path / "ray"
    for folder in (local, there):
        folder.mkdir()
    bench(*WORDS, "--jobs", "2", cwd=local)
    words = [
        sys.executable, str(ROOT / "bench.py"), *WORDS,
        "--executor", "ray", "--address", cluster.address,
    ]  # fmt: skip
    results = there / "results"

    def epochs() -> int:
        return sum(len(path.read_text().splitlines()) - 1 for path in histories())

    def histories() -> list[Path]:
        return [
            path for path in results.glob("**/history.csv")
            if not path.with_name("record.json").exists()
        ]  # fmt: skip

    with (tmp_path / "driver.txt").open("w") as log:
        driver = subprocess.Popen(words, cwd=there, stdout=log, stderr=log, env=QUIET)
        wait_until(lambda: epochs() >= 1)
        victim = workers()[0]
        print(f"kill -9 of the worker {victim.name()} after {epochs()} epochs")
        victim.kill()
        wait_until(lambda: len(workers()) == 2 and epochs() >= 2)
        print(f"the node dies in mid-job, after {epochs()} epochs; another one comes")
        cluster.remove_node(min(cluster.worker_nodes, key=id), allow_graceful=False)
        cluster.add_node(num_cpus=1)
        wait_until(lambda: len(list(results.glob("**/record.json"))) >= 1 and epochs() >= 1)
        done = len(list(results.glob("**/record.json")))
        print(f"kill -9 of the driver, with {done} folds done and {epochs()} epochs of others")
        driver.kill()
        driver.wait()
    wait_until(lambda: not job_processes(results), 60)
    said = (tmp_path / "driver.txt").read_text().splitlines()
    print(*(line for line in said if line.startswith("custom_cnn")), sep="\n")  # not Ray's dumps
    print("the same command again:")
    print(bench(*words[2:], cwd=there))
    print(bench("verify-results", cwd=there))
    predictions = sorted((local / "results").glob("**/predictions.parquet"))
    for path in predictions:
        other = results / path.relative_to(local / "results")
        assert other.read_bytes() == path.read_bytes()
    assert len(list(results.glob("**/record.json"))) == len(predictions) == 4
    resumed = [
        '"resumed": 0' not in path.read_text() for path in sorted(results.glob("**/record.json"))
    ]
    assert sum(resumed) >= 2
    print(f"four folds, each once, bit-equal to the local run; {sum(resumed)} were resumed")
