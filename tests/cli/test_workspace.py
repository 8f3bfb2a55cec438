"""The workspace: user files stay outside the package, bench.toml is used and flags override it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import cli
from bench.config import read_config
from bench.settings import PROTOCOLS
from bench.workflows.workspace import find_protocol, find_protocols


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of 240 images of 80 patients, and a workspace beside it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = [(f"im{n}", ("mel", "nv", "bcc")[n // 3 % 3], f"p{n // 3}") for n in range(240)]
    with (folder / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "dx", "person"), *rows])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_WORKSPACE", str(tmp_path / "ws"))
    return folder


def bench(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True)


def started(clinic: Path) -> None:
    columns = "image=file,label=dx,patient=person"
    assert bench("init", "--data", clinic, "--columns", columns, "--dataset-name", "clinic",
                 "--malignant", "mel,bcc").exit_code == 0  # fmt: skip


def test_init_writes_a_commented_file_that_commands_read(clinic, tmp_path):
    started(clinic)
    text = (tmp_path / "ws" / "bench.toml").read_text()
    assert text.count("#") > 5
    assert read_config().malignant == "mel,bcc"
    shown = bench("data", "info").output
    assert "clinic" in shown
    assert "80" in shown
    assert "clinic" not in bench("data", "info", "--dataset-name", "other").output.split("\n")[0]
    assert bench("init").exception is not None  # it exists already
    assert bench("init", "--replace").exit_code == 0


@pytest.mark.usefixtures("clinic")
def test_a_key_that_is_unknown_is_named(tmp_path):
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "bench.toml").write_text('dataa = "x"\n')
    error = bench("data", "info").exception
    assert "dataa" in str(error)
    assert "bench.toml" in str(error)
    assert "\n" not in str(error)


def test_frozen_roles_go_to_the_workspace_and_no_file_of_the_package_changes(clinic, tmp_path):
    before = {path: path.read_bytes() for path in PROTOCOLS.rglob("*.toml")}
    started(clinic)
    assert bench("protocol", "freeze", "groupkfold5").exit_code == 0
    assert bench("protocol", "freeze", "groupkfold5", "--as", "mine3", "--folds", 3).exit_code == 0
    assert {path: path.read_bytes() for path in PROTOCOLS.rglob("*.toml")} == before
    assert (tmp_path / "ws" / "protocols" / "groupkfold5" / "clinic.csv").is_file()
    assert {"clinic", "ham10000"} <= find_protocol("groupkfold5").roles.keys()
    assert find_protocols()["mine3"].split.folds == 3
    assert bench("protocol", "verify", "groupkfold5").exit_code == 0
    assert bench("protocol", "verify", "mine3").exit_code == 0
    listed = bench("protocol", "list").output
    assert "mine3" in listed
    again = bench("protocol", "freeze", "groupkfold5").exception
    assert "--as" in str(again)


@pytest.mark.usefixtures("clinic")
def test_a_protocol_of_the_package_is_not_replaced_by_one_of_the_same_name(tmp_path):
    own = tmp_path / "ws" / "protocols"
    own.mkdir(parents=True)
    (own / "holdout.toml").write_bytes((PROTOCOLS / "holdout.toml").read_bytes())
    error = bench("protocol", "show", "holdout").exception
    assert "holdout.toml" in str(error)


def test_changed_roles_of_the_workspace_are_refused(clinic, tmp_path):
    started(clinic)
    bench("protocol", "freeze", "groupkfold5")
    roles = tmp_path / "ws" / "protocols" / "groupkfold5" / "clinic.csv"
    roles.write_text(roles.read_text().replace("train", "test", 1))
    assert "sha256" in str(bench("protocol", "show", "groupkfold5").exception)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("protocol", "show", "groupkfold6"), "groupkfold5"),
        (("rnu",), "run"),
        (("method", "options", "epocs"), "epochs"),
        (("report", "--protocl", "x"), "--protocol"),
    ],
)
@pytest.mark.usefixtures("clinic")
def test_an_unknown_name_is_answered_with_the_nearest(words, near):
    result = bench(*words)
    answer = f"{result.output}{result.exception}"
    assert near in answer
    assert len(answer) < 400


def test_method_options_lists_every_option_with_its_default():
    shown = bench("method", "options", "ema_decay").output
    assert "ema_decay" in shown
    assert "epochs" not in shown
