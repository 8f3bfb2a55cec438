"""`data audit` and the options that name data, as typed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import click
from click.testing import CliRunner

from bench.cli.data import data
from bench.cli.main import VERBS
from tests.data.audit.test_audit import put, row


def commands(command: click.Command) -> list[click.Command]:
    if isinstance(command, click.Group):
        return [c for one in command.commands.values() for c in commands(one)]
    return [command]


def test_every_verb_that_takes_data_takes_groups_and_columns():
    takers = 0
    for name, (module, _) in VERBS.items():
        command = getattr(importlib.import_module(f"bench.cli.{module}"), name.replace("-", "_"))
        for verb in commands(command):
            options = {option for one in verb.params for option in one.opts}
            if "--data" in options:
                takers += 1
                assert {"--groups", "--columns", "--layout", "--dataset-name"} <= options, verb.name
    assert takers >= 8


def test_lesions_that_nobody_names_are_not_counted_as_none(tmp_path: Path):
    (tmp_path / "manifest.csv").write_text("image,label,group\na,x,1\nb,y,2\n")
    output = CliRunner().invoke(data, ["info", "--data", str(tmp_path)]).output
    assert [line.split("│")[1:5] for line in output.splitlines() if "all" in line] == [
        [" all   ", " 2      ", " 2      ", " n/a     "]
    ]


def test_audit_fails_at_duplicates_and_passes_with_the_groups_it_writes(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    put(folder, [row(n) for n in range(5)])
    (folder / "I4.png").write_bytes((folder / "I2.png").read_bytes())
    words = ["audit", "--data", str(folder), "--to", str(tmp_path / "out")]
    groups = tmp_path / "groups.csv"
    done = CliRunner().invoke(data, [*words, "--merge-groups", str(groups)], standalone_mode=False)
    assert done.return_value == 1, done.output
    assert "I2" in done.output
    assert "I4" in done.output
    told = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert told["failed"]
    assert [(p["image_a"], p["image_b"]) for p in told["pairs"]] == [("I2", "I4")]
    assert (tmp_path / "out" / "index.html").read_text().count("data:image/jpeg") == 2
    assert groups.read_text().splitlines()[-1] == "I4,L2"
    done = CliRunner().invoke(data, [*words, "--groups", str(groups)], standalone_mode=False)
    assert done.return_value == 0, done.output
    info = ["info", "--data", str(folder), "--groups", str(groups)]
    assert "groups are lesions" in CliRunner().invoke(data, info, standalone_mode=False).output
