"""The documentation names what exists: every command, option, file, heading, test and link."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import bench
from bench.cli.main import VERBS, cli
from tests.conftest import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "baselines" / "results" / "README.md"]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(
    r"`((?:docs|benchmarks|baselines|protocols|reports|tests|bench)/[\w./-]+?)(?:::([\w.]+))?`"
)
COMMAND = re.compile(r"python bench\.py ((?:\\\n|[^`\n])+)")
EVERYDAY = {"--help", "-h", "--debug"}


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


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a Markdown file, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_a_help_text(words):
    command = COMMANDS[words]
    assert command.help
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert not [option.name for option in options if not option.help]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_table_of_the_readme(words):
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [line.split(" | ")[0] for line in lines if line.startswith("| `")]
    of_verb = [cell for cell in cells if re.match(rf"\| `{words[0]}\b", cell)]
    assert any(all(re.search(rf"\b{word}\b", cell) for word in words) for cell in of_verb)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_command_of_a_page_has_its_options(page: Path):
    faults = []
    for line in COMMAND.findall(page.read_text(encoding="utf-8")):
        words = shlex.split(line.replace("\\\n", " "), comments=True)
        if words[0].isupper():  # a placeholder: COMMAND --help
            continue
        command = COMMANDS.get(tuple(words[:2])) or COMMANDS.get(tuple(words[:1]))
        if command is None:
            group = len(words) == 1 and words[0] in VERBS
            faults += [] if group else [f"no command: {line}"]
            continue
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        faults += [f"{option} in: {line}" for option in sorted(options - known - EVERYDAY)]
    assert not faults


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_local_link_of_a_page_resolves(page: Path):
    faults = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            faults.append(link)
    assert not faults


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_file_and_test_that_a_page_names_exists(page: Path):
    faults = []
    for path, test in NAMED.findall(page.read_text(encoding="utf-8")):
        file = ROOT / path
        if not file.exists():
            faults.append(path)
        elif test and f"def {test.rstrip('.')}" not in file.read_text(encoding="utf-8"):
            faults.append(f"{path}::{test}")
    assert not faults


def public_members(kind: type) -> Iterator[str]:
    return (name for name, _ in inspect.getmembers(kind) if not name.startswith("_"))


def test_every_public_name_and_method_of_a_bench_is_on_the_page_of_the_api():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", text))
    assert not set(bench.__all__) - words
    inner = {"roles_sha256", "submission_spec"}  # used by the library itself
    assert not set(public_members(bench.Bench)) - inner - words
    for function in ("open", "evaluate", "compare", "publish", "load_predictor"):
        parameters = inspect.signature(getattr(bench, function)).parameters
        assert not [each for each in parameters if not re.search(rf"\b{each}\b", text)]
    assert set(bench.__all__) >= {"open", "evaluate", "compare", "publish", "load_predictor"}


def test_every_exception_is_in_the_tree_of_the_page_of_the_api():
    import bench.errors

    words = set((ROOT / "docs" / "api.md").read_text(encoding="utf-8").split())
    kinds = [name for name, value in vars(bench.errors).items() if inspect.isclass(value)]
    assert "RolesError" in kinds
    assert not set(kinds) - {"Iterable", "Sequence"} - words


def test_the_examples_on_the_page_of_the_api_run(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "api.md", "api.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    outcome = runner.run(example, out=report.append)
    assert outcome.failed == 0, "".join(report)
    assert outcome.attempted > 40


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_python_block_of_a_page_is_python(page: Path):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        ast.parse(block)


def test_every_guide_and_measurement_is_in_an_index():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [page for page in ROOT.glob("docs/*.md") if f"](docs/{page.name})" not in readme]
    folder = ROOT / "docs" / "verification"
    index = (folder / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in folder.iterdir()} - {"README.md"}
    assert files == set(LINK.findall(index))


def test_the_citation_has_the_version_and_licence_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation
    assert f'\ntitle: "{project["description"]}"\n' in citation
