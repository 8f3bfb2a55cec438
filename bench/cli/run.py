"""`run`, `plan`, `job`: train what is not done yet."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench.cli.options import (
    DEFAULT_METHODS,
    Options,
    as_options,
    protocol_option,
    results_option,
    source_options,
    training_options,
)
from bench.cli.terminal import print_arms, print_table
from bench.data.open import DatasetSpec
from bench.errors import BenchError
from bench.io import strip_control
from bench.job import JobFile
from bench.run.results import JOB_LIST
from bench.settings import BASELINES, BENCH, DEFAULT_RESULTS
from bench.workflows.report import Bench, open_bench, print_data, score_and_render


@click.command()
@protocol_option
@source_options
@results_option
@training_options
def run(
    protocol_name: str,
    data: DatasetSpec,
    dry_run: bool,  # noqa: FBT001
    **rest: Any,
) -> int:
    """Train what is not done yet on every fold, score it, write the leaderboard."""
    options = as_options(data=data, **rest)
    return _run(open_bench(protocol_name, data, images=True), options, dry_run=dry_run)


def _run(bench: Bench, options: Options, *, dry_run: bool) -> int:
    print_data(bench)
    job_files = plan_run(bench, options)
    failed = train(job_files, options, dry_run=dry_run)
    if dry_run:
        return 0
    leaderboard, page, _ = score_and_render(bench, options.results)
    print_table(leaderboard)
    print_arms(leaderboard)
    click.echo(f"leaderboard: {page}")
    print_failures(failed)
    return 1 if failed else 0


def undone(job_files: Sequence[Any], options: Options) -> list[Any]:
    """The jobs that are not done yet, longest first. Raises ResultsError where finished jobs would
    be lost."""
    from bench.run.planner import longest_first
    from bench.run.results import is_done, records, refuse_replacing

    waiting = [file for file in job_files if not is_done(Path(file.place.folder), file.job)]
    click.echo(f"{len(job_files)} jobs, {len(job_files) - len(waiting)} of them done already")
    if not options.replace:
        refuse_replacing([(Path(file.place.folder), file.job) for file in waiting])
    places = dict.fromkeys((file.job.protocol, file.job.dataset) for file in waiting)
    known = [found for place in places for _, found in records(options.results, *place)]
    return longest_first(waiting, known)


def show_jobs(job_files: Sequence[Any], waiting: Sequence[Any]) -> None:
    """List the jobs, and which of them are done."""
    from bench.cli.terminal import title

    left = {file.id for file in waiting}
    for file in job_files:
        click.echo(f"{file.id}  {title(file.job)}  {'to do' if file.id in left else 'done'}")


def train(job_files: Sequence[Any], options: Options, *, dry_run: bool) -> list[Any]:
    """Do the jobs that are not done yet; gives the outcomes of the failed ones.

    A dry run only lists them. Raises ResultsError where finished jobs would be lost.
    """
    waiting = undone(job_files, options)
    if dry_run:
        show_jobs(job_files, waiting)
        return []
    if not waiting:
        return []
    from bench.cli.terminal import progress_for

    with progress_for([file.job for file in waiting]) as watcher:
        outcomes = _EXECUTORS[options.executor](waiting, options, watcher)
    return [outcome for outcome in outcomes if not outcome.ok]


def _locally(waiting: Sequence[Any], options: Options, watcher: Any) -> list[Any]:
    from bench.run.local import run_local

    return run_local(waiting, BENCH, _slots(options, len(waiting)), watcher)


def _by_ray(waiting: Sequence[Any], options: Options, watcher: Any) -> list[Any]:
    from bench.run.ray import Needs, run_ray

    needs = Needs(
        cpus=options.threads * options.devices_per_job,
        gpus=options.devices_per_job / options.jobs_per_device,
        memory_gib=options.job_memory,
        may_do_without_gpus=options.device == "auto",
    )
    if options.device == "cpu":
        needs = replace(needs, gpus=0)
    return run_ray(
        waiting, BENCH, watcher, address=options.address, needs=needs, at_once=options.jobs
    )


_EXECUTORS: dict[str, Callable[[Sequence[Any], Options, Any], list[Any]]] = {
    "local": _locally,
    "ray": _by_ray,
}


def print_failures(failed: Sequence[Any]) -> None:
    """Name the jobs that failed, and why."""
    for outcome in failed:
        click.echo(strip_control(f"failed: {outcome.folder}: {outcome.fault}"), err=True)


def plan_run(bench: Bench, options: Options) -> list[Any]:
    """Build the stores, plan the jobs, and say where each finds its data and puts its results."""
    from bench.data.fold_task import fold_table, write_fold_table
    from bench.data.preprocess import preprocessing
    from bench.job import JobFile, JobLocation
    from bench.run.planner import (
        MethodRequest,
        Pixels,
        drop_inactive,
        find_weights,
        own_inactive,
        plan_jobs,
        resolve_recipe,
    )
    from bench.run.registry import load_method
    from bench.run.results import job_folder, refuse_unwritable, sweep

    refuse_unwritable(options.results)
    sweep(options.results)
    protocol, manifest = bench.protocol, bench.source.manifest
    asks = []
    methods = [load_method(m, BASELINES) for m in dict.fromkeys(options.methods or DEFAULT_METHODS)]
    _refuse_twins([loaded.method.name for loaded in methods])
    for loaded in methods:
        for variant in options.variants:
            recipe = loaded.method.recipe.with_overrides(variant)
            weights = find_weights(recipe, options.weights)
            asks.append(MethodRequest(loaded, variant, weights, options.weights is not None))
        if recipe.pretrained and weights.path is None:
            click.echo(
                f"{loaded.method.name}: trains from scratch, since {recipe.pretrained} cannot be "
                "fetched and --weights is not given; the leaderboard says so",
                err=True,
            )
        if idle := own_inactive(loaded.method):
            click.echo(f"{loaded.method.name}: of its recipe change nothing: {idle}", err=True)
    _refuse_idle_options(options, asks)
    chains = dict.fromkeys(
        preprocessing(resolve_recipe(protocol, manifest.name, ask)) for ask in asks
    )
    folds = options.folds if options.folds is not None else tuple(range(protocol.folds))
    ways = {
        "seeds": options.seeds or tuple(protocol.run.seeds),
        "folds": folds,
        "threads": options.threads,
        "devices": options.devices_per_job,
    }
    # planned once without pixels, so that a wrong option is told before images are read
    nothing = dict.fromkeys(chains, Pixels("", {}, native=True))
    plan_jobs(protocol, manifest, bench.roles_sha256, asks, nothing, **ways)  # type: ignore[arg-type]
    further: dict[Any, Any] = {}
    if options.unlabelled is not None:
        from bench.workflows.unlabelled import refuse_deaf, unlabelled_stores

        refuse_deaf([loaded.method for loaded in methods])
        further = unlabelled_stores(bench, options.unlabelled, chains)
        files = next(iter(further.values())).index.files_sha256[:16]
        asks = [replace(ask, overrides={**ask.overrides, "unlabelled": files}) for ask in asks]
    asks = drop_inactive(protocol, manifest.name, asks, options.devices_per_job)
    stores = {chain: _store(bench, chain) for chain in chains}
    own = manifest.native_size
    pixels = {
        chain: Pixels(
            sha256=store.index.pixels_sha256,
            file_sizes=store.index.file_sizes,
            native=own is None or set(store.index.file_sizes) == {f"{own[0]}x{own[1]}"},
        )
        for chain, store in stores.items()
    }
    planned = [
        (ask, job)
        for ask in asks
        for job in plan_jobs(protocol, manifest, bench.roles_sha256, [ask], pixels, **ways)  # type: ignore[arg-type]
    ]
    tables = {
        column: write_fold_table(fold_table(manifest, bench.roles, column))
        for column in {job.column for _, job in planned}
    }
    return [
        JobFile(
            id=job.id,
            command=_command(job.protocol, options, ask),
            job=job,
            place=JobLocation(
                method_file=ask.loaded.address,
                store=str(stores[preprocessing(job.recipe)].folder.resolve()),
                fold_table=str(tables[job.column].resolve()),
                weights=_text(ask.weights.path),
                folder=str(job_folder(options.results, job, protocol.split.repeats).resolve()),
                device=options.device,
                checkpoint_seconds=options.checkpoint_seconds,
                timeout_seconds=options.job_timeout,
                memory_gib=options.job_memory,
                disk_gib=options.job_disk,
                tensorboard=options.tensorboard,
                unlabelled=_text(further[chain].folder.resolve())
                if (chain := preprocessing(job.recipe)) in further
                else None,
            ),
        )
        for ask, job in planned
    ]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _refuse_twins(names: Sequence[str]) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise BenchError(f"two method files define the name {twins[0]!r}; rename one")


def _refuse_idle_options(options: Options, asks: Sequence[Any]) -> None:
    """Refuse what could only be ignored, or fail in every job."""
    from bench.run.local import gpu_count

    if options.weights is not None and not any(ask.weights.path for ask in asks):
        raise BenchError("--weights: none of the methods starts from pretrained weights")
    if options.address is not None and options.executor != "ray":
        raise BenchError("--address is of --executor ray")
    if options.executor == "ray":
        return  # its nodes have devices of their own
    if options.device == "cuda" and not gpu_count():
        raise BenchError("--device cuda: this machine shows no CUDA device; use --device cpu")
    if options.device != "cpu" and 0 < gpu_count() < options.devices_per_job:
        raise BenchError(
            f"--devices-per-job {options.devices_per_job}: this machine shows {gpu_count()} GPUs"
        )


def _store(bench: Bench, chain: Any) -> Any:
    """The pixels after a chain, with a bar while they are made."""
    from rich.console import Console
    from rich.progress import Progress

    from bench.data.cache import build_cache
    from bench.data.preprocess import described, recorded

    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(
            f"images: {described(recorded(chain))}", total=len(bench.source.manifest)
        )
        return build_cache(bench.source, chain, lambda: bars.advance(task))


def _slots(options: Options, waiting: int) -> list[str]:
    """One entry a job that may run at once: the GPU it sees, or "" on a CPU."""
    from bench.run.local import gpu_slots

    gpus = []
    if options.device != "cpu":
        gpus = gpu_slots(options.jobs_per_device, options.devices_per_job)
    cores = options.threads * options.devices_per_job
    slots = gpus or [""] * max(1, (os.cpu_count() or 1) // cores)
    if options.jobs is not None:
        slots = (slots * options.jobs)[: options.jobs]
    return slots[:waiting]


def _command(protocol: str, options: Options, ask: Any) -> str:
    """The command that gives a method's whole row again. A path of this machine is not told."""
    words = ["python", "bench.py", "run", "--protocol", protocol]
    words += options.data.words()
    words += ["--method", ask.loaded.given]
    if options.unlabelled is not None:
        words += ["--unlabelled", options.unlabelled.name]
    for key, value in ask.overrides.items():
        if key == "unlabelled":
            continue
        words += (
            ["--image-size", str(value)] if key == "image_size" else ["--set", f"{key}={value}"]
        )
    if options.seeds is not None:
        words += ["--seeds", ",".join(map(str, options.seeds))]
    if options.threads != 1:
        words += ["--threads", str(options.threads)]
    if options.devices_per_job != 1:
        words += ["--devices-per-job", str(options.devices_per_job)]
    if options.weights is not None:
        words += ["--weights", options.weights.name]
    return shlex.join(words)


@click.command("plan")
@protocol_option
@source_options
@results_option
@click.option(
    "--slurm",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an array script for sbatch, and beside it the list of the jobs, FILE.jobs.",
)
@training_options
def plan(
    protocol_name: str,
    data: DatasetSpec,
    slurm: Path | None,
    dry_run: bool,  # noqa: FBT001
    **rest: Any,
) -> int:
    """Plan the jobs of a run without doing them; those done already are left out.

    The list of them goes into the results folder, or beside the script; `job --index N` does one.
    Images are read and stored now. What the tasks need, they find in the results folder and the
    cache, which all nodes must see at the same paths. `report` scores what they leave.
    """
    from bench.run.results import JOB_LIST
    from bench.run.slurm import array_script, log_pattern, write_job_list

    options = as_options(data=data, **rest)
    job_list = options.results.resolve() / JOB_LIST
    if slurm is not None:
        job_list = slurm.resolve().with_name(f"{slurm.name}.jobs")
        log_pattern(job_list)  # refused before images are read
    bench = open_bench(protocol_name, data, images=True)
    print_data(bench)
    job_files = plan_run(bench, options)
    waiting = undone(job_files, options)
    if slurm is None or dry_run:
        show_jobs(job_files, waiting)
    if dry_run:
        return 0
    if not waiting:
        click.echo("nothing is left to do")
        return 0
    listed = write_job_list(job_list, waiting)
    if not listed:
        click.echo("all that is left is being done elsewhere")
        return 0
    if slurm is None:
        click.echo(f"{len(listed)} jobs: {job_list}; one of them: job --index N --list {job_list}")
        return 0
    slurm.write_text(array_script(job_list, listed, BENCH, options.jobs), encoding="utf-8")
    click.echo(f"{len(listed)} jobs: {job_list}\nsbatch {slurm}")
    return 0


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
    default=DEFAULT_RESULTS / JOB_LIST,
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
    from bench.cli.terminal import LineProgress
    from bench.run.local import run_local
    from bench.run.slurm import listed_job

    job_file = listed_job(job_list, index)
    with LineProgress([job_file.job]) as watcher:
        (outcome,) = run_local([job_file], BENCH, [""], watcher)
    click.echo(f"{'done' if outcome.ok else 'failed'}: {outcome.folder}")
    return 0 if outcome.ok else 1


def _do(job_json: Path) -> int:
    """Do a job in this process's child, within the limits of its place."""
    from bench.run.results import open_job
    from bench.run.supervisor import RUNNER_PIPE, supervise

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
    return supervise(lambda: _work(job_file, job_json), here, watch_runner=watch)


def _work(job_file: JobFile, job_json: Path) -> int:
    from bench.run.results import is_done
    from bench.run.supervisor import BUSY, RUNNER_PIPE
    from bench.run.worker import JobBusyError, help_job, helper_rank, run_job

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
