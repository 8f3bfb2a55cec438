"""Help of every command: complete, and shown without a heavy import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
import click
from click.testing import CliRunner
from bench.cli.main import cli

def walk(command, words):
    yield command, words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), [*words, name])

pages = []
for command, words in walk(cli, []):
    done = CliRunner().invoke(cli, [*words, "--help"])
    options = [p.opts for p in command.params if isinstance(p, click.Option) and not p.hidden]
    heavy = [name for name in ("numpy", "pandas", "torch") if name in sys.modules]
    pages.append([words, done.exit_code, options, done.stdout, heavy])
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def pages():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_help_of_every_command_names_each_option_once(pages):
    assert {"data", "protocol", "method"} <= {words[0] for words, *_ in pages if len(words) > 1}
    for words, code, options, text, _ in pages:
        assert code == 0, (words, text)
        starts = [line.split()[:2] for line in text.splitlines() if line.lstrip().startswith("-")]
        names = [name.rstrip(",") for line in starts for name in line]
        for opts in options:
            longest = max(opts, key=len)
            assert names.count(longest) == 1, (words, longest)


def test_help_imports_nothing_heavy(pages):
    assert not [(words, heavy) for words, *_, heavy in pages if heavy]
