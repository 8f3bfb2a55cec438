"""A paper's parts compile, hold the pages' numbers, and let no name become a command."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.leaderboard import Estimate, Leaderboard
from bench.report.paper import SIGNS, bibliography, escape, render_paper
from bench.report.render import write
from bench.report.text import MARKS
from tests.report import boards, dataset_reports, hostile

pylatexenc = pytest.importorskip("pylatexenc", reason="pylatexenc is in requirements-dev.txt")
from pylatexenc.latex2text import LatexNodes2Text  # noqa: E402
from pylatexenc.latexwalker import LatexWalker, get_default_latex_context_db  # noqa: E402
from pylatexenc.macrospec import MacroSpec  # noqa: E402

PDFLATEX, BIBTEX = shutil.which("pdflatex"), shutil.which("bibtex")
Files = Mapping[str, str | bytes]


@pytest.fixture(scope="module", params=["plain", "worst", "references"])
def files(request) -> Files:
    board = {
        "plain": boards.leaderboard,
        "worst": hostile.worst,
        "references": dataset_reports.scored,
    }[request.param]()
    return render_paper(replace(dataset_reports.study(), board=board))


@pytest.fixture(scope="module")
def plain() -> Files:
    return render_paper(replace(dataset_reports.study(), board=boards.leaderboard()))


def read_text(tex: str) -> str:
    """What a reader sees of LaTeX, by a parser that is not ours and that lacks some signs."""
    lacking = {"allowbreak": "", "textquotedbl": '"', "textless": "<", "textgreater": ">"}
    for command, sign in lacking.items():
        tex = tex.replace(f"\\{command}{{}}", sign)
    shown = LatexNodes2Text(keep_comments=False).latex_to_text(tex)
    as_typed = {
        "\N{MODIFIER LETTER CIRCUMFLEX ACCENT}": "^",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    }
    return shown.translate(str.maketrans(as_typed))


def test_every_part_is_whole_latex_by_a_strict_parser(files):
    context = get_default_latex_context_db()
    known = [MacroSpec("shortstack", "[{"), MacroSpec("cmidrule", "{")]
    context.add_context_category("tables", macros=known, prepend=True)
    for name, content in files.items():
        if name.endswith(".tex"):
            assert isinstance(content, str)
            nodes, _, length = LatexWalker(
                content, latex_context=context, tolerant_parsing=False
            ).get_latex_nodes()
            assert nodes
            assert length == len(content)


def test_every_line_of_a_table_has_as_many_cells_as_columns(files):
    for name, content in files.items():
        if name.startswith("table-"):
            assert isinstance(content, str)
            flat = re.sub(
                r"\\begin\{tabular\}\[t\]\{@\{\}l@\{\}\}(.*?)\\end\{tabular\}", "stack", content
            )
            columns = re.search(r"\\begin\{tabular\}\{(l[lr]*)\}", flat)
            assert columns is not None
            body = flat.split("\\toprule")[1].split("\\bottomrule")[0].replace("\\midrule", "")
            lines = [line for line in body.split("\\\\") if line.strip()]
            assert lines
            for line in lines:
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1


@pytest.mark.parametrize("text", [*hostile.HOSTILE, r"\input{/etc/passwd}", "50% & $x_1^2$ #~*[a]"])
def test_an_escaped_name_reads_as_it_is_and_commands_nothing(text):
    made = escape(text)
    allowed = {
        "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar",
        "textquotedbl", "textasciigrave", "allowbreak", "ldots", "_", "$", "&", "#", "%", "{", "}",
    }  # fmt: skip
    assert set(re.findall(r"\\([A-Za-z]+|.)", made)) <= allowed
    if text.isascii():
        assert read_text(made) == text


def test_the_ranking_has_the_numbers_of_the_page(plain):
    shown = read_text(str(plain["table-ranking.tex"]))
    board = boards.leaderboard()
    for row in board.rows:
        value = row.table.metrics["macro_f1"]
        assert f"{value.value:.3f}" in shown
        assert f"[{value.low:.3f}, {value.high:.3f}]" in shown


def test_every_mark_of_a_page_has_a_sign_of_its_own():
    assert list(SIGNS) == list(MARKS)
    assert len(set(SIGNS.values())) == len(SIGNS)


def test_a_number_bears_the_signs_of_its_marks_and_the_table_explains_them():
    board = boards.leaderboard()
    first = board.rows[0]
    by_class = {label: dict(table) for label, table in first.table.per_class.items()}
    by_class["df"]["auc"] = Estimate(
        0.7, 0.6, 0.8, 115, "percentile", ("few lesions", "undefined in 3% of resamples")
    )
    by_class["vasc"]["auc"] = Estimate(0.9, n=142, marks=("incomplete: 4 of 5 folds", "odd"))
    changed = replace(first, table=replace(first.table, per_class=by_class))
    board = replace(board, rows=(changed, *board.rows[1:]))
    files = render_paper(replace(dataset_reports.study(), board=board))
    table = str(files["table-class-auc.tex"])
    assert "0.70$^{\\S\\dagger\\ast}$\\\\" in table
    assert "0.90$^{\\diamond\\triangle\\bullet}$" in table
    shown = " ".join(read_text(table).split())
    assert "^† few lesions: Fewer than 50 groups in the images" in shown
    assert "undefined in 3% of resamples: The metric is undefined in this share" in shown
    for mark in ("percentile", "incomplete", "no interval"):
        assert read_text(escape(f"{mark}: {MARKS[mark]}")) in shown
    assert "odd." in shown
    assert table.count("few lesions") == 1
    assert "^†" not in read_text(str(files["table-data.tex"]))


def test_the_methods_paragraph_says_what_was_done(plain, files):
    text = str(plain["methods.tex"])
    for words in ("groupkfold5", "10,000 bootstrap", "whole lesions", "torch 2.13.0", "synthetic"):
        assert words in text
    groups = re.findall(r"\\cite\{([^}]*)\}", str(files["methods.tex"]))
    keys = {key for group in groups for key in group.split(",")}
    entries = re.findall(r"(?m)^@\w+\{([^,]+),", str(files["references.bib"]))
    assert len(entries) == len(set(entries))
    assert keys <= set(entries)
    assert {"dataset", "field2007bootstrapping", "efron1987better"} <= keys


def test_what_models_have_not_seen_is_said_no_further_than_it_is_known():
    study = replace(dataset_reports.study(), board=boards.leaderboard())
    text = read_text(str(render_paper(study)["methods.tex"]))
    assert "as far as groups were known when the folds were frozen" in text
    assert "not verified" not in text
    submitted = boards.with_row(boards.leaderboard(), 1, kind="submitted")
    ids = study.manifest.image_ids[:2]
    later = pd.DataFrame({"image_a": ids[:1], "image_b": ids[1:]})
    pairs = replace(study.pairs, later=later)
    text = read_text(str(render_paper(replace(study, board=submitted, pairs=pairs))["methods.tex"]))
    assert "Of submitted predictions that is not verified." in text
    assert "1 pair of images, found after the folds were fixed" in text


def test_the_numbers_are_said_to_be_of_the_protocols_seeds():
    def told(board: Leaderboard) -> str:
        study = replace(dataset_reports.study(), board=board)
        return read_text(str(render_paper(study)["methods.tex"]))

    board = boards.leaderboard()
    assert "All numbers are of random seed 0." in told(board)
    assert "Further seeds" not in told(board)
    more = told(boards.with_row(board, 1, seeds=(0, 1, 2)))
    assert "All numbers are of random seed 0." in more
    assert "Further seeds (resnet18: 1 and 2) enter the spread over seeds only." in more
    other = told(boards.with_row(board, 2, seeds=(7,), complete=False))
    assert "of random seed 0; those of incomplete rows are of the folds and seeds" in other


def test_a_control_says_that_nobody_is_ranked():
    text = str(render_paper(dataset_reports.study("imagekfold5"))["methods.tex"])
    assert "it is a control" in text
    assert "corrected resampled t test" not in text


def test_the_bibliography_is_whole_and_names_the_dataset():
    every = bibliography(boards.dataset())
    assert boards.dataset().title in every
    assert every.count("{") == every.count("}")


def test_figures_are_whole_svg_and_vector_pdf(files):
    drawn = [name for name in files if name.startswith("figures/")]
    assert {Path(name).suffix for name in drawn} == {".svg", ".pdf"}
    for name in drawn:
        content = files[name]
        if isinstance(content, bytes):
            assert content.startswith(b"%PDF")
            assert b"/Subtype /Image" not in content
        else:
            tree = ET.fromstring(content)  # noqa: S314 - our own drawing
            tags = {element.tag.split("}")[1] for element in tree.iter()}
            assert not tags & {"script", "image", "foreignObject", "a"}
            assert "var(" not in content


def test_all_files_are_the_same_bytes_again(plain):
    again = render_paper(replace(dataset_reports.study(), board=boards.leaderboard()))
    assert again.keys() == plain.keys()
    same = [name for name in plain if again[name] == plain[name]]
    assert {Path(name).suffix for name in plain.keys() - set(same)} <= {".pdf"}


@pytest.mark.skipif(PDFLATEX is None or BIBTEX is None, reason="no pdflatex and bibtex here")
def test_the_document_compiles_without_an_error_or_an_undefined_reference(files, tmp_path):
    write(files, tmp_path)
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    for command in (latex, ["bibtex", "main"], latex, latex):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace"
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "main.log").read_text(errors="replace")
    assert "undefined" not in log
    assert (tmp_path / "main.pdf").read_bytes().startswith(b"%PDF")
