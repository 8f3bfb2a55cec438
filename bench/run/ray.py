"""The Ray executor: jobs on the machines of a Ray cluster, or of one that is started here.

Ray only decides where and when. A task does its job as the local executor does, in a process of the
job's own, which writes its results and its log itself; so results folder, cache and project must
lie at the same paths on all nodes. Ray does a task again when its worker or node is lost, and the
job goes on from its last checkpoint; a method's own error is an outcome, and not tried again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.job import JobFile, parse_job_file
from bench.run.local import run_local
from bench.run.results import is_done, is_locked
from bench.run.supervisor import STOP_SECONDS, History, Outcome, Unwatched, Watcher

POLL_SECONDS = 0.2
RETRIES = 5
"""How often a job may lose its worker or its node."""


class JobLostError(Exception):
    """A job's process was killed from outside: the machine's doing, not the method's."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What each job takes of a node; gpus may be a fraction, where jobs share one.

    may_do_without_gpus  a cluster that has none will do
    """

    cpus: int
    gpus: float
    memory_gib: float | None = None
    may_do_without_gpus: bool = False


def run_ray(
    job_files: Sequence[JobFile],
    bench: Path,
    watcher: Watcher,
    *,
    address: str | None,
    needs: Needs,
    at_once: int | None = None,
) -> list[Outcome]:
    """Run jobs on a Ray cluster, submitted in the order given; tell the watcher.

    Without an address Ray is started on this machine, and ends with the run. Raises BenchError
    where Ray is not installed, not to be reached, or has no node that a job fits on.
    """
    ray = _connect(bench, address)
    try:
        if needs.may_do_without_gpus and not ray.cluster_resources().get("GPU"):
            needs = replace(needs, gpus=0)
        _refuse_what_fits_nowhere(ray, needs)
        return _follow(ray, job_files, bench, watcher, needs, at_once or len(job_files))
    finally:
        ray.shutdown()


def _connect(bench: Path, address: str | None) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anyone
    try:
        import ray
    except ImportError:
        raise BenchError(
            "--executor ray: Ray is not installed; pip install -r requirements-ray.txt"
        ) from None
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="WARNING",
            runtime_env={"env_vars": {"PYTHONPATH": str(bench.parent)}},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        raise BenchError(f"--address {address}: no Ray cluster is to be reached: {first}") from None
    return ray


def _refuse_what_fits_nowhere(ray: Any, needs: Needs) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": (needs.memory_gib or 0) * 2**30}
    if any(all(node.get(name, 0) >= wanted[name] for name in wanted) for node in nodes):
        return
    offered = "; ".join(
        f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs, "
        f"{node.get('memory', 0) / 2**30:.1f} GiB"
        for node in nodes
    )
    raise BenchError(
        f"a job needs {needs.cpus} CPUs, {needs.gpus:g} GPUs and {needs.memory_gib or 0:g} GiB, "
        f"and no node of the Ray cluster has them ({offered})"
    )


def do_job(text: str, bench: str) -> tuple[bool, str]:
    """Do the job of a job file's text on this node: whether it is done, or else its fault.

    Raises JobLostError where its process was killed from outside.
    """
    job_file = parse_job_file(text, "the job that Ray was given")
    (outcome,) = run_local([job_file], Path(bench), [""], Unwatched())
    if outcome.killed:
        raise JobLostError(outcome.fault)
    return outcome.ok, outcome.fault


def _follow(
    ray: Any,
    job_files: Sequence[JobFile],
    bench: Path,
    watcher: Watcher,
    needs: Needs,
    at_once: int,
) -> list[Outcome]:
    """Submit jobs as others end, tell of those that work, gather how they ended."""
    task = ray.remote(do_job).options(
        num_cpus=needs.cpus,
        num_gpus=needs.gpus,
        memory=None if needs.memory_gib is None else int(needs.memory_gib * 2**30),
        max_retries=RETRIES,
        retry_exceptions=[JobLostError],
        scheduling_strategy="SPREAD",
    )
    waiting, outcomes = list(job_files), []
    submitted: dict[Any, _Submitted] = {}
    try:
        while waiting or submitted:
            while waiting and len(submitted) < at_once:
                job_file = waiting.pop(0)
                submitted[task.remote(job_file.model_dump_json(), str(bench))] = _Submitted(
                    job_file, watcher
                )
            over, _ = ray.wait(list(submitted), num_returns=len(submitted), timeout=POLL_SECONDS)
            for each in submitted.values():
                each.tell()
            for reference in over:
                outcomes.append(submitted.pop(reference).outcome(ray, reference))
                watcher.ended(outcomes[-1])
    finally:
        for reference in submitted:
            ray.cancel(reference)  # as an interrupt: the job keeps its state and ends
        if submitted:
            ray.wait(list(submitted), num_returns=len(submitted), timeout=STOP_SECONDS)
    return outcomes


class _Submitted:
    """A job that Ray has been given."""

    def __init__(self, job_file: JobFile, watcher: Watcher) -> None:
        self.job_file, self.watcher = job_file, watcher
        self.folder = Path(job_file.place.folder)
        self.history = History(self.folder)
        self.started = False

    def tell(self) -> None:
        """Tell that the job works, and the epochs it has done since the last call."""
        self._tell_start(is_at_work=self.started or is_locked(self.folder))
        for row in self.history.new_rows():
            self._tell_start(is_at_work=True)
            self.watcher.epoch(self.job_file.job, row)

    def _tell_start(self, *, is_at_work: bool) -> None:
        if is_at_work and not self.started:
            self.started = True
            self.watcher.started(self.job_file.job)

    def outcome(self, ray: Any, reference: Any) -> Outcome:
        """How the job ended, as its task and the results folder tell."""
        self._tell_start(is_at_work=True)
        job, killed = self.job_file.job, False
        try:
            ok, fault = ray.get(reference)
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            ok, fault, killed = False, f"given up after {RETRIES} retries: {lines[-1]}", True
        if ok and not is_done(self.folder, job):
            ok, fault = False, "done on its node, but not to be seen here: share the results folder"
        return Outcome(job, self.folder, ok, fault, killed)
