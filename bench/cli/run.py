"""`run`: plan, train what is not done yet, score, write the leaderboard."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.cli.board import Bench, open_bench, print_arms, print_data, print_table, score_and_render
from bench.cli.places import (
    BASELINES,
    BENCH,
    data_options,
    protocol_option,
    results_option,
)
from bench.errors import BenchError

DEFAULT_METHODS = ("custom_cnn", "resnet18", "efficientnet_phase4")


class _Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers separated by commas: 0,2."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            numbers = tuple(dict.fromkeys(int(number) for number in str(value).split(",")))
        except ValueError:
            numbers = (-1,)
        if min(numbers) < 0:
            self.fail(f"{value!r} is not a list of whole numbers from 0 such as 0,2", param, ctx)
        return numbers


@dataclass(frozen=True)
class Options:
    """What the user asked of a run."""

    data: Path | None
    methods: tuple[str, ...]
    results: Path
    seeds: tuple[int, ...] | None
    folds: tuple[int, ...] | None
    settings: Mapping[str, Any]
    device: str
    jobs: int | None
    jobs_per_device: int
    threads: int
    weights: Path | None
    replace: bool


@click.command()
@protocol_option
@data_options
@click.option(
    "--method",
    "methods",
    multiple=True,
    help=f"A method's name or FILE.py; repeatable. Default: {', '.join(DEFAULT_METHODS)}.",
)
@results_option
@click.option("--seeds", type=_Numbers(), help="Seeds, such as 0,1. Default: the protocol's.")
@click.option("--folds", type=_Numbers(), help="Folds, such as 0,2. Default: all.")
@click.option("--set", "settings", multiple=True, help="A recipe's switch: key=value; repeatable.")
@click.option("--image-size", type=click.IntRange(8, 4096), help="Short for --set image_size=N.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What to train on; auto takes the GPU where there is one.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Jobs at once. Default: one a core (over --threads) on a CPU, one a GPU otherwise.",
)
@click.option(
    "--jobs-per-device",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Jobs at once on each GPU.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="CPU threads a job; part of what makes its numbers, so it is recorded.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, path_type=Path),
    help="Pretrained weights: a file, or a folder with <model>.safetensors. Say what they have "
    "seen with --set pretraining_data=...; undeclared ones are not ranked.",
)
@click.option(
    "--replace", is_flag=True, help="Train finished jobs again that other code or weights made."
)
@click.option("--dry-run", is_flag=True, help="Show the jobs and what is done; train nothing.")
def run(
    protocol_name: str,
    data: Path | None,
    name: str | None,
    settings: tuple[str, ...],
    image_size: int | None,
    dry_run: bool,  # noqa: FBT001
    **rest: Any,
) -> int:
    """Train what is not done yet on every fold, score it, write the leaderboard."""
    from bench.method import parse_overrides

    overrides: dict[str, Any] = dict(parse_overrides(settings))
    if image_size is not None:
        overrides["image_size"] = image_size
    options = Options(data=data, settings=overrides, **rest)
    return _run(open_bench(protocol_name, data, name, images=True), options, dry_run=dry_run)


def _run(bench: Bench, options: Options, *, dry_run: bool) -> int:
    from bench.run.local import run_local
    from bench.run.results import is_done, refuse_replacing, refuse_unwritable

    print_data(bench)
    refuse_unwritable(options.results)
    job_files = _plan(bench, options)
    waiting = [file for file in job_files if not is_done(Path(file.place.folder), file.job)]
    click.echo(f"{len(job_files)} jobs, {len(job_files) - len(waiting)} of them done already")
    if dry_run:
        from bench.cli.progress import title

        for file in job_files:
            state = "to do" if file in waiting else "done"
            click.echo(f"{file.id}  {title(file.job)}  {state}")
        return 0
    if not options.replace:
        refuse_replacing([(Path(file.place.folder), file.job) for file in waiting])
    failed = []
    if waiting:
        from bench.cli.progress import progress_for

        slots = _slots(options, len(waiting))
        with progress_for([file.job for file in waiting]) as watcher:
            outcomes = run_local(waiting, BENCH, slots, watcher)
        failed = [outcome for outcome in outcomes if not outcome.ok]
    leaderboard, page = score_and_render(bench, options.results)
    print_table(leaderboard)
    print_arms(leaderboard)
    click.echo(f"leaderboard: {page}")
    for outcome in failed:
        click.echo(f"failed: {outcome.folder}: {outcome.fault}", err=True)
    return 1 if failed else 0


def _plan(bench: Bench, options: Options) -> list[Any]:
    """Build the stores, plan the jobs, and say where each finds its data and puts its results."""
    from bench.data.folds import fold_table, write_fold_table
    from bench.job import JobFile, Place
    from bench.run.plan import Ask, Pixels, plan_jobs, recipe_of
    from bench.run.registry import load_method
    from bench.run.results import job_folder
    from bench.run.weights import find_weights

    protocol, manifest = bench.protocol, bench.source.manifest
    asks = []
    for method in dict.fromkeys(options.methods or DEFAULT_METHODS):
        loaded = load_method(method, BASELINES)
        recipe = loaded.method.recipe.with_overrides(options.settings)
        weights = find_weights(recipe, options.weights)
        asks.append(Ask(loaded, options.settings, weights, options.weights is not None))
        if recipe.pretrained and weights.path is None:
            click.echo(
                f"{loaded.method.name}: trains from scratch, since {recipe.pretrained} cannot be "
                "fetched and --weights is not given; the leaderboard says so",
                err=True,
            )
    _refuse_twins([ask.loaded.method.name for ask in asks])
    _refuse_idle_options(options, asks)
    sizes = {recipe_of(protocol, manifest.name, ask).image_size for ask in asks}
    folds = options.folds if options.folds is not None else tuple(range(protocol.folds))
    plan = {
        "seeds": options.seeds or tuple(protocol.run.seeds),
        "folds": folds,
        "threads": options.threads,
    }
    # planned once without pixels, so that a wrong option is told before images are read
    nothing = dict.fromkeys(sizes, Pixels("", {}, native=True))
    plan_jobs(protocol, manifest, bench.roles_sha256, asks, nothing, **plan)  # type: ignore[arg-type]
    stores = {size: _store(bench, size) for size in sorted(sizes)}
    own = manifest.native_size
    pixels = {
        size: Pixels(
            sha256=store.index.pixels_sha256,
            file_sizes=store.index.file_sizes,
            native=own is None or set(store.index.file_sizes) == {f"{own[0]}x{own[1]}"},
        )
        for size, store in stores.items()
    }
    jobs = plan_jobs(protocol, manifest, bench.roles_sha256, asks, pixels, **plan)  # type: ignore[arg-type]
    tables = {
        column: write_fold_table(fold_table(manifest, bench.roles, column))
        for column in {job.column for job in jobs}
    }
    by_method = {ask.loaded.method.name: ask for ask in asks}
    return [
        JobFile(
            id=job.id,
            command=_command(job.protocol, options, by_method[job.method]),
            job=job,
            place=Place(
                method_file=str(by_method[job.method].loaded.file),
                store=str(stores[job.recipe.image_size].folder.resolve()),
                fold_table=str(tables[job.column].resolve()),
                weights=_text(by_method[job.method].weights.path),
                folder=str(job_folder(options.results, job, protocol.split.repeats).resolve()),
                device=options.device,
            ),
        )
        for job in jobs
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
    if options.device == "cuda" and not gpu_count():
        raise BenchError("--device cuda: this machine shows no CUDA device; use --device cpu")


def _store(bench: Bench, image_size: int) -> Any:
    """The pixels at a size, with a bar while they are made."""
    from rich.console import Console
    from rich.progress import Progress

    from bench.data.store import build_store

    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(f"images at {image_size} px", total=len(bench.source.manifest))
        return build_store(bench.source, image_size, lambda: bars.advance(task))


def _slots(options: Options, waiting: int) -> list[str]:
    """One entry a job that may run at once: the GPU it sees, or "" on a CPU."""
    from bench.run.local import gpu_slots

    gpus = [] if options.device == "cpu" else gpu_slots(options.jobs_per_device)
    slots = gpus or [""] * max(1, (os.cpu_count() or 1) // options.threads)
    if options.jobs is not None:
        slots = (slots * options.jobs)[: options.jobs]
    return slots[:waiting]


def _command(protocol: str, options: Options, ask: Any) -> str:
    """The command that gives a method's whole row again. A path of this machine is not told."""
    words = ["python", "bench.py", "run", "--protocol", protocol]
    if options.data is not None:
        words += ["--data", "DIR" if options.data.is_absolute() else str(options.data)]
    file = ask.loaded.file
    words += ["--method", ask.loaded.method.name if file.parent == BASELINES else file.name]
    for key, value in options.settings.items():
        words += (
            ["--image-size", str(value)] if key == "image_size" else ["--set", f"{key}={value}"]
        )
    if options.seeds is not None:
        words += ["--seeds", ",".join(map(str, options.seeds))]
    if options.threads != 1:
        words += ["--threads", str(options.threads)]
    if options.weights is not None:
        words += ["--weights", options.weights.name]
    return shlex.join(words)
