"""`job`: one job in this process, from its JOB.json."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from bench.cli.places import BENCH
from bench.job import parse_job_file


@click.command()
@click.argument("job_json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def job(job_json: Path) -> None:
    """Do the job that JOB_JSON describes; leave predictions and record beside it."""
    from bench.run.execute import help_job, helper_rank, run_job
    from bench.run.local import RUNNER_PIPE
    from bench.run.results import is_done

    job_file = parse_job_file(job_json.read_text(encoding="utf-8"), str(job_json))
    # results may have been moved since: a job's folder is where its file lies
    here = job_file.place.model_copy(update={"folder": str(job_json.resolve().parent)})
    job_file = job_file.model_copy(update={"place": here})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(job_file.job.threads)
    shared = job_file.job.devices > 1
    if shared and "TORCHELASTIC_RUN_ID" not in os.environ:
        if not is_done(Path(here.folder), job_file.job):
            _become_torchrun(job_file.job.devices, job_json)
        click.echo("done already")
        return
    if os.environ.get(RUNNER_PIPE):
        threading.Thread(target=_end_with_runner, daemon=True).start()
    if helper_rank(job_file.job):
        help_job(job_file)
        return
    record = run_job(job_file)
    click.echo(f"done: {record.job.row} seed {record.job.seed} fold {record.job.fold}")


def _become_torchrun(processes: int, job_json: Path) -> None:
    """Let torchrun take this process's place and start the job's processes, each of them this verb.

    The process id stays, so that whoever started the job can still end it.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = [sys.executable, *torchrun, str(BENCH), "job", str(job_json)]
    os.execv(sys.executable, words)  # noqa: S606 - the bench itself, nothing a user typed


def _end_with_runner() -> None:
    """End this process when the runner's end of the pipe closes, however the runner ended."""
    # unbuffered: a lock on sys.stdin held by this thread would abort the interpreter at its end
    while os.read(0, 1):
        pass
    os._exit(1)
