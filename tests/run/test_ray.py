"""Ray, on one node: what is lost is done again, what a method got wrong is not."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.run.supervisor import SilentWatcher
from tests.run.small_jobs import BENCH, plan, verified, write_method

pytest.importorskip("ray", reason="Ray is an extra: pip install -r requirements-ray.txt")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

TRIES = """
with open({tries!r}, "a") as file: file.write(f"{{task.column}}\\n")
tried = open({tries!r}).read().split().count(str(task.column))
if task.column == 1: raise RuntimeError("no such luck")
if task.column == 2 and tried == 1: os.kill(os.getpid(), signal.SIGKILL)
"""


class Recorder(SilentWatcher):
    """A watcher that records its calls."""

    def __init__(self):
        self.calls = []

    def started(self, job):
        self.calls.append((job.fold, "started"))

    def epoch(self, job, row):
        self.calls.append((job.fold, f"epoch {row['epoch']}"))

    def ended(self, outcome):
        self.calls.append((outcome.job.fold, "ended"))


def test_a_lost_job_is_done_again_and_a_failed_one_is_not(small_source, tmp_path):
    from bench.run.ray import Needs, run_ray

    tries = tmp_path / "tries.txt"
    method = write_method(tmp_path, "m", TRIES.format(tries=str(tries)))
    files = plan(small_source, tmp_path / "results", method, folds=3)
    watcher = Recorder()
    outcomes = run_ray(files, BENCH, watcher, address=None, needs=Needs(1, 0, None))
    by_fold = {outcome.job.fold: outcome for outcome in outcomes}
    assert {fold: outcome.ok for fold, outcome in by_fold.items()} == {0: True, 1: False, 2: True}
    assert by_fold[1].fault == "RuntimeError: no such luck"
    assert sorted(tries.read_text().split()) == ["0", "1", "2", "2"]
    assert [call for fold, call in watcher.calls if fold == 0] == ["started", "epoch 1", "ended"]
    checked = verified(tmp_path / "results")
    assert checked.sound
    assert checked.records == 2


class OneNode:
    """What is asked of Ray before anything is submitted."""

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2.0, "memory": 2.0**33}}]


def test_a_job_that_fits_on_no_node_is_refused():
    from bench.run.ray import Needs, _refuse_what_fits_nowhere

    _refuse_what_fits_nowhere(OneNode(), Needs(2, 0, 8))
    for needs in (Needs(1, 0.5), Needs(3, 0), Needs(1, 0, 9)):
        with pytest.raises(BenchError, match=r"no node of the Ray cluster has them .2 CPUs"):
            _refuse_what_fits_nowhere(OneNode(), needs)
