"""Check hardware, packages and extras of this machine, without network access.

Imports none of the optional packages, so that it works without them. The training libraries are
imported in a separate process, since a damaged one may crash it. A finding is a FAULT if training
and scoring cannot run.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock

from bench.data.cache import cache_folder
from bench.io import refuse_unwritable
from bench.recipe import gpu_precision
from bench.run.local import gpu_count
from bench.run.planner import HUB_FILE, from_package
from bench.run.registry import load_method, method_names
from bench.run.worker import host_facts

State = Literal["ok", "note", "missing", "FAULT"]

PIN = re.compile(r"([A-Za-z0-9_.-]+)(?:==(\S+))?")
INSTALL = "python -m pip install -r"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, and how to fix it.

    state  "ok"; "note": works with a restriction; "missing": an optional feature is unavailable;
           "FAULT": training and scoring cannot run
    """

    state: State
    what: str
    message: str
    cure: str = ""


def pins(requirements: Path) -> dict[str, str]:
    """The packages of a requirements.in with their pinned versions, "" without a pin."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    matches = (PIN.match(line) for line in lines if line and line[0] not in "#-")
    return {match[1]: match[2] or "" for match in matches if match}


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def packages(requirements: Path | list[str]) -> Iterator[Finding]:
    """Whether packages are installed: those of a requirements.in, or of requirement lines."""
    if isinstance(requirements, Path):
        pinned = pins(requirements)
        cure = f"{INSTALL} {requirements.with_suffix('.txt').name}"
    else:
        pinned = {match[0]: "" for line in requirements if (match := NAME.match(line))}
        cure = "python -m pip install lesion-bench"
    installed = {name: version_of(name) for name in pinned}
    if missing := [name for name, version in installed.items() if not version]:
        yield Finding("FAULT", "packages", f"not installed: {', '.join(missing)}", cure)
    others = [
        f"{name} {version} (pinned {pinned[name]})"
        for name, version in installed.items()
        if version and pinned[name] and version.split("+")[0] != pinned[name]
    ]
    if others:
        message = (
            f"versions that were not tested: {', '.join(others)}; numbers may differ in the last "
            "digits"
        )
        yield Finding("note", "packages", message, cure)
    if not missing and not others:
        yield Finding(
            "ok",
            "packages",
            f"all {len(pinned)} are installed{', as pinned' if any(pinned.values()) else ''}",
        )
    if version_of("opencv-python"):
        yield Finding(
            "note",
            "packages",
            "both opencv-python and opencv-python-headless: they overwrite each other's files",
            f"python -m pip uninstall opencv-python opencv-python-headless; {cure}",
        )


def version_of(package: str) -> str:
    """The installed version, "" if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


LITTLE_DISK_GIB = 5.0
"""Twice the disk space of the main job: 2.4 GiB on the synthetic set (2026-11-28)."""
LITTLE_MEMORY_GIB = 4.5
"""Twice the peak memory of the main job: 2.2 GiB (2026-11-23)."""
PROBE_SECONDS = 300
PROBE = """
import json, cv2, torch, torchvision, timm, lightning_fabric, safetensors.torch, pytorch_grad_cam
gpus = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
print(json.dumps([[gpu.name, gpu.total_memory, gpu.major, gpu.minor] for gpu in gpus]))
"""
"""Imports the training libraries; prints name, bytes and compute capability of each GPU."""
AMP = {
    "bf16-mixed": "in bfloat16",
    "16-mixed": "in fp16 with a gradient scaler, since these GPUs do not compute bfloat16 natively",
    "32-true": "in float32, since these GPUs compute neither bfloat16 nor fp16 faster",
}


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional feature and the packages or programs that it needs."""

    what: str
    needs: str
    cure: str
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


EXTRAS = (
    Extra("--executor ray", "Ray", f"{INSTALL} requirements-ray.txt", packages=("ray",)),
    Extra("demo", "Gradio", f"{INSTALL} requirements-demo.txt", packages=("gradio",)),
    Extra(
        "tests/run.sh",
        "pytest and its plugins",
        f"{INSTALL} requirements-dev.txt",
        packages=("pytest", "pytest-xdist", "hypothesis", "ruff", "mypy", "torchmetrics"),
    ),
    Extra(
        "tests of pages, screenshots",
        "Chromium",
        "install Debian's chromium, or put one on the PATH",
        programs=("chromium",),
    ),
    Extra(
        "plan --slurm",
        "SLURM's sbatch, to submit the script",
        "submit the script on a node that has it",
        programs=("sbatch",),
    ),
    Extra(
        "report --latex",
        "pdflatex and bibtex, to compile its output",
        "install TeX Live, or compile the folder on another machine",
        programs=("pdflatex", "bibtex"),
    ),
    Extra(
        "--set compile=true",
        "a C++ compiler",
        "install g++, or put one on the PATH",
        programs=("g++",),
    ),
    Extra(
        "the commit in records",
        "git",
        "install git; without it records contain no commit",
        programs=("git",),
    ),
)


def examine(root: Path, results: Path) -> Iterator[Finding]:
    """All checks; `root` is the project folder."""
    yield machine()
    yield training()
    yield from weights(root / "baselines")
    yield data(os.environ.get("BENCH_DATA", ""))
    yield place("results", results)
    yield place("cache ($BENCH_CACHE)", cache_folder())
    yield from (extra(each) for each in EXTRAS)


def machine() -> Finding:
    """Python, processor, cores and memory."""
    host, memory = host_facts(), psutil.virtual_memory()
    message = (
        f"Python {platform.python_version()}, {host['system']} {host['machine']}, "
        f"{host['processor'] or 'processor unknown'}, {host['cores']} cores, "
        f"{_gib(memory.total)} of memory, {_gib(memory.available)} of it free"
    )
    if memory.available < LITTLE_MEMORY_GIB * 2**30:
        return Finding("note", "machine", message, "run fewer jobs at the same time: --jobs 1")
    return Finding("ok", "machine", message)


def training() -> Finding:
    """Whether the training libraries can be imported, and the devices they use."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        message = f"torch and the training libraries were not loaded within {PROBE_SECONDS} s"
        return Finding("FAULT", "training", message, "check the load of this machine")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        last = lines[-1] if lines else f"its process crashed (exit code {done.returncode})"
        cure = f"{INSTALL} requirements.txt, in a new virtual environment"
        return Finding("FAULT", "training", f"cannot be loaded: {last}", cure)
    gpus = json.loads(done.stdout.splitlines()[-1])
    if not gpus and gpu_count():
        message = f"on the CPU: the driver shows {gpu_count()} GPUs, but torch sees none of them"
        return Finding("note", "training", message, "install a torch for this driver's CUDA")
    if not gpus:
        return Finding("ok", "training", "on the CPU; no CUDA device")
    devices = ", ".join(f"{name} ({_gib(size)})" for name, size, *_ in gpus)
    precision = AMP[gpu_precision(min((major, minor) for *_, major, minor in gpus))]
    return Finding("ok", "training", f"on {len(gpus)} CUDA devices: {devices}; amp {precision}")


def weights(baselines: Path) -> Iterator[Finding]:
    """Which pretrained weights of the baselines are in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    here: list[str] = []
    absent: list[str] = []
    for name in method_names(baselines):
        wanted = load_method(name, baselines).method.recipe.pretrained
        if wanted is not None:
            cached = isinstance(try_to_load_from_cache(wanted, HUB_FILE), str)
            cached = cached or from_package(wanted) is not None
            (here if cached else absent).append(name)
    if here:
        yield Finding(
            "ok", "pretrained weights", f"in the hub's cache or a package: {', '.join(here)}"
        )
    if absent:
        yield Finding(
            "note",
            "pretrained weights",
            f"not in the hub's cache: {', '.join(absent)}; `run` downloads them, and trains from "
            "scratch without a network",
            "--weights FILE or DIR",
        )


def data(given: str) -> Finding:
    """The data of commands without --data: $BENCH_DATA, or the synthetic set."""
    if not given:
        return Finding("ok", "data", "the synthetic set, without --data and $BENCH_DATA")
    if not Path(given).exists():
        message = f"$BENCH_DATA: {given}: no such file or folder"
        return Finding("FAULT", "data", message, "correct it, or unset it for the synthetic set")
    return Finding("ok", "data", f"$BENCH_DATA: {given}", "python bench.py data audit")


def place(what: str, folder: Path) -> Finding:
    """Whether a folder can be written and locked, and the free space of its disk."""
    try:
        refuse_unwritable(folder / "doctor")
        nearest = next(each for each in (folder, *folder.resolve().parents) if each.is_dir())
        free = shutil.disk_usage(nearest).free
        lock = nearest / f".doctor-{os.getpid()}.lock"
        with FileLock(lock, timeout=1):
            pass
        lock.unlink(missing_ok=True)
    except (OSError, NotImplementedError) as error:
        message = f"{folder}: cannot be written and locked ({getattr(error, 'strerror', error)})"
        return Finding("FAULT", what, message, "give another folder, or make this one writable")
    message = f"{folder}: {_gib(free)} free"
    if free < LITTLE_DISK_GIB * 2**30:
        return Finding("note", what, message, "give a folder on a larger disk")
    return Finding("ok", what, message)


def extra(feature: Extra) -> Finding:
    """Whether an optional feature is available."""
    missing = [name for name in feature.packages if not version_of(name)]
    missing += [name for name in feature.programs if shutil.which(name) is None]
    if missing:
        message = f"needs {feature.needs}; not installed: {', '.join(missing)}"
        return Finding("missing", feature.what, message, feature.cure)
    installed = [f"{name} {version_of(name)}" for name in feature.packages]
    return Finding("ok", feature.what, ", ".join([*installed, *feature.programs]))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
