"""The plan: methods x seeds x folds as a list of Jobs. Pure: it touches no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.data.preprocess import Chain, preprocessing
from bench.errors import MethodError, ProtocolError, listing
from bench.idle import Start, idle_switches, in_words
from bench.job import Job, digest
from bench.manifest import Manifest
from bench.method import Method, Recipe
from bench.protocol import Protocol
from bench.run.registry import LoadedMethod, trained_by_engine
from bench.run.weights import Weights


@dataclass(frozen=True)
class Pixels:
    """What the images are: their identity, and the sizes of the files they were made from.

    native  whether every file has the size that the dataset's authors publish
    """

    sha256: str
    file_sizes: Mapping[str, int]
    native: bool


@dataclass(frozen=True)
class Ask:
    """What the user asked of one method: overrides of its recipe, and the weights it gets."""

    loaded: LoadedMethod
    overrides: Mapping[str, Any]
    weights: Weights
    named_weights: bool = False


def recipe_of(protocol: Protocol, dataset: str, ask: Ask) -> Recipe:
    """The recipe as it will run: the method's, with the protocol's and the user's settings."""
    fixed = protocol.settings(dataset).overrides()
    if ask.named_weights:
        # the recipe speaks of its own weights; what a file of the user's has seen, the user says
        fixed["pretraining_data"] = None
    return ask.loaded.method.recipe.with_overrides(fixed | dict(ask.overrides))


def without_idle(
    protocol: Protocol, dataset: str, asks: Sequence[Ask], devices: int = 1
) -> list[Ask]:
    """The asks without overrides that change nothing in them, though they do in others.

    So a sweep over optimizer and momentum tries adamw once. Raises MethodError for an override that
    changes nothing in any training of a method. A method that trains itself may use every switch.
    """
    settled: list[Ask] = []
    acting: dict[tuple[str, str], str] = {}
    for ask in asks:
        idle: dict[str, str] = {}
        if trained_by_engine(ask.loaded.method):
            start = Start(weights=ask.weights.path is not None, devices=devices)
            recipe = recipe_of(protocol, dataset, ask)
            idle = idle_switches(recipe, start)
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


def own_idle(method: Method) -> str:
    """What of a method's own recipe changes nothing, however it starts; "" where all of it acts."""
    if not trained_by_engine(method):
        return ""
    recipe = method.recipe.with_overrides({"unlabelled": "given"})
    return in_words(recipe, idle_switches(recipe, Start(weights=True, devices=2)))


def variant_of(protocol: Protocol, dataset: str, ask: Ask, pixels: Pixels) -> dict[str, Any]:
    """What differs from the method's own recipe, as the protocol fixes it, on own pixels."""
    own = protocol.settings(dataset).overrides()
    base = ask.loaded.method.recipe.with_overrides(own).model_dump()
    asked = recipe_of(protocol, dataset, ask).model_dump()
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
    manifest: Manifest,
    roles_sha256: str,
    asks: Sequence[Ask],
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
        method, recipe = ask.loaded.method, recipe_of(protocol, manifest.name, ask)
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
