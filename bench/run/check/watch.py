"""The process of a probe: under the guard of a job, with limits, and told to stop where asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.run.check.probe import BEGUN, LOG, OUTCOME, Probe, run_probe
from bench.run.guard import GRACE_SECONDS, LOG_CUT
from bench.run.process import fault_in_log
from bench.run.results import HISTORY

POLL_SECONDS = 0.05
LOG_BYTES = 8 * 2**20
"""Of a probe, which trains on a hundred images: more is a flood. The guard cuts it later."""
PRELOADED = ("bench.train.fit", "timm", "sklearn.linear_model")
"""What most methods import: loaded once, in the process that all probes are forked from."""
EXCESSES = {"error: ran longer": "time", "error: took more memory": "memory",
            "error: did not stop": "stop"}  # fmt: skip
"""What the guard says of a probe that it has ended."""


@dataclass(frozen=True)
class Outcome:
    """How a probe ended.

    excess  which limit it broke: "time", "memory", "log", "stop", or "" for none
    fault   what it raised, or how it ended without a word; "" where it did all
    kind    "predictions" where these were at fault, else "method"
    told    whether it was told to stop before it had ended; stopping: the seconds it then took
    """

    probe: Probe
    seconds: float
    excess: str = ""
    fault: str = ""
    kind: str = ""
    told: bool = False
    stopping: float = 0.0
    described: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it came to its end, and by itself."""
        return not (self.excess or self.fault or self.told)


def watch(probe: Probe, stop_when: Callable[[], bool] = lambda: False) -> Outcome:
    """Do a probe in a process of its own; tell it to stop when `stop_when` says so."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=run_probe, args=(probe,))
    begun = time.monotonic()
    process.start()
    latest = begun + probe.seconds + 2 * GRACE_SECONDS  # the guard ends it long before
    told = 0.0
    while process.is_alive():
        process.join(POLL_SECONDS)
        if not told and process.is_alive() and stop_when():
            told = time.monotonic()
            process.terminate()  # nothing happens if it has just ended by itself
        if time.monotonic() > latest:
            process.kill()
    ended = time.monotonic()
    outcome, log = _read(probe.folder / OUTCOME), probe.folder / LOG
    last = fault_in_log(log) if log.exists() else ""
    excess = next((kind for said, kind in EXCESSES.items() if last.startswith(said)), "")
    if told and excess == "time":
        excess = "stop"  # it was told long before its time was over
    if not excess and log.exists() and _flooded(log):
        excess = "log"
    fault = str(outcome.get("fault", ""))
    if not outcome and not told and not excess:
        fault = last or f"its process ended without a word (exit code {process.exitcode})"
    return Outcome(
        probe=probe,
        seconds=ended - begun,
        excess=excess,
        fault=fault,
        kind=str(outcome.get("kind", "")),
        told=bool(told) and not outcome,
        stopping=ended - told if told else 0.0,
        described=outcome,
    )


def has_history(probe: Probe) -> bool:
    """Whether a probe has told of an epoch."""
    return (probe.folder / HISTORY).exists()


def begun_seconds(probe: Probe) -> float:
    """Seconds since a probe's method was called; 0 before that."""
    try:
        return time.time() - (probe.folder / BEGUN).stat().st_mtime
    except OSError:
        return 0.0


def _flooded(log: Path) -> bool:
    """Whether a log is too long, or was, until the guard cut it."""
    with log.open("rb") as stream:
        return log.stat().st_size > LOG_BYTES or stream.read(len(LOG_CUT)) == LOG_CUT


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
