"""The Ray executor: jobs on the nodes of a Ray cluster, or of one started on this machine.

Ray decides only where and when a job runs. A task runs its job with the local executor, in a
separate process that writes results and log; so results folder, cache and project need the same
paths on all nodes. Ray repeats a task whose worker or node was lost, and the job continues from its
last checkpoint; an error of the method is a result and is not repeated.
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
from bench.run.supervisor import STOP_SECONDS, HistoryReader, Outcome, SilentWatcher, Watcher

POLL_SECONDS = 0.2
RETRIES = 5
"""Retries of a job after it lost its worker or node."""


class JobLostError(Exception):
    """A job's process was killed from outside, not by an error of the method."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Resources of one job; gpus is a fraction if several jobs share a GPU.

    may_do_without_gpus  use the CPU on a cluster without GPUs
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
    """Submit jobs to a Ray cluster in the given order and report to the watcher.

    Without an address, Ray is started on this machine and ends with the run. Raises BenchError if
    Ray is not installed or not reachable, or if no node is large enough for a job.
    """
    ray = _connect(bench, address)
    try:
        if needs.may_do_without_gpus and not ray.cluster_resources().get("GPU"):
            needs = replace(needs, gpus=0)
        _refuse_too_large(ray, needs)
        return _follow(ray, job_files, bench, watcher, needs, at_once or len(job_files))
    finally:
        ray.shutdown()


def _connect(bench: Path, address: str | None) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # send no usage statistics
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
        raise BenchError(f"--address {address}: cannot reach a Ray cluster: {first}") from None
    return ray


def _refuse_too_large(ray: Any, needs: Needs) -> None:
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
        f"but the nodes of the Ray cluster have only: {offered}"
    )


def do_job(text: str, bench: str) -> tuple[bool, str]:
    """Run the job of a job file's text on this node; returns whether it is done, and its fault.

    Raises JobLostError if its process was killed from outside.
    """
    job_file = parse_job_file(text, "job file of the Ray task")
    (outcome,) = run_local([job_file], Path(bench), [""], SilentWatcher())
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
    """Submit jobs while others end, report the progress of all, and collect the outcomes."""
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
                each.report()
            for reference in over:
                outcomes.append(submitted.pop(reference).outcome(ray, reference))
                watcher.ended(outcomes[-1])
    finally:
        for reference in submitted:
            ray.cancel(reference)  # by an interrupt: the job saves its state and ends
        if submitted:
            ray.wait(list(submitted), num_returns=len(submitted), timeout=STOP_SECONDS)
    return outcomes


class _Submitted:
    """A job that was submitted to Ray."""

    def __init__(self, job_file: JobFile, watcher: Watcher) -> None:
        self.job_file, self.watcher = job_file, watcher
        self.folder = Path(job_file.place.folder)
        self.history = HistoryReader(self.folder)
        self.started = False

    def report(self) -> None:
        """Report the job's start and its epochs since the last call."""
        self._report_start(is_at_work=self.started or is_locked(self.folder))
        for row in self.history.new_rows():
            self._report_start(is_at_work=True)
            self.watcher.epoch(self.job_file.job, row)

    def _report_start(self, *, is_at_work: bool) -> None:
        if is_at_work and not self.started:
            self.started = True
            self.watcher.started(self.job_file.job)

    def outcome(self, ray: Any, reference: Any) -> Outcome:
        """The outcome by its task and by the results folder."""
        self._report_start(is_at_work=True)
        job, killed = self.job_file.job, False
        try:
            ok, fault = ray.get(reference)
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            ok, fault, killed = False, f"given up after {RETRIES} retries: {lines[-1]}", True
        if ok and not is_done(self.folder, job):
            ok, fault = (
                False,
                "done on its node, but its files are not visible here; share the results folder",
            )
        return Outcome(job, self.folder, ok, fault, killed)
