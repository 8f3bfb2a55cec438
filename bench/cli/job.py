"""`job`: one job in this process, from its JOB.json."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import click

from bench.job import parse_job_file


@click.command()
@click.argument("job_json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def job(job_json: Path) -> None:
    """Do the job that JOB_JSON describes; leave predictions and record beside it."""
    from bench.run.execute import run_job
    from bench.run.local import RUNNER_PIPE

    job_file = parse_job_file(job_json.read_text(encoding="utf-8"), str(job_json))
    # results may have been moved since: a job's folder is where its file lies
    here = job_file.place.model_copy(update={"folder": str(job_json.resolve().parent)})
    job_file = job_file.model_copy(update={"place": here})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(job_file.job.threads)
    if os.environ.get(RUNNER_PIPE):
        threading.Thread(target=_end_with_runner, daemon=True).start()
    record = run_job(job_file)
    click.echo(f"done: {record.job.row} seed {record.job.seed} fold {record.job.fold}")


def _end_with_runner() -> None:
    """End this process when the runner's end of the pipe closes, however the runner ended."""
    # unbuffered: a lock on sys.stdin held by this thread would abort the interpreter at its end
    while os.read(0, 1):
        pass
    os._exit(1)
