"""The plan of a run: methods x seeds x folds as jobs, their weights and order."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.data.preprocess import Chain, preprocessing
from bench.dataset import Dataset
from bench.errors import MethodError, ProtocolError, listing
from bench.job import Job, JobFile, RunRecord, digest
from bench.method import Method, Recipe
from bench.protocol import Protocol
from bench.recipe import TrainingSetup, describe_inactive, inactive_options
from bench.run.registry import LoadedMethod, trained_by_engine

SUFFIXES = (".safetensors", ".pth", ".pt")
HUB_FILE = "model.safetensors"
HUB_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Weights:
    """A file of weights and its sha256, or neither: then training starts from scratch."""

    path: Path | None = None
    sha256: str = ""


def find_weights(recipe: Recipe, given: Path | None) -> Weights:
    """The weights a recipe starts from; none where it wants none or they cannot be had.

    `given` is a file, or a folder with <model>.safetensors (.pth, .pt). Without it the hub is
    asked, unless HF_HUB_OFFLINE is set. Raises MethodError where `given` has not what is wanted.
    """
    if recipe.pretrained is None:
        return Weights()
    path = _given_file(recipe, given) if given is not None else _from_hub(recipe.pretrained)
    if path is None:
        return Weights()
    with path.open("rb") as stream:
        return Weights(path.resolve(), hashlib.file_digest(stream, "sha256").hexdigest())


def _given_file(recipe: Recipe, given: Path) -> Path:
    if given.is_file():
        return given
    names = [f"{recipe.model}{suffix}" for suffix in SUFFIXES]
    found = [given / name for name in names if (given / name).is_file()]
    if not found:
        raise MethodError(
            f"--weights {given}: neither a file nor a folder with {' or '.join(names)}; "
            f"fetch {recipe.pretrained} from the hub, or leave --weights out to train from scratch"
        )
    return found[0]


def _from_hub(repository: str) -> Path | None:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(repository, HUB_FILE)
    except ValueError:
        raise MethodError(f"pretrained={repository!r}: is no repository name on the hub") from None
    if isinstance(cached, str):
        return Path(cached)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return None
    try:
        # asked first, since the download alone retries for 23 s where there is no network
        HfApi().model_info(repository, timeout=HUB_TIMEOUT_SECONDS)
        return Path(hf_hub_download(repository, HUB_FILE))
    except Exception:  # noqa: BLE001 - whatever the network does, the run goes on from scratch
        return None


@dataclass(frozen=True)
class Pixels:
    """What the images are: their identity, and the sizes of the files they were made from.

    native  whether every file has the size that the dataset's authors publish
    """

    sha256: str
    file_sizes: Mapping[str, int]
    native: bool


@dataclass(frozen=True)
class MethodRequest:
    """What the user asked of one method: overrides of its recipe, and the weights it gets."""

    loaded: LoadedMethod
    overrides: Mapping[str, Any]
    weights: Weights
    named_weights: bool = False


def resolve_recipe(protocol: Protocol, dataset: str, ask: MethodRequest) -> Recipe:
    """The recipe as it will run: the method's, with the protocol's and the user's settings."""
    fixed = protocol.settings(dataset).overrides()
    if ask.named_weights:
        # the recipe speaks of its own weights; what a file of the user's has seen, the user says
        fixed["pretraining_data"] = None
    return ask.loaded.method.recipe.with_overrides(fixed | dict(ask.overrides))


def drop_inactive(
    protocol: Protocol, dataset: str, asks: Sequence[MethodRequest], devices: int = 1
) -> list[MethodRequest]:
    """The asks without overrides that change nothing in them, though they do in others.

    So a sweep over optimizer and momentum tries adamw once. Raises MethodError for an override that
    changes nothing in any training of a method. A method that trains itself may use every switch.
    """
    settled: list[MethodRequest] = []
    acting: dict[tuple[str, str], str] = {}
    for ask in asks:
        idle: dict[str, str] = {}
        if trained_by_engine(ask.loaded.method):
            start = TrainingSetup(weights=ask.weights.path is not None, devices=devices)
            recipe = resolve_recipe(protocol, dataset, ask)
            idle = inactive_options(recipe, start)
        kept = {key: value for key, value in ask.overrides.items() if key not in idle}
        settled.append(replace(ask, overrides=kept))
        name = ask.loaded.method.name
        for key in ask.overrides:
            why = f"{key}={ask.overrides[key]}: changes nothing in {name}, since {idle.get(key)}"
            acting.setdefault((name, key), why)
            if key not in idle:
                acting[name, key] = ""
    faults = [why for why in acting.values() if why]
    if faults:
        raise MethodError(f"{'; '.join(faults)}; leave it out")
    return settled


def own_inactive(method: Method) -> str:
    """What of a method's own recipe changes nothing, however it starts; "" where all of it acts."""
    if not trained_by_engine(method):
        return ""
    recipe = method.recipe.with_overrides({"unlabelled": "given"})
    return describe_inactive(
        recipe, inactive_options(recipe, TrainingSetup(weights=True, devices=2))
    )


def variant_of(
    protocol: Protocol, dataset: str, ask: MethodRequest, pixels: Pixels
) -> dict[str, Any]:
    """What differs from the method's own recipe, as the protocol fixes it, on own pixels."""
    own = protocol.settings(dataset).overrides()
    base = ask.loaded.method.recipe.with_overrides(own).model_dump()
    asked = resolve_recipe(protocol, dataset, ask).model_dump()
    variant = {name: asked[name] for name in asked if asked[name] != base[name]}
    if not pixels.native:
        variant["files"] = f"{_sizes(pixels.file_sizes)}, {pixels.sha256[:8]}"
    if ask.named_weights and ask.weights.sha256:
        variant["weights"] = ask.weights.sha256[:8]
    return variant


def _sizes(sizes: Mapping[str, int]) -> str:
    names = sorted(sizes, key=lambda name: -sizes[name])
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other sizes"


def row_name(method: str, variant: Mapping[str, Any]) -> str:
    """The method's name, with 8 hex of the variant where there is one."""
    return f"{method}@{digest(dict(variant))[:8]}" if variant else method


def plan_jobs(
    protocol: Protocol,
    manifest: Dataset,
    roles_sha256: str,
    asks: Sequence[MethodRequest],
    pixels: Mapping[Chain, Pixels],
    *,
    seeds: Sequence[int],
    folds: Sequence[int],
    threads: int,
    devices: int = 1,
) -> list[Job]:
    """Every job of a run, in the order method, seed, repeat, fold.

    `pixels` by preprocessing chain. Raises ProtocolError for a fold that the protocol lacks.
    """
    unknown = [fold for fold in folds if not 0 <= fold < protocol.folds]
    if unknown:
        raise ProtocolError(
            f"--folds {listing(unknown)}: {protocol.name} has the folds 0 to {protocol.folds - 1}"
        )
    jobs = []
    for ask in asks:
        method, recipe = ask.loaded.method, resolve_recipe(protocol, manifest.name, ask)
        recipe.refuse_other_classes(manifest.classes)
        own = pixels[preprocessing(recipe)]
        variant = variant_of(protocol, manifest.name, ask, own)
        for seed in seeds:
            for repeat in range(protocol.split.repeats):
                jobs += [
                    Job(
                        protocol=protocol.name,
                        dataset=manifest.name,
                        row=row_name(method.name, variant),
                        method=method.name,
                        variant=variant,
                        recipe=recipe,
                        method_source=ask.loaded.source_sha256,
                        roles_sha256=roles_sha256,
                        classes=manifest.classes,
                        roster_sha256=manifest.roster_sha256,
                        pixels_sha256=own.sha256,
                        weights_sha256=ask.weights.sha256,
                        seed=seed,
                        repeat=repeat,
                        fold=fold,
                        column=repeat * protocol.folds + fold,
                        twin=fold % protocol.split.folds if protocol.split.arms else None,
                        threads=threads,
                        devices=devices,
                    )
                    for fold in folds
                ]
    return jobs


def longest_first(job_files: Sequence[JobFile], known: Iterable[RunRecord]) -> list[JobFile]:
    """The jobs by falling expected time, as earlier records tell it; among equals the order given.

    A record of the same row counts most; else one of the same method counts in proportion to epochs
    and pixels. A job that nobody knows begins first: it may be the longest.
    """
    by_row, by_method = defaultdict(list), defaultdict(list)
    for record in known:
        by_row[record.job.row].append(record.wall_seconds)
        by_method[record.job.method].append(record.wall_seconds / _size(record.job))

    def expected(job: Job) -> float:
        if job.row in by_row:
            return fmean(by_row[job.row])
        if job.method in by_method:
            return fmean(by_method[job.method]) * _size(job)
        return math.inf

    return sorted(job_files, key=lambda file: -expected(file.job))


def _size(job: Job) -> float:
    """What the time of a training grows with: epochs, and pixels of an image."""
    return float(job.recipe.epochs * job.recipe.image_size**2)
