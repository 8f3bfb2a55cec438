"""What is written for people names what there is: every verb, every option, every file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bench.cli.main import VERBS, cli
from tests.conftest import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`((?:docs|benchmarks|baselines|protocols|tests|bench)/[\w./-]+)`")


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    context = click.Context(cli)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (((verb, name), each) for name, each in command.commands.items())
        else:
            yield (verb,), command


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_says_what_it_does(words):
    command = COMMANDS[words]
    assert command.help
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert not [one.name for one in options if not one.help]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_stands_in_the_table_of_the_readme(words):
    lines = (ROOT / "README.md").read_text().splitlines()
    cells = [line.split(" | ")[0] for line in lines if line.startswith("| `")]
    of_verb = [cell for cell in cells if re.match(rf"\| `{words[0]}\b", cell)]
    assert any(all(re.search(rf"\b{word}\b", cell) for word in words) for cell in of_verb)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_a_page_links_to_or_names_is_there(page: Path):
    text = page.read_text()
    gone = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    gone += [path for path in NAMED.findall(text) if not (ROOT / path).exists()]
    assert not gone
