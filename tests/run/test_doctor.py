"""What the doctor finds: faults where the main job cannot run, words on everything else."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from bench.run import doctor
from bench.run.doctor import (
    EXTRAS,
    Extra,
    Finding,
    data,
    examine,
    extra,
    machine,
    packages,
    pins,
    place,
    training,
)
from tests.conftest import ROOT


def requirements(folder: Path, *lines: str) -> Path:
    path = folder / "requirements.in"
    path.write_text("# a comment\n-r another.in\n\n" + "\n".join(lines) + "\n")
    return path


def test_pins_are_those_that_the_compiled_requirements_hold():
    found = pins(ROOT / "requirements.in")
    compiled = (ROOT / "requirements.txt").read_text()
    assert {"torch", "numpy", "filelock"} <= found.keys()
    assert all(f"{name}=={pin}" in compiled for name, pin in found.items() if pin)
    assert not found["filelock"]


def test_installed_packages_are_sound_and_without_a_pin_any_version_will_do(tmp_path):
    own = f"numpy=={metadata.version('numpy')}"
    (only,) = packages(requirements(tmp_path, own, "filelock"))
    assert only == Finding("ok", "packages", "all 2 are installed, as pinned")


def test_a_missing_package_is_a_fault_and_another_version_a_note(tmp_path):
    fault, note = packages(requirements(tmp_path, "no-such-package==1.0", "numpy==0.1"))
    assert (fault.state, note.state) == ("FAULT", "note")
    assert fault.message == "not installed: no-such-package"
    assert f"numpy {metadata.version('numpy')} (pinned 0.1)" in note.message
    assert fault.cure == note.cure == "python -m pip install -r requirements.txt"


def broken(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Finding:
    """What is found where torchvision, as it is imported, runs this text."""
    (folder / "torchvision.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return training()


def test_what_cannot_be_imported_is_a_fault_that_says_why(tmp_path, monkeypatch):
    text = "raise RuntimeError('operator torchvision::nms does not exist')"
    found = broken(tmp_path, monkeypatch, text)
    assert found.state == "FAULT"
    assert found.message.endswith("RuntimeError: operator torchvision::nms does not exist")


def test_a_library_that_takes_its_process_along_is_a_fault(tmp_path, monkeypatch):
    found = broken(tmp_path, monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert (found.state, found.message) == (
        "FAULT",
        "cannot be loaded: its process crashed (exit code -9)",
    )


def test_a_library_that_loads_for_ever_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.5)
    found = broken(tmp_path, monkeypatch, "import time; time.sleep(60)")
    assert found.state == "FAULT"
    assert "not loaded within 0.5 s" in found.message


@pytest.mark.parametrize(
    ("gpus", "seen", "state", "words"),
    [
        ("[]", 0, "ok", "no CUDA device"),
        ("[]", 2, "note", "the driver shows 2 GPUs, but torch sees none"),
        ('[["A", 8589934592, 8, 0]]', 1, "ok", "A (8.0 GiB); amp in bfloat16"),
        ('[["A", 8589934592, 9, 0], ["T", 8589934592, 7, 5]]', 1, "ok", "amp in fp16 with"),
        ('[["B", 1073741824, 6, 1]]', 1, "ok", "B (1.0 GiB); amp in float32"),
    ],
)
def test_devices_are_named_as_torch_sees_them(monkeypatch, gpus, seen, state, words):
    monkeypatch.setattr(doctor, "PROBE", f"print('''{gpus}''')")
    monkeypatch.setattr(doctor, "gpu_count", lambda: seen)
    found = training()
    assert found.state == state
    assert words in found.message


def test_a_place_is_probed_without_a_trace(tmp_path):
    found = place("results", tmp_path / "made" / "later")
    assert (found.state, found.what) == ("ok", "results")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_a_folder_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")
    found = place("results", tmp_path / "file")
    assert found.state == "FAULT"
    assert "cannot be written and locked" in found.message


def test_a_file_system_without_locks_is_a_fault(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(doctor, "FileLock", refuse)
    found = place("results", tmp_path)
    assert found.state == "FAULT"
    assert found.message.endswith("(FileSystem does not appear to support flock)")


def test_a_small_disk_and_little_memory_are_noted(tmp_path, monkeypatch):
    class Little(NamedTuple):
        total: int = 2**30
        available: int = 2**29
        free: int = 2**29

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Little())
    monkeypatch.setattr(psutil, "virtual_memory", Little)
    assert place("results", tmp_path).state == machine().state == "note"
    assert "0.5 GiB free" in place("results", tmp_path).message
    assert "1.0 GiB of memory, 0.5 GiB of it free" in machine().message


def test_what_commands_take_without_being_told_is_named(tmp_path):
    assert "the synthetic set" in data("").message
    assert data(str(tmp_path)).state == "ok"
    gone = data(str(tmp_path / "gone"))
    assert (gone.state, "no such file or folder" in gone.message) == ("FAULT", True)


def test_an_extra_is_missing_by_name_and_never_a_fault():
    lacking = Extra("demo", "Gradio", "install it", ("no-such-package",), ("no-such-program",))
    found = extra(lacking)
    assert found.state == "missing"
    assert found.message == "needs Gradio; not installed: no-such-package, no-such-program"
    assert extra(Extra("x", "Python", "", programs=("sh",))) == Finding("ok", "x", "sh")


def test_a_sound_machine_has_no_fault_and_every_extra_is_spoken_of(tmp_path):
    found = list(examine(ROOT, tmp_path))
    assert not [one for one in found if one.state == "FAULT"]
    named = [one.what for one in found]
    assert named[-len(EXTRAS) :] == [each.what for each in EXTRAS]
    cache = next(one for one in found if one.what.startswith("cache"))
    assert os.environ["BENCH_CACHE"] in cache.message
