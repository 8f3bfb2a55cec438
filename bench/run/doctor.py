"""Hardware, packages and extras of this machine, without network access.

Needs none of them itself, so that it can speak where one is missing.

A finding is grave where the main job, training and scoring, cannot run. Libraries that train are
loaded in a process of their own: one that is damaged may take its process along.
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
from bench.run.local import gpu_count
from bench.run.planner import HUB_FILE
from bench.run.registry import load_method, method_names
from bench.run.worker import host_facts

State = Literal["ok", "note", "missing", "FAULT"]

PIN = re.compile(r"([A-Za-z0-9_.-]+)(?:==(\S+))?")
INSTALL = "python -m pip install -r"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, for what it is needed, and how to mend it.

    state  "ok"; "note": works, but read this; "missing": this one thing is not to be had;
           "FAULT": the main job cannot run
    """

    state: State
    what: str
    told: str
    cure: str = ""


def pins(requirements: Path) -> dict[str, str]:
    """The packages of a requirements.in, with their pins, "" without one."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    found = (PIN.match(line) for line in lines if line and line[0] not in "#-")
    return {one[1]: one[2] or "" for one in found if one}


def packages(requirements: Path) -> Iterator[Finding]:
    """Whether what the bench is pinned to is installed."""
    pinned = pins(requirements)
    installed = {name: version_of(name) for name in pinned}
    cure = f"{INSTALL} {requirements.with_suffix('.txt').name}"
    if missing := [name for name, version in installed.items() if not version]:
        yield Finding("FAULT", "packages", f"not installed: {', '.join(missing)}", cure)
    others = [
        f"{name} {version} (pinned {pinned[name]})"
        for name, version in installed.items()
        if version and pinned[name] and version.split("+")[0] != pinned[name]
    ]
    if others:
        told = f"other versions than the tests ran with: {', '.join(others)}"
        yield Finding("note", "packages", f"{told}; numbers may differ in their last digits", cure)
    if not missing and not others:
        yield Finding("ok", "packages", f"all {len(pinned)} of {requirements.name}, as pinned")
    if version_of("opencv-python"):
        yield Finding(
            "note",
            "packages",
            "opencv-python beside opencv-python-headless: each overwrites files of the other",
            f"python -m pip uninstall opencv-python opencv-python-headless; {cure}",
        )


def version_of(package: str) -> str:
    """The version installed, "" where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


LITTLE_DISK_GIB = 5.0
"""Twice what the main job writes: 2.4 GiB on the synthetic set (2026-11-28)."""
LITTLE_MEMORY_GIB = 4.5
"""Twice what the main job takes at most: 2.2 GiB (2026-11-23)."""
PROBE_SECONDS = 300
PROBE = """
import json, cv2, torch, torchvision, timm, lightning_fabric, safetensors.torch, pytorch_grad_cam
gpus = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
mixed = bool(gpus) and torch.cuda.is_bf16_supported()
print(json.dumps([mixed, [[gpu.name, gpu.total_memory] for gpu in gpus]]))
"""
"""Imports what a training imports; prints whether there is bfloat16, and name and bytes of GPUs."""


@dataclass(frozen=True, slots=True)
class Extra:
    """Something that one thing needs, which the main job does not: packages, or a program."""

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
        "pytest and its friends",
        f"{INSTALL} requirements-dev.txt",
        packages=("pytest", "pytest-xdist", "hypothesis", "ruff", "mypy", "torchmetrics"),
    ),
    Extra(
        "tests of pages, pictures",
        "Chromium",
        "install Debian's chromium, or put one on the PATH",
        programs=("chromium",),
    ),
    Extra(
        "plan --slurm",
        "SLURM's sbatch, where the script is handed in",
        "take the script to a node that has it",
        programs=("sbatch",),
    ),
    Extra(
        "report --latex",
        "pdflatex and bibtex, to compile what it writes",
        "install TeX Live, or take the folder to a machine that has it",
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
        "install git; without it records do not say which code made them",
        programs=("git",),
    ),
)


def examine(root: Path, results: Path) -> Iterator[Finding]:
    """Everything, with the project's folder and the folder of results."""
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
    told = (
        f"Python {platform.python_version()}, {host['system']} {host['machine']}, "
        f"{host['processor'] or 'processor unknown'}, {host['cores']} cores, "
        f"{_gib(memory.total)} of memory, {_gib(memory.available)} of it free"
    )
    if memory.available < LITTLE_MEMORY_GIB * 2**30:
        return Finding("note", "machine", told, "run fewer jobs at once: --jobs 1")
    return Finding("ok", "machine", told)


def training() -> Finding:
    """Whether what trains can be loaded, and on which devices."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        told = f"torch and what trains by it were not loaded within {PROBE_SECONDS} s"
        return Finding("FAULT", "training", told, "look at what else this machine is doing")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        last = lines[-1] if lines else f"ended by itself, {done.returncode}"
        cure = f"{INSTALL} requirements.txt, in an environment of its own"
        return Finding("FAULT", "training", f"cannot be loaded: {last}", cure)
    mixed, gpus = json.loads(done.stdout.splitlines()[-1])
    if not gpus and gpu_count():
        told = f"on the CPU: the driver shows {gpu_count()} GPUs, but torch sees none of them"
        return Finding("note", "training", told, "install a torch for this driver's CUDA")
    if not gpus:
        return Finding("ok", "training", "on the CPU: there is no CUDA device")
    told = ", ".join(f"{name} ({_gib(size)})" for name, size in gpus)
    precision = "in bfloat16" if mixed else "in 32 bits, since these have no bfloat16"
    return Finding("ok", "training", f"on {len(gpus)} of CUDA's devices: {told}; amp {precision}")


def weights(baselines: Path) -> Iterator[Finding]:
    """Which pretrained weights of the baselines are in the hub's cache here."""
    from huggingface_hub import try_to_load_from_cache

    here: list[str] = []
    absent: list[str] = []
    for name in method_names(baselines):
        wanted = load_method(name, baselines).method.recipe.pretrained
        if wanted is not None:
            cached = isinstance(try_to_load_from_cache(wanted, HUB_FILE), str)
            (here if cached else absent).append(name)
    if here:
        yield Finding("ok", "pretrained weights", f"in the hub's cache: {', '.join(here)}")
    if absent:
        yield Finding(
            "note",
            "pretrained weights",
            f"not in the hub's cache: {', '.join(absent)}; run fetches them where there is a "
            "network, and trains from scratch where there is none",
            "--weights FILE or DIR",
        )


def data(given: str) -> Finding:
    """Which data commands take that are not told any: $BENCH_DATA, else the synthetic set."""
    if not given:
        return Finding("ok", "data", "the synthetic set, where neither --data nor $BENCH_DATA is")
    if not Path(given).exists():
        told = f"$BENCH_DATA: {given}: there is no such file or folder"
        return Finding("FAULT", "data", told, "set it anew, or unset it for the synthetic set")
    return Finding("ok", "data", f"$BENCH_DATA: {given}", "python bench.py data audit")


def place(what: str, folder: Path) -> Finding:
    """Whether a folder can be written and locked, and how much room its disk has."""
    try:
        refuse_unwritable(folder / "doctor")
        nearest = next(each for each in (folder, *folder.resolve().parents) if each.is_dir())
        free = shutil.disk_usage(nearest).free
        lock = nearest / f".doctor-{os.getpid()}.lock"
        with FileLock(lock, timeout=1):
            pass
        lock.unlink(missing_ok=True)
    except (OSError, NotImplementedError) as error:
        told = f"{folder}: cannot be written and locked ({getattr(error, 'strerror', error)})"
        return Finding("FAULT", what, told, "name another folder, or make this one writable")
    told = f"{folder}: {_gib(free)} free"
    if free < LITTLE_DISK_GIB * 2**30:
        return Finding("note", what, told, "name a folder on a larger disk")
    return Finding("ok", what, told)


def extra(one: Extra) -> Finding:
    """Whether something beside the main job can be done."""
    lacks = [name for name in one.packages if not version_of(name)]
    lacks += [name for name in one.programs if shutil.which(name) is None]
    if lacks:
        told = f"needs {one.needs}; not here: {', '.join(lacks)}"
        return Finding("missing", one.what, told, one.cure)
    have = [f"{name} {version_of(name)}" for name in one.packages]
    return Finding("ok", one.what, ", ".join([*have, *one.programs]))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
