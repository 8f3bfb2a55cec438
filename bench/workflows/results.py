"""Work on a results folder: status, integrity, merging; and the state of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from bench.job import JobFile
from bench.run.doctor import Finding
from bench.run.integrity import Checked, Merged, merge_results
from bench.run.integrity import verify_results as verify
from bench.run.results import refuse_unwritable
from bench.run.slurm import array_script, log_pattern, write_job_list
from bench.run.status import RowState, read_status
from bench.settings import BENCH, DATA, JOB_LIST, PROTOCOLS, ROOT
from bench.workflows.run import Plan
from bench.workflows.workspace import find_protocols


def status(results: Path) -> list[RowState]:
    """State of every job of a results folder, by row, and the time the rest will take."""
    return list(read_status(results, find_protocols()))


def verify_results(results: Path) -> Checked:
    """Check the hashes of every record and the ids of every prediction; list orphans."""
    return verify(results, find_protocols(), PROTOCOLS)


def merge(source: Path, results: Path) -> Merged:
    """Copy every finished job and submission of `source` into `results`.

    Raises ResultsError where both hold different content at one place; then nothing is copied.
    """
    refuse_unwritable(results)
    return merge_results(source, results)


def job_list_path(results: Path, slurm: Path | None) -> Path:
    """Where `write_jobs` writes the job list. Raises BenchError for a path SLURM cannot log to."""
    if slurm is None:
        return results.resolve() / JOB_LIST
    path = slurm.resolve().with_name(f"{slurm.name}.jobs")
    log_pattern(path)
    return path


def write_jobs(
    plan: Plan, job_list: Path, slurm: Path | None = None, at_once: int | None = None
) -> list[JobFile]:
    """Write the waiting jobs of a plan as a job list, and an sbatch array script beside it.

    Gives the jobs that are listed: those that are not running elsewhere.
    """
    listed = write_job_list(job_list, plan.waiting)
    if listed and slurm is not None:
        slurm.write_text(array_script(job_list, listed, BENCH, at_once), encoding="utf-8")
    return listed


def doctor(results: Path) -> Iterator[Finding]:
    """Hardware, packages and extras of this machine, and what is missing for which command.

    Stops after the packages where one is missing, because further checks import them. A finding of
    state FAULT means that the main job could not run. Uses no network.
    """
    from bench.run.doctor import packages

    missing = False
    for finding in packages(_requirements()):
        missing |= finding.state == "FAULT"
        yield finding
    if missing:
        return
    from bench.run.doctor import examine

    yield _scoring()
    yield from examine(DATA, results)


def _requirements() -> Path | list[str]:
    """The checkout's requirements.in, or the requirements of the installed package."""
    path = ROOT / "requirements.in"
    if path.is_file():
        return path
    try:
        return [line for line in requires("lesion-bench") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return []


def _scoring() -> Finding:
    """Whether numba compiles the scoring kernels here."""
    try:
        import numpy as np

        from bench.score import kernels

        kernels.draw(np.uint64(0), 0, np.zeros((1, 64), np.uint8))
    except Exception as error:  # noqa: BLE001 - whatever numba raises where it cannot compile
        fault = f"numba cannot compile: {error}"
        return Finding("FAULT", "scoring", fault, "use a Python and a NumPy that numba supports")
    return Finding("ok", "scoring", "its kernels are compiled by numba, and cached")
