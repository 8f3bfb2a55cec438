"""Whether the packages that the bench is pinned to are installed.

Needs none of them itself, so that it can speak where one is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

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
