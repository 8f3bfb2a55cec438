"""`run`: plan, train what is not done yet, score, write the leaderboard."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench.cli.board import Bench, open_bench, print_data, score_and_render
from bench.cli.board_text import print_arms, print_table
from bench.cli.options import DEFAULT_METHODS, Options, as_options, training_options
from bench.cli.places import (
    BASELINES,
    BENCH,
    protocol_option,
    results_option,
    source_options,
)
from bench.data.sources import DataChoice
from bench.errors import BenchError
from bench.foreign import printable


@click.command()
@protocol_option
@source_options
@results_option
@training_options
def run(
    protocol_name: str,
    data: DataChoice,
    dry_run: bool,  # noqa: FBT001
    **rest: Any,
) -> int:
    """Train what is not done yet on every fold, score it, write the leaderboard."""
    options = as_options(data=data, **rest)
    return _run(open_bench(protocol_name, data, images=True), options, dry_run=dry_run)


def _run(bench: Bench, options: Options, *, dry_run: bool) -> int:
    print_data(bench)
    job_files = plan(bench, options)
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
    from bench.run.order import longest_first
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
    from bench.cli.progress import title

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
    from bench.cli.progress import progress_for

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
        click.echo(printable(f"failed: {outcome.folder}: {outcome.fault}"), err=True)


def plan(bench: Bench, options: Options) -> list[Any]:
    """Build the stores, plan the jobs, and say where each finds its data and puts its results."""
    from bench.data.folds import fold_table, write_fold_table
    from bench.data.preprocess import preprocessing
    from bench.job import JobFile, Place
    from bench.run.plan import Ask, Pixels, own_idle, plan_jobs, recipe_of, without_idle
    from bench.run.registry import load_method
    from bench.run.results import job_folder, refuse_unwritable, sweep
    from bench.run.weights import find_weights

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
            asks.append(Ask(loaded, variant, weights, options.weights is not None))
        if recipe.pretrained and weights.path is None:
            click.echo(
                f"{loaded.method.name}: trains from scratch, since {recipe.pretrained} cannot be "
                "fetched and --weights is not given; the leaderboard says so",
                err=True,
            )
        if idle := own_idle(loaded.method):
            click.echo(f"{loaded.method.name}: of its recipe change nothing: {idle}", err=True)
    _refuse_idle_options(options, asks)
    chains = dict.fromkeys(preprocessing(recipe_of(protocol, manifest.name, ask)) for ask in asks)
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
        from bench.cli.unlabelled import refuse_deaf, unlabelled_stores

        refuse_deaf([loaded.method for loaded in methods])
        further = unlabelled_stores(bench, options.unlabelled, chains)
        files = next(iter(further.values())).index.files_sha256[:16]
        asks = [replace(ask, overrides={**ask.overrides, "unlabelled": files}) for ask in asks]
    asks = without_idle(protocol, manifest.name, asks, options.devices_per_job)
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
            place=Place(
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

    from bench.data.building import build_store
    from bench.data.preprocess import described, recorded

    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(
            f"images: {described(recorded(chain))}", total=len(bench.source.manifest)
        )
        return build_store(bench.source, chain, lambda: bars.advance(task))


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
