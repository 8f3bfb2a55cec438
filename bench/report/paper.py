"""A paper's parts: tables in booktabs, figures as PDF and SVG, a methods paragraph, references."""

from __future__ import annotations

import io

from bench.report.citations import bibliography, cited
from bench.report.latex import render_tex
from bench.report.paper_figures import figures
from bench.report.paper_methods import paragraphs
from bench.report.paper_tables import tables
from bench.report.study import Study

FOLDER = "paper"


def render_paper(study: Study) -> dict[str, str | bytes]:
    """The files of a paper about a leaderboard, by name, `main.tex` of all parts among them.

    The same study gives the same bytes.
    """
    import vl_convert

    made: dict[str, str | bytes] = {}
    labels = []
    for table in tables(study):
        labels.append(f"table-{table.label}")
        made[f"table-{table.label}.tex"] = render_tex("table.tex.j2", table=table)
    drawn = list(figures(study))
    for one in drawn:
        made[f"figures/{one.label}.svg"] = one.svg
        made[f"figures/{one.label}.pdf"] = in_order(vl_convert.svg_to_pdf(one.svg))
    methods = render_tex("methods.tex.j2", paragraphs=paragraphs(study))
    captions = [(one.label, one.caption) for one in drawn]
    return made | {
        "methods.tex": methods,
        "references.bib": bibliography(cited(methods), study.board.dataset),
        "main.tex": render_tex("main.tex.j2", tables=labels, figures=captions),
    }


def in_order(pdf: bytes) -> bytes:
    """The same PDF with its objects and names in order, where its writer has them as they come."""
    import pikepdf

    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as whole:
        whole.save(out, deterministic_id=True)
    return out.getvalue()
