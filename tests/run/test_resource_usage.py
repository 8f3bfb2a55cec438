"""A job's cost is that of all its processes."""

import json
import os
import platform
import time

import pytest

from bench.run import supervisor
from bench.run.supervisor import ResourceMeter, read_usage


def test_seconds_add_up_over_processes(tmp_path):
    file = tmp_path / "spent.json"
    with ResourceMeter(file):
        pass
    started = read_usage(file).started
    file.write_text(
        json.dumps({"started": started, "wall_seconds": 100.0, "cpu_seconds": 50.0, "processes": 2})
    )
    with ResourceMeter(file) as later:
        time.sleep(0.05)
        spent = later.usage()
    assert spent.started == started
    assert 100.05 <= spent.wall_seconds < 110
    assert spent.cpu_seconds > 50
    assert spent.processes == 3
    assert read_usage(file).processes == 3
    assert read_usage(file).worker == f"{platform.node()} process {os.getpid()}"


def test_what_a_killed_process_has_spent_is_known_but_for_the_last_tick(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.02)
    with ResourceMeter(tmp_path / "spent.json"):
        time.sleep(0.3)
        seen = read_usage(tmp_path / "spent.json")  # what is there if the process ends here
    assert seen.wall_seconds > 0.1
    assert seen.processes == 1


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"wall": 3}', '{"started": "", "worker": []}', "\xff"]
)
def test_a_damaged_sum_starts_anew(tmp_path, content):
    file = tmp_path / "spent.json"
    file.write_text(content)
    assert read_usage(file).processes == 0
