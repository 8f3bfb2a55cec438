"""LaTeX tables, figures, methods text and references for a paper.

pdfLaTeX's T1 fonts set Latin letters. Other letters (Hebrew, Greek, signs) become their code, so
that a document always compiles; the few that this project uses become commands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from bench.leaderboard import (
    REFERENCE,
    DatasetFacts,
    Estimate,
    Leaderboard,
    LeaderboardRow,
    based_on,
)
from bench.leaderboard.text import metric
from bench.report.charts import ACCENT, RULE, SOFT, class_colours, standalone
from bench.report.dataset_report import DatasetReport
from bench.report.format import (
    count,
    counted,
    decimals,
    fixed,
    interval,
    listed,
    name,
    p_value,
    plain,
    signed,
)
from bench.report.leaderboard_page import shown_pairs
from bench.report.tables import METHODS, Cell, cell, method_name, metric_order
from bench.report.text import FOLDS, MARKS, RARE, kind_of, unseen
from bench.settings import REPORTS

if TYPE_CHECKING:
    import altair as alt
    from jinja2 import Environment


COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_\allowbreak{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": "'",
    "`": r"\textasciigrave{}",
    "*": "{*}",
    "[": "{[}",
    "]": "{]}",
    "@": r"@\allowbreak{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREEK SMALL LETTER KAPPA}": r"$\kappa$",
    "\N{INFINITY}": r"$\infty$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
}
"""`[` and `*` too: behind a line's end LaTeX would take them for its options."""
LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]")


class Tex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


def escape(text: object) -> Tex:
    """Any text as LaTeX that shows it."""
    if isinstance(text, Tex):
        return text
    return Tex("".join(map(_one, plain(str(text)))))


def _one(char: str) -> str:
    if char in COMMANDS:
        return COMMANDS[char]
    if char.isascii() or LATIN.fullmatch(char):
        return char
    return rf"\textbackslash{{}}u{ord(char):04x}"


def render_tex(template: str, **content: Any) -> str:
    """A LaTeX file from a template of `reports/paper`; inserted values are escaped."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(REPORTS / "paper"),
        autoescape=False,  # noqa: S701 - HTML's escaping is not LaTeX's: `finalize` escapes
        finalize=escape,
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "counted": counted, "listed": listed, "short": _short}
    return environment


def _short(text: str, limit: int = 40) -> str:
    return name(text, limit).short


SHOWN = ("python", "torch", "timm")
"""Software that the methods text names."""


def methods_text(study: DatasetReport) -> str:
    """The methods section in LaTeX: data, folds, methods, statistics, a paragraph each."""
    board, protocol = study.board, study.protocol
    rows, trained = _parted(board)[0], study.trained
    seeds = set(protocol.run.seeds)
    further = {
        row.name: sorted(set(row.seeds) - seeds) for row in trained if set(row.seeds) - seeds
    }
    versions = {key: _environments(trained, key) for key in SHOWN}
    return render_tex(
        "methods.tex.j2",
        study=study,
        stratify=["class" if key == "label" else key for key in protocol.split.stratify],
        unseen=unseen("image" if protocol.split.control else "group"),
        unranked=[row.name for row in rows if row.facts.unranked or not row.complete],
        incomplete=not all(row.complete for row in trained),
        further=[
            f"{name(row, 40).short}: {listed(list(map(str, more)))}"
            for row, more in further.items()
        ],
        software={key: " or ".join(found) for key, found in versions.items() if found},
        commits=[commit[:12] for commit in _environments(trained, "commit")],
        references=[row.name for row in _parted(board)[1]],
        primary=metric(board.primary).label,
        method=method_name(board.interval.method),
        tested=board.tests > 0,
    )


def _environments(rows: Sequence[LeaderboardRow], key: str) -> list[str]:
    return sorted({row.facts.environment.get(key, "") for row in rows} - {""})


def bibliography(facts: DatasetFacts) -> str:
    """All entries that the methods text can cite, and one for the dataset."""
    entries = (REPORTS / "paper" / "references.bib").read_text(encoding="utf-8")
    note = escape(facts.citation or "no citation is on record")
    title = escape(facts.title)
    return f"{entries}\n@misc{{dataset,\n  title = {{{{{title}}}}},\n  note = {{{note}}}\n}}\n"


COLUMNS = ("balanced_accuracy", "accuracy", "macro_auc")
BY_CLASS = ("recall", "f1", "auc")
LONGEST = 36
MOST_PAIRS = 45
"""Largest number of pairs that fit a page."""
SIGNS = {
    "few patients": r"\star",
    "few lesions": r"\dagger",
    "few groups": r"\sharp",
    "biased": r"\ddagger",
    "imprecise": r"\natural",
    "bias-corrected": r"\flat",
    "percentile": r"\S",
    METHODS["clopper-pearson"]: r"\P",
    "BCa": r"\parallel",
    RARE: r"\ast",
    FOLDS: r"\circ",
    "incomplete": r"\triangle",
    "no interval": r"\diamond",
}
"""A LaTeX symbol for each kind of mark, in this order, the same in every table."""
OTHER = r"\bullet"
MOST_LISTED = 4
"""Largest number of marks of one kind that the notes of a table list."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table: its label, caption, column types, headings, and blocks of lines."""

    label: str
    caption: str
    columns: str
    heads: tuple[str, ...]
    blocks: tuple[tuple[tuple[str | Cell, ...], ...], ...]
    stacked: bool = False

    def signs(self, one: Cell) -> Tex:
        """The superscript symbols of a cell's marks."""
        return _raised(dict.fromkeys(map(kind_of, one.marks)))

    @property
    def notes(self) -> tuple[Tex, ...]:
        """The meaning of the symbols in this table, in their order."""
        used: dict[str, list[str]] = {}
        for mark in (mark for one in self._cells() for mark in one.marks):
            found = used.setdefault(kind_of(mark), [])
            if mark not in found:
                found.append(mark)
        order = dict.fromkeys([*SIGNS, *used])
        return tuple(_note(kind, used[kind]) for kind in order if kind in used)

    def _cells(self) -> Iterator[Cell]:
        yield from (
            one for block in self.blocks for line in block for one in line if isinstance(one, Cell)
        )


def _raised(kinds: Iterable[str]) -> Tex:
    found = "".join(SIGNS.get(kind, OTHER) for kind in kinds)
    return Tex(f"$^{{{found}}}$" if found else "")


def _note(kind: str, marks: Sequence[str]) -> Tex:
    """A symbol, its marks, and their meaning."""
    more = ["and others"] if len(marks) > MOST_LISTED else []
    texts = "; ".join([*marks[:MOST_LISTED], *more])
    meaning = f": {MARKS[kind]}" if kind in MARKS else "."
    return Tex(_raised([kind]) + " " + escape(f"{texts}{meaning}"))


def tables(study: DatasetReport) -> Iterator[PaperTable]:
    """Ranking, classes, pairs, data."""
    yield ranking(study.board)
    yield from (by_class(study.board, key) for key in BY_CLASS if key in study.board.class_metrics)
    if study.board.comparisons:
        yield pairs(study.board)
    yield data(study)


def _how(board: Leaderboard) -> str:
    made = board.interval
    data = " Synthetic data." if board.dataset.synthetic else ""
    return (
        f"In brackets {made.level:.0%} intervals over {made.unit}s "
        f"({count(made.resamples)} resamples).{data}"
    )


def _parted(board: Leaderboard) -> tuple[list[LeaderboardRow], list[LeaderboardRow]]:
    methods = [row for row in board.rows if row.kind != REFERENCE]
    return methods, [row for row in board.rows if row.kind == REFERENCE]


def ranking(board: Leaderboard) -> PaperTable:
    """Rank, method, the primary metric and the usual others."""
    keys = [key for key in metric_order(board) if key in (board.primary, *COLUMNS)]

    def line(row: LeaderboardRow) -> tuple[str | Cell, ...]:
        values = (cell(row.table.metrics.get(key), metric(key), board.interval) for key in keys)
        return (_rank(row), name(row.name, LONGEST).short, *values)

    return PaperTable(
        "ranking",
        f"{name(board.dataset.title).short}, protocol {board.protocol}. {_how(board)} "
        "Rank with its interval over the same resamples; reference rows do not use the images.",
        "ll" + "l" * len(keys),
        ("Rank", "Method", *(metric(key).title for key in keys)),
        tuple(tuple(map(line, rows)) for rows in _parted(board) if rows),
        stacked=True,
    )


def _rank(row: LeaderboardRow) -> str:
    rank = row.rank
    if rank.best is None:
        return "\N{EN DASH}"
    return str(rank.best) if rank.low is None else f"{rank.best} [{rank.low}, {rank.high}]"


def by_class(board: Leaderboard, key: str) -> PaperTable:
    """One metric of every row by class."""
    about = metric(key)

    def line(row: LeaderboardRow) -> tuple[str | Cell, ...]:
        found = (row.table.per_class.get(label, {}).get(key) for label in board.classes)
        return (
            name(row.name, LONGEST).short,
            *(cell(one, about, board.interval) for one in found),
        )

    meaning = f" ({about.meaning})" if about.meaning else ""
    return PaperTable(
        f"class-{key.replace('_', '-')}",
        f"{about.title}{meaning} by class. {_how(board)}",
        "l" * (len(board.classes) + 1),
        ("Method", *(name(label, 16).short for label in board.classes)),
        tuple(tuple(map(line, rows)) for rows in _parted(board) if rows),
        stacked=True,
    )


def pairs(board: Leaderboard) -> PaperTable:
    """Differences in the primary metric, with interval, adjusted p and both verdicts."""
    board, note = shown_pairs(board, MOST_PAIRS)
    lines = []
    for one in board.comparisons:
        if one.metric == board.primary:
            places = decimals(one.low, one.high)
            ends = interval(one.low, one.high, places)
            lines.append(
                (
                    name(one.a, LONGEST).short,
                    name(one.b, LONGEST).short,
                    f"{signed(one.difference, places)} {ends}".strip(),
                    one.models,
                    p_value(one.p_adjusted).removeprefix("p ").removeprefix("= ") or "n/a",
                    one.methods,
                )
            )
    return PaperTable(
        "pairs",
        f"Differences in {metric(board.primary).label}, first minus second, paired. {_how(board)} "
        f"These models: by the interval. These methods, trained again: z test with the variance of "
        f"training ({_bases(board)}), p adjusted by Holm.{f' {note}' if note else ''}",
        "llrlrl",
        ("First", "Second", "Difference", "These models", "p", "These methods"),
        (tuple(lines),),
    )


def _bases(board: Leaderboard) -> str:
    """What the tests rest on: `5 trainings each, one training per fold`."""
    tested = (pair for pair in board.comparisons if pair.methods != "not tested")
    return " or ".join(dict.fromkeys(map(based_on, tested))) or "no test"


def data(study: DatasetReport) -> PaperTable:
    """Images, groups and detectable difference of every class."""
    lines = tuple(
        (
            "all (in accuracy)" if row["class"] == "all" else name(str(row["class"]), 24).short,
            count(row["images"]),
            count(row["groups"]),
            fixed(row["detectable"], 3),
        )
        for row in study.detectable.to_dict("records")
    )
    by = study.assumed
    return PaperTable(
        "data",
        f"Tested images and groups by class, and the smallest difference in recall detected with "
        f"{by['power']:.0%} power, for methods that differ on {by['disagreement']:.0%} of the "
        f"images, correlated by {by['correlation']:g} within a group.",
        "lrrr",
        ("Class", "Images", "Groups", "Detectable"),
        (lines,),
    )


SIDE = 420
ROW = 20
TICK = 40
"""Pixels of a tick with its label."""
PANELS = 4
MOST_ROWS = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: the name of its files, its caption, its SVG."""

    label: str
    caption: str
    svg: str


def figures(study: DatasetReport) -> Iterator[Figure]:
    """Ranking, classes, pairs and detectable differences, if there is data for them."""
    board = study.board
    yield _ranking_figure(board)
    if any(row.kind != REFERENCE for row in board.rows):
        yield _class_figure(board)
    if any(one.metric == board.primary for one in board.comparisons):
        yield _pair_figure(board)
    yield _detectable(study)


def _ends(one: Estimate) -> dict[str, float | None]:
    """A value and its ends; without an interval the ends are the value."""
    if math.isnan(one.value):
        return {"value": None, "low": None, "high": None}
    known = not (math.isnan(one.low) or math.isnan(one.high))
    return {
        "value": one.value,
        "low": one.low if known else one.value,
        "high": one.high if known else one.value,
    }


def _labels(names: Sequence[str]) -> list[str]:
    """Short names; equal ones get a number."""
    short = [name(one, 32).short for one in names]
    return [
        f"{text} ({at + 1})" if short.count(text) > 1 else text for at, text in enumerate(short)
    ]


def _forest(
    records: list[dict[str, Any]],
    title: str,
    order: Sequence[str],
    width: int = SIDE,
    *,
    named: bool = True,
) -> alt.LayerChart:
    """Points with intervals, a line per record: keys name, value, low, high, colour."""
    import altair as alt

    axis = alt.Axis(labelLimit=SIDE, labels=named, ticks=named)

    base = alt.Chart(
        alt.InlineData(values=records), width=width, height=ROW * (len(order) + 1)
    ).encode(
        y=alt.Y("name", type="nominal", sort=list(order), title=None, axis=axis),
        color=alt.Color("colour", type="nominal", scale=None),
    )
    across = alt.X(
        "low",
        type="quantitative",
        title=title,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=max(2, width // TICK), labelOverlap=True),
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=across, x2="high")
    point = base.mark_circle(size=50, opacity=1).encode(x=alt.X("value", type="quantitative"))
    return cast("alt.LayerChart", alt.layer(rule, point))


def _ranking_figure(board: Leaderboard) -> Figure:
    rows = board.rows[:MOST_ROWS]
    order = _labels([row.name for row in rows])
    records = [
        {"name": label, "colour": RULE if row.kind == REFERENCE else ACCENT}
        | _ends(row.table.metrics[board.primary])
        for label, row in zip(order, rows, strict=True)
    ]
    about = metric(board.primary)
    level = f"{board.interval.level:.0%}"
    return Figure(
        "ranking",
        f"{about.title} of every row with its {level} interval over {board.interval.unit}s.",
        standalone(_forest(records, about.label, order)),
    )


def _class_figure(board: Leaderboard) -> Figure:
    """F1 by class, a panel a class, in the class's colour."""
    import altair as alt

    rows = [row for row in board.rows if row.kind != REFERENCE][:MOST_ROWS]
    order = _labels([row.name for row in rows])
    key = "f1" if "f1" in board.class_metrics else board.class_metrics[0]
    panels: list[alt.LayerChart] = []
    for label, colour in zip(board.classes, class_colours(board.classes), strict=True):
        records = [
            {"name": label, "colour": colour} | _ends(row.table.per_class[label][key])
            for label, row in zip(order, rows, strict=True)
            if key in row.table.per_class.get(label, {})
        ]
        first = len(panels) % PANELS == 0
        chart = _forest(records, metric(key).label, order, SIDE // PANELS, named=first)
        panels.append(chart.properties(title=name(label, 20).short))
    width = min(PANELS, max(1, len(panels)))
    beside = alt.concat(*panels, columns=width)
    return Figure(
        "classes",
        f"{metric(key).title} of every method by class, with its interval.",
        standalone(beside),
    )


def _pair_figure(board: Leaderboard) -> Figure:
    import altair as alt

    found = [one for one in board.comparisons if one.metric == board.primary][:MOST_ROWS]
    order = [
        f"{at + 1}. {name(one.a, 32).short} \N{MINUS SIGN} {name(one.b, 32).short}"
        for at, one in enumerate(found)
    ]
    records = [
        {"name": label, "colour": ACCENT if one.models in ("better", "worse") else SOFT}
        | _ends(Estimate(one.difference, one.low, one.high))
        for label, one in zip(order, found, strict=True)
    ]
    zero = (
        alt.Chart(alt.InlineData(values=[{"zero": 0}]))
        .mark_rule(color=RULE)
        .encode(x=alt.X("zero", type="quantitative"))
    )
    about = metric(board.primary)
    chart = alt.layer(zero, _forest(records, f"difference in {about.label}", order))
    return Figure(
        "pairs",
        f"Differences in {about.label} between methods, paired, with their intervals; grey if "
        "no difference between these models is shown.",
        standalone(chart),
    )


def _detectable(study: DatasetReport) -> Figure:
    import altair as alt

    classes = study.manifest.classes
    colours = dict(zip(classes, class_colours(classes), strict=True))
    records = [
        {
            "name": name(str(row["class"]), 20).short,
            "value": row["detectable"],
            "colour": colours.get(row["class"], SOFT),
        }
        for row in study.detectable.to_dict("records")
    ]
    chart = (
        alt.Chart(alt.InlineData(values=records), width=SIDE, height=ROW * (len(records) + 1))
        .mark_bar(height=12)
        .encode(
            y=alt.Y("name", type="nominal", sort=[one["name"] for one in records], title=None),
            x=alt.X("value", type="quantitative", title="smallest detectable difference in recall"),
            color=alt.Color("colour", type="nominal", scale=None),
        )
    )
    return Figure(
        "detectable",
        "The smallest difference in recall by class (all: in accuracy) that the paired interval "
        f"detects with {study.assumed['power']:.0%} power.",
        standalone(chart),
    )


FOLDER = "paper"


def render_paper(study: DatasetReport) -> dict[str, str | bytes]:
    """The files of a paper about a leaderboard, by name; `main.tex` includes the others.

    The same study gives the same bytes, except for the order of objects in the PDF files.
    """
    import vl_convert

    files: dict[str, str | bytes] = {
        f"table-{table.label}.tex": render_tex("table.tex.j2", table=table)
        for table in tables(study)
    }
    labels = [file.removesuffix(".tex") for file in files]
    drawn = list(figures(study))
    for figure in drawn:
        files[f"figures/{figure.label}.svg"] = figure.svg
        files[f"figures/{figure.label}.pdf"] = vl_convert.svg_to_pdf(figure.svg)
    captions = [(figure.label, figure.caption) for figure in drawn]
    return files | {
        "methods.tex": methods_text(study),
        "references.bib": bibliography(study.board.dataset),
        "main.tex": render_tex("main.tex.j2", tables=labels, figures=captions),
    }
