"""Plan a run, do the jobs that are not done yet, and choose hyperparameters on val."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.data.cache import ImageCache, build_cache
from bench.data.fold_task import fold_table, write_fold_table
from bench.data.open import DatasetSpec, OpenDataset
from bench.data.preprocess import Chain, described, preprocessing, recorded
from bench.errors import BenchError, MethodError, listing
from bench.job import Job, JobFile, JobLocation, engine_sha256
from bench.method import Method
from bench.protocol import PARTS
from bench.run.local import gpu_count, gpu_slots, run_local
from bench.run.planner import (
    MethodRequest,
    Pixels,
    drop_inactive,
    find_weights,
    fixed_options,
    longest_first,
    own_inactive,
    plan_jobs,
    resolve_recipe,
)
from bench.run.registry import load_method, trained_by_engine
from bench.run.results import (
    is_finished,
    job_folder,
    records,
    refuse_mixing,
    refuse_replacing,
    refuse_unwritable,
    sweep,
    version_row,
)
from bench.run.supervisor import Outcome
from bench.settings import BASELINES, BENCH, DEFAULT_METHODS, DEFAULT_RESULTS
from bench.workflows.events import JobWatcher, Message, OnEvent, Steps, ignore
from bench.workflows.open import OpenBench

Value = str | int | float | bool | None
Overrides = Mapping[str, Value]
DEVICES = ("auto", "cpu", "cuda")
FAULTS_SHOWN = 5


@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    data       the data as the user named it, for the command that is recorded
    methods    names of methods or paths of method files; empty: the three baselines
    seeds      None: the protocol's; folds  None: all
    variants   recipe overrides, one mapping for each training of a method; one for `run`
    device     auto, cpu or cuda; executor  local or ray, with the address of a running cluster
    jobs       jobs at once; None: one a core (over `threads`) on a CPU, one a GPU otherwise
    threads    CPU threads of each job; recorded, because they change the numbers
    weights    file of pretrained weights, or a folder with <model>.safetensors
    unlabelled folder of images without labels, for pseudo-labels
    replace    train finished jobs again that other code, weights or threads made
    mix_code   continue rows whose finished folds other code of the bench made; marks them
    keep_state keep the state of the training (last.pt) of finished jobs
    job_timeout in seconds, job_memory and job_disk in GiB: limits of each job
    """

    data: DatasetSpec = field(default_factory=DatasetSpec)
    methods: tuple[str, ...] = ()
    results: Path = DEFAULT_RESULTS
    seeds: tuple[int, ...] | None = None
    folds: tuple[int, ...] | None = None
    variants: tuple[Overrides, ...] = ({},)
    device: str = "auto"
    executor: str = "local"
    address: str | None = None
    jobs: int | None = None
    jobs_per_device: int = 1
    devices_per_job: int = 1
    threads: int = 1
    checkpoint_seconds: float = 60.0
    job_timeout: float | None = None
    job_memory: float | None = None
    job_disk: float | None = None
    tensorboard: bool = True
    weights: Path | None = None
    unlabelled: Path | None = None
    replace: bool = False
    mix_code: bool = False
    keep_state: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no run can use. Raises MethodError that names the option."""
        for name in ("seeds", "folds"):
            numbers = getattr(self, name)
            if numbers is not None and not all(_is_count(each, 0) for each in numbers):
                raise MethodError(f"{name}={numbers!r}: give whole numbers from 0")
        for name in ("jobs", "jobs_per_device", "devices_per_job", "threads"):
            value = getattr(self, name)
            if not (value is None and name == "jobs") and not _is_count(value, 1):
                raise MethodError(f"{name}={value!r}: give a whole number from 1")
        for name, known in (("device", DEVICES), ("executor", tuple(EXECUTORS))):
            value = getattr(self, name)
            if value not in known:
                raise MethodError(f"{name}={value!r}: unknown; known are {', '.join(known)}")
        if not all(isinstance(each, Mapping) for each in self.variants):
            raise MethodError('overrides: give recipe options by name, such as {"epochs": 8}')


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True)
class Plan:
    """The jobs of a run, and those of them that are not done yet, longest first."""

    jobs: tuple[JobFile, ...]
    waiting: tuple[JobFile, ...]

    @property
    def done(self) -> int:
        """How many jobs are done already."""
        return len(self.jobs) - len(self.waiting)


@dataclass(frozen=True)
class RunResult:
    """What became of a run: its plan, and the outcome of every job that was started."""

    plan: Plan
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Outcomes of jobs that failed; the folder of each holds its log."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    def __repr__(self) -> str:
        faults = [f"{each.job.row}, fold {each.job.column}: {each.fault}" for each in self.failed]
        counts = f"RunResult({len(self.plan.jobs)} jobs, {len(faults)} failed)"
        return "\n".join([counts, *faults[:FAULTS_SHOWN]])


def run(bench: OpenBench, options: RunOptions, on_event: OnEvent = ignore) -> RunResult:
    """Plan a run and do the jobs that are not done yet. Raises BenchError before any training."""
    return train(plan_run(bench, options, on_event), options, on_event)


def train(plan: Plan, options: RunOptions, on_event: OnEvent = ignore) -> RunResult:
    """Do the waiting jobs of a plan, each in its own process. A failed job stops no other."""
    if not plan.waiting:
        return RunResult(plan, ())
    outcomes = EXECUTORS[options.executor](plan.waiting, options, JobWatcher(on_event))
    return RunResult(plan, tuple(outcomes))


def _train_locally(
    waiting: Sequence[JobFile], options: RunOptions, watcher: JobWatcher
) -> list[Outcome]:
    return run_local(waiting, BENCH, _slots(options, len(waiting)), watcher)


def _train_by_ray(
    waiting: Sequence[JobFile], options: RunOptions, watcher: JobWatcher
) -> list[Outcome]:
    from bench.run.ray import Needs, run_ray

    needs = Needs(
        cpus=options.threads * options.devices_per_job,
        gpus=0 if options.device == "cpu" else options.devices_per_job / options.jobs_per_device,
        memory_gib=options.job_memory,
        may_do_without_gpus=options.device == "auto",
    )
    return run_ray(
        waiting, BENCH, watcher, address=options.address, needs=needs, at_once=options.jobs
    )


EXECUTORS: dict[str, Callable[[Sequence[JobFile], RunOptions, JobWatcher], list[Outcome]]] = {
    "local": _train_locally,
    "ray": _train_by_ray,
}


def _slots(options: RunOptions, waiting: int) -> list[str]:
    """One entry for each job that may run at once: the GPU it sees, or "" on a CPU."""
    gpus = []
    if options.device != "cpu":
        gpus = gpu_slots(options.jobs_per_device, options.devices_per_job)
    cores = options.threads * options.devices_per_job
    slots = gpus or [""] * max(1, (os.cpu_count() or 1) // cores)
    if options.jobs is not None:
        slots = (slots * options.jobs)[: options.jobs]
    return slots[:waiting]


def plan_run(bench: OpenBench, options: RunOptions, on_event: OnEvent = ignore) -> Plan:
    """Build the image caches; plan the jobs with the place of their data and results.

    Wrong options are refused before images are read. Raises BenchError that names the option, and
    ResultsError where finished jobs would be lost.
    """
    refuse_unwritable(options.results)
    sweep(options.results)
    requests = _requests(options, on_event)
    _tell_fixed_options(bench, requests, on_event)
    chains = _chains(bench, requests)
    nothing = dict.fromkeys(chains, Pixels("", {}, native=True))
    _jobs(bench, options, requests, nothing)  # refuses wrong options before images are read
    further: dict[Chain, ImageCache] = {}
    if options.unlabelled is not None:
        further = _unlabelled_caches(bench, options.unlabelled, requests, chains, on_event)
        files = next(iter(further.values())).index.files_sha256[:16]
        requests = [
            replace(request, overrides={**request.overrides, "unlabelled": files})
            for request in requests
        ]
    requests = drop_inactive(bench.protocol, bench.dataset.name, requests, options.devices_per_job)
    caches = {chain: _image_cache(bench.source, chain, on_event) for chain in chains}
    pixels = {chain: _pixels(cache, bench) for chain, cache in caches.items()}
    planned = [
        (request, job) for request in requests for job in _jobs(bench, options, [request], pixels)
    ]
    if not options.replace:
        planned = _versioned(planned, options.results, on_event)
    return _with_waiting(_located(bench, options, planned, caches, further), options)


def _requests(options: RunOptions, on_event: OnEvent) -> list[MethodRequest]:
    """The trainings that are asked for: every variant of every method, with its weights."""
    methods = [
        load_method(name, BASELINES) for name in dict.fromkeys(options.methods or DEFAULT_METHODS)
    ]
    _refuse_same_names([loaded.method.name for loaded in methods])
    requests = []
    for loaded in methods:
        name = loaded.method.name
        missing = ""
        for variant in options.variants:
            recipe = loaded.method.recipe.with_overrides(variant)
            weights = find_weights(recipe, options.weights)
            requests.append(MethodRequest(loaded, variant, weights, options.weights is not None))
            if recipe.pretrained and weights.path is None:
                missing = recipe.pretrained
        if missing:
            on_event(
                Message(
                    f"{name}: trains from scratch, because {missing} cannot be fetched and "
                    "--weights is not given; the leaderboard shows it"
                )
            )
        if inactive := own_inactive(loaded.method):
            on_event(Message(f"{name}: recipe options without effect: {inactive}"))
    _refuse_ineffective(options, requests)
    return requests


def _tell_fixed_options(
    bench: OpenBench, requests: Sequence[MethodRequest], on_event: OnEvent
) -> None:
    """Tell which options the protocol sets in which of the bench's own methods."""
    protocol, dataset = bench.protocol, bench.dataset.name
    methods: dict[str, list[str]] = {}
    for request in requests:
        method = request.loaded.method
        changed = [
            f"{name}={value}"
            for name, value in fixed_options(protocol, dataset, request.loaded).items()
            if name not in request.overrides and value != getattr(method.recipe, name)
        ]
        if changed:
            methods.setdefault(", ".join(changed), []).append(method.name)
    for options, names in methods.items():
        own = listing(list(dict.fromkeys(names)))
        on_event(Message(f"protocol {protocol.name} sets {options} for {dataset} in {own}"))


def _refuse_same_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BenchError(f"two method files define the name {twice[0]!r}; rename one")


def _refuse_ineffective(options: RunOptions, requests: Sequence[MethodRequest]) -> None:
    """Refuse options that would be ignored, or that would fail in every job."""
    if options.weights is not None and not any(request.weights.path for request in requests):
        raise BenchError("--weights: none of the methods starts from pretrained weights")
    if options.address is not None and options.executor != "ray":
        raise BenchError("--address needs --executor ray")
    if options.executor == "ray":
        return  # its nodes have their own devices
    if options.device == "cuda" and not gpu_count():
        raise BenchError("--device cuda: this machine shows no CUDA device; use --device cpu")
    if options.device != "cpu" and 0 < gpu_count() < options.devices_per_job:
        raise BenchError(
            f"--devices-per-job {options.devices_per_job}: this machine shows {gpu_count()} GPUs"
        )


def _chains(bench: OpenBench, requests: Sequence[MethodRequest]) -> list[Chain]:
    """The preprocessing chains that the trainings need, each once."""
    return list(
        dict.fromkeys(
            preprocessing(resolve_recipe(bench.protocol, bench.dataset.name, request))
            for request in requests
        )
    )


def _jobs(
    bench: OpenBench,
    options: RunOptions,
    requests: Sequence[MethodRequest],
    pixels: Mapping[Chain, Pixels],
) -> list[Job]:
    return plan_jobs(
        bench.protocol,
        bench.dataset,
        bench.roles_sha256,
        requests,
        pixels,
        seeds=options.seeds or tuple(bench.protocol.run.seeds),
        folds=options.folds if options.folds is not None else tuple(range(bench.protocol.folds)),
        threads=options.threads,
        devices=options.devices_per_job,
    )


def _pixels(cache: ImageCache, bench: OpenBench) -> Pixels:
    """Identity of the cached pixels, and whether every file has the dataset's published size."""
    native, sizes = bench.dataset.native_size, cache.index.file_sizes
    return Pixels(
        sha256=cache.index.pixels_sha256,
        file_sizes=sizes,
        native=native is None or set(sizes) == {f"{native[0]}x{native[1]}"},
    )


def _image_cache(source: OpenDataset, chain: Chain, on_event: OnEvent) -> ImageCache:
    stage = f"images: {described(recorded(chain))}"
    return build_cache(source, chain, Steps(on_event, stage, len(source.manifest)))


def _unlabelled_caches(
    bench: OpenBench,
    folder: Path,
    requests: Sequence[MethodRequest],
    chains: Sequence[Chain],
    on_event: OnEvent,
) -> dict[Chain, ImageCache]:
    """Caches of a folder of unlabelled images, proven apart from val and test images."""
    from bench.data.unlabelled import open_unlabelled, refuse_leaks

    _refuse_without_engine([request.loaded.method for request in requests])
    source = open_unlabelled(folder)
    held_out = np.isin(bench.roles.parts, [PARTS.index("val"), PARTS.index("test")]).any(axis=1)
    ids = bench.roles.image_ids[held_out].tolist()
    on_event(Message(refuse_leaks(source, bench.source, ids)))
    return {chain: build_cache(source, chain) for chain in chains}


def _refuse_without_engine(methods: Sequence[Method]) -> None:
    """Raise BenchError for methods that train themselves and would ignore unlabelled images."""
    own = list(dict.fromkeys(each.name for each in methods if not trained_by_engine(each)))
    if own:
        raise BenchError(
            f"--unlabelled: {listing(own)} trains without the bench's engine, which would make "
            "pseudo-labels; leave the option or the method out"
        )


def _versioned(
    planned: Sequence[tuple[MethodRequest, Job]], results: Path, on_event: OnEvent
) -> list[tuple[MethodRequest, Job]]:
    """The jobs with the names of their rows: a changed method gets a row beside the old one."""
    first = {job.row: job for _, job in planned}
    names = {row: version_row(results, job) for row, job in first.items()}
    for row, name in names.items():
        if name != row:
            on_event(
                Message(
                    f"{first[row].method}: its code has changed since row {row} was trained; the "
                    f"new version is row {name}, the finished rows stay"
                )
            )
    return [(request, job.model_copy(update={"row": names[job.row]})) for request, job in planned]


def _located(
    bench: OpenBench,
    options: RunOptions,
    planned: Sequence[tuple[MethodRequest, Job]],
    caches: Mapping[Chain, ImageCache],
    further: Mapping[Chain, ImageCache],
) -> list[JobFile]:
    """Job files: each job with the place of its data, its results and its limits."""
    columns = {job.column for _, job in planned}
    tables = {
        column: write_fold_table(fold_table(bench.dataset, bench.roles, column))
        for column in columns
    }
    files = []
    for request, job in planned:
        chain = preprocessing(job.recipe)
        folder = job_folder(options.results, job, bench.protocol.split.repeats)
        unlabelled = further.get(chain)
        location = JobLocation(
            method_file=request.loaded.address,
            store=str(caches[chain].folder.resolve()),
            fold_table=str(tables[job.column].resolve()),
            weights=None if request.weights.path is None else str(request.weights.path),
            folder=str(folder.resolve()),
            device=options.device,
            checkpoint_seconds=options.checkpoint_seconds,
            timeout_seconds=options.job_timeout,
            memory_gib=options.job_memory,
            disk_gib=options.job_disk,
            tensorboard=options.tensorboard,
            unlabelled=None if unlabelled is None else str(unlabelled.folder.resolve()),
            engine_sha256=engine_sha256() if options.replace else "",
            keep_state=options.keep_state,
        )
        command = _command(job.protocol, options, request)
        files.append(JobFile(id=job.id, command=command, job=job, place=location))
    return files


def _with_waiting(files: Sequence[JobFile], options: RunOptions) -> Plan:
    """The plan with the jobs that are not done. Raises ResultsError if finished jobs were lost."""
    waiting = [file for file in files if not is_finished(file)]
    if not options.replace:
        refuse_replacing([(Path(file.place.folder), file.job) for file in waiting])
        if not options.mix_code:
            refuse_mixing(options.results, [file.job for file in waiting])
    places = dict.fromkeys((file.job.protocol, file.job.dataset) for file in waiting)
    known = [record for place in places for _, record in records(options.results, *place)]
    return Plan(tuple(files), tuple(longest_first(waiting, known)))


def _command(protocol: str, options: RunOptions, request: MethodRequest) -> str:
    """The command that makes a method's whole row again, without paths of this machine."""
    words = ["python", "bench.py", "run", "--protocol", protocol]
    words += options.data.words()
    words += ["--method", request.loaded.given]
    if options.unlabelled is not None:
        words += ["--unlabelled", options.unlabelled.name]
    for key, value in request.overrides.items():
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
