"""Job lists and SLURM array scripts.

    {"id": "0123456789abcdef", "folder": "/results/groupkfold5/ham10000/resnet18/seed0/fold0"}

Each task takes one line. The folder's job.json holds the job; the id shows whether it is still the
planned one.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from bench.errors import ResultsError
from bench.io import write_atomically
from bench.job import AnyPath, JobFile
from bench.run.results import open_job, prepare, text_of


def write_job_list(path: Path, job_files: Sequence[JobFile]) -> list[JobFile]:
    """Prepare the folders of the jobs and write the list; returns the listed jobs.

    Jobs that are done or running are not listed.
    """
    listed = [file for file in job_files if prepare(file) == "ready"]
    lines = [json.dumps({"id": file.id, "folder": file.place.folder}) + "\n" for file in listed]
    write_atomically(path, "".join(lines).encode())
    return listed


class _Line(BaseModel):
    """A line of a job list."""

    id: str
    folder: AnyPath


def listed_job(path: Path, index: int) -> JobFile:
    """The job of a line, counted from 0. Raises ResultsError if the plan has changed since."""
    lines = text_of(path).removesuffix("\n").split("\n")
    if index >= len(lines):
        raise ResultsError(f"{path}: no job {index}; the list has the jobs 0 to {len(lines) - 1}")
    try:
        line = _Line.model_validate_json(lines[index])
    except ValidationError:
        raise ResultsError(
            f"{path}, line {index + 1}: not a line of a job list; plan again"
        ) from None
    job_json = Path(line.folder) / "job.json"
    try:
        job_file = open_job(job_json)
    except ResultsError as error:
        raise ResultsError(f"{error}; plan again") from None
    if job_file.id != line.id:
        raise ResultsError(f"{job_json}: not the planned job; plan again")
    here = job_file.place.model_copy(update={"folder": line.folder})
    return job_file.model_copy(update={"place": here})


def log_pattern(job_list: Path) -> str:
    """The log path of the array's tasks for sbatch: quoted, with `%a` for the task's number.

    Raises ResultsError for a path that sbatch cannot read.
    """
    path = str(job_list)
    if "\\" in path or not path.isprintable():
        raise ResultsError(
            f"--slurm {path!r}: sbatch cannot read a backslash or a control character in a path; "
            "give another file"
        )
    return shlex.quote(f"{path.replace('%', '%%')}.%a.log")


def array_script(job_list: Path, jobs: Sequence[JobFile], bench: Path, at_once: int | None) -> str:
    """A SLURM array script with one task per job, which requests the resources of a job.

    A task that ends with its node is queued again and continues from its last checkpoint. Raises
    ResultsError as `log_pattern` does.
    """
    job, place = jobs[0].job, jobs[0].place
    limit = f"%{at_once}" if at_once else ""
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={shlex.quote(job.protocol)}",
        f"#SBATCH --array=0-{len(jobs) - 1}{limit}",
        f"#SBATCH --cpus-per-task={max(file.job.threads * file.job.devices for file in jobs)}",
    ]
    if place.device == "cuda":
        lines.append(f"#SBATCH --gres=gpu:{max(file.job.devices for file in jobs)}")
    if place.memory_gib is not None:
        lines.append(f"#SBATCH --mem={round(place.memory_gib * 1024) + 1024}M")
    if place.timeout_seconds is not None:
        # longer than the job's limit, which writes a message into the log
        lines.append(f"#SBATCH --time={int(place.timeout_seconds // 60) + 2}")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(bench))}"
    lines += [
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={log_pattern(job_list)}",
        "# options of your site (partition, account, ...) go here, or on sbatch's command line",
        f"export BENCH_JOBS={shlex.quote(str(job_list))}",
        f'exec {command} job --index "$SLURM_ARRAY_TASK_ID"',
    ]
    return "\n".join(lines) + "\n"
