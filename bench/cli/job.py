"""`job`: one job of a run, from its JOB.json or from a job list."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from bench.cli.places import BENCH, DEFAULT_RESULTS
from bench.errors import BenchError
from bench.job import JobFile
from bench.run.results import PLANNED


@click.command()
@click.argument(
    "job_json", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--index", type=click.IntRange(0), help="The job of that number in --list, from 0.")
@click.option(
    "--list",
    "job_list",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BENCH_JOBS",
    default=DEFAULT_RESULTS / PLANNED,
    show_default=True,
    help="The job list that `plan` wrote; $BENCH_JOBS sets it, too.",
)
def job(job_json: Path | None, index: int | None, job_list: Path) -> int:
    """Do the job that JOB_JSON describes; leave predictions and record beside it.

    With --index, do that job of a list as a runner would: its log goes into its folder.
    """
    if (job_json is None) == (index is None):
        raise BenchError("job: give a JOB.json, or --index N with the --list that `plan` wrote")
    if job_json is not None:
        return _do(job_json)
    if not job_list.is_file():
        raise BenchError(
            f"job --index: {job_list}: no such file; give the --list that `plan` wrote"
        )
    return _do_listed(job_list, int(index or 0))


def _do_listed(job_list: Path, index: int) -> int:
    """Do a job of a list in a process of its own, and tell how it goes."""
    from bench.cli.progress import LineProgress
    from bench.run.joblist import listed_job
    from bench.run.local import run_local

    job_file = listed_job(job_list, index)
    with LineProgress([job_file.job]) as watcher:
        (outcome,) = run_local([job_file], BENCH, [""], watcher)
    click.echo(f"{'done' if outcome.ok else 'failed'}: {outcome.folder}")
    return 0 if outcome.ok else 1


def _do(job_json: Path) -> int:
    """Do a job in this process's child, within the limits of its place."""
    from bench.run.guard import guarded
    from bench.run.process import RUNNER_PIPE
    from bench.run.results import open_job

    os.environ.pop("BENCH_DATA", None)  # the labels lie there
    job_file = open_job(job_json)
    # results may have been moved since: a job's folder is where its file lies
    here = job_file.place.model_copy(update={"folder": str(job_json.resolve().parent)})
    job_file = job_file.model_copy(update={"place": here})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(job_file.job.threads)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # one of several that torchrun has started
        return _work(job_file, job_json)
    watch = bool(os.environ.get(RUNNER_PIPE))
    return guarded(lambda: _work(job_file, job_json), here, watch_runner=watch)


def _work(job_file: JobFile, job_json: Path) -> int:
    from bench.run.execute import JobBusyError, help_job, helper_rank, run_job
    from bench.run.process import BUSY, RUNNER_PIPE
    from bench.run.results import is_done

    shared = job_file.job.devices > 1
    if shared and "TORCHELASTIC_RUN_ID" not in os.environ:
        if not is_done(Path(job_file.place.folder), job_file.job):
            _become_torchrun(job_file.job.devices, job_json)
        click.echo("done already")
        return 0
    if os.environ.get(RUNNER_PIPE):
        threading.Thread(target=_end_with_runner, daemon=True).start()
    if helper_rank(job_file.job):
        help_job(job_file)
        return 0
    try:
        record = run_job(job_file)
    except JobBusyError as error:
        click.echo(str(error), err=True)
        return BUSY
    click.echo(f"done: {record.job.row} seed {record.job.seed} fold {record.job.fold}")
    return 0


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
