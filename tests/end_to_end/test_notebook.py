"""The quick-start notebook: its cells run in order, and its stored outputs name no machine."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def cells():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    return content["cells"]


def code_cells(cells):
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_every_cell_runs_in_order(cells, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(cells), 1):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)  # noqa: S102
    assert not names["run"].failed
    rows = {row.name: row for row in names["board"].rows}
    assert names["evaluation"]["macro_f1"].value == pytest.approx(
        rows["colour_logistic"].table.metrics["macro_f1"].value
    )
    assert names["report"].page.is_file()
    pairs = names["comparison"].pairs
    assert pairs[0].differences.metrics["balanced_accuracy"].low > 0


def test_every_code_cell_was_executed_in_order_without_an_error(cells):
    executed = code_cells(cells)
    assert [cell["execution_count"] for cell in executed] == list(range(1, len(executed) + 1))
    kinds = {output["output_type"] for cell in executed for output in cell["outputs"]}
    assert kinds == {"stream", "execute_result"}
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_stored_outputs_hold_no_absolute_path(cells):
    outputs = [output for cell in code_cells(cells) for output in cell["outputs"]]
    text = json.dumps(outputs).replace("\\/", "/").replace("\\n", " ")
    assert re.findall(r"(?<![\w.<])/(?!td|tr|th|p\b)\w+/[\w./-]+|[A-Z]:\\\\\w+", text) == []
    assert not re.search(r"/(home|root|tmp|work|Users|var)\b", text)
