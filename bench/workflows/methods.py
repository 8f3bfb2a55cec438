"""Methods: list them with their passports, write a starting file, check one before long runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.data.synthetic import open_synthetic
from bench.errors import MethodError, suggest
from bench.recipe import Recipe
from bench.run.check.check import Checkup, refuse_unknown
from bench.run.check.verdicts import Verdict
from bench.run.registry import installed_methods, load_method, method_names
from bench.run.templates import starting_file
from bench.settings import BASELINES
from bench.workflows.events import Message, OnEvent, ignore


@dataclass(frozen=True)
class MethodInfo:
    """A method's name and its passport: source, licence, command, measured score."""

    name: str
    passport: str


@dataclass(frozen=True)
class CheckOptions:
    """Options of a check: side of the images in pixels, seconds and GiB that a training may take.

    folder  keep the logs of all trainings in this new folder; None: they are removed
    """

    image_size: int = 32
    seconds: float = 60.0
    memory_gib: float = 8.0
    folder: Path | None = None


def known_methods() -> list[str]:
    """Names of every baseline, example and installed method."""
    return [*method_names(BASELINES), *installed_methods()]


def list_methods() -> list[MethodInfo]:
    """Every baseline, example and installed method with its passport."""
    return [MethodInfo(name, load_method(name, BASELINES).passport) for name in known_methods()]


@dataclass(frozen=True)
class RecipeOption:
    """A recipe option: name, type, default and one line of help."""

    name: str
    type: str
    default: str
    help: str


def recipe_options(name: str | None = None) -> list[RecipeOption]:
    """Every recipe option, or the one of this name. Raises MethodError for an unknown name."""
    options = [
        RecipeOption(
            key,
            str(field.annotation).replace("typing.", "").removeprefix("<class '").rstrip("'>"),
            str(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for key, field in Recipe.model_fields.items()
    ]
    found = [option for option in options if name in (None, option.name)]
    if not found:
        cure = suggest(str(name), [option.name for option in options])
        raise MethodError(f"{name}: unknown recipe option{cure}")
    return found


def new_method(name: str, kind: str, folder: Path) -> Path:
    """Write NAME.py, a commented starting file; give its path. Raises MethodError if it exists."""
    text = starting_file(name, kind, taken=known_methods())
    path = folder / f"{name}.py"
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise MethodError(f"{path}: exists already; take another name, or move it") from None
    return path


def check_method(
    method: str, options: CheckOptions, on_event: OnEvent = ignore
) -> Iterator[Verdict]:
    """Check a method: train it some fifteen times on a small part of the synthetic dataset.

    As it is, again, interrupted, and with one thing changed each time. Yields a verdict a check.
    """

    def report(probe: str) -> None:
        on_event(Message(probe))

    refuse_unknown(method, BASELINES)
    with TemporaryDirectory(prefix="method-check-") as scratch:
        place = options.folder or Path(scratch) / "check"
        place.mkdir(parents=True)
        source = open_synthetic()
        os.environ["BENCH_CACHE"] = str(place.resolve() / "cache")  # nothing of a check stays
        checkup = Checkup(
            method,
            BASELINES,
            place.resolve(),
            options.image_size,
            options.seconds,
            options.memory_gib,
            report,
        )
        yield from checkup.verdicts(source)
