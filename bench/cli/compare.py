"""`compare`: rows against each other on the same images, in the terminal and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.board import gather, open_bench, print_data, write_board
from bench.cli.board_text import PIPE_WIDTH
from bench.cli.comparisons import other_metric
from bench.cli.numbers import FiniteRange
from bench.cli.places import protocol_option, results_option, source_options
from bench.data.sources import DataChoice
from bench.errors import PredictionError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.contrast import Contrast, Pair
    from bench.score.versus import Question

FEWEST = 2
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
WIDEST = 100.0
"""Of a metric without an upper end: log loss, whose probabilities are clipped, has a third."""


@click.command()
@click.argument("asked", metavar="ROW ROW [ROW...]", nargs=-1, required=True)
@protocol_option
@source_options
@results_option
@click.option("--metric", help="What the verdict is of. Default: the protocol's primary metric.")
@click.option(
    "--margin",
    type=FiniteRange(0, min_open=True),
    help="Also say whether the first of a pair is non-inferior to the second by this much of the "
    "metric, 0.02 for 2 points.",
)
@click.option(
    "--rope",
    type=FiniteRange(0, min_open=True),
    default=0.01,
    show_default=True,
    help="Differences up to this count as alike in the Bayesian test.",
)
def compare(
    asked: tuple[str, ...],
    protocol_name: str,
    data: DataChoice,
    results: Path,
    metric: str | None,
    margin: float | None,
    rope: float,
) -> None:
    """Compare rows of the leaderboard, by name, or by method where it has one row only."""
    from bench.report.contrast_export import render_contrast
    from bench.report.html import write
    from bench.run.results import compare_folder, leaderboard_folder, refuse_unwritable
    from bench.score.versus import Question, contrast, find_row

    bench = open_bench(protocol_name, data)
    refuse_unwritable(results)
    gathered = gather(bench, results)
    names = [find_row(name, gathered.rows) for name in asked]
    if len(names) < FEWEST or len(set(names)) < len(names):
        raise PredictionError(f"compare takes two different rows or more, not {' '.join(names)}")
    print_data(bench)
    primary = bench.protocol.metrics.primary
    question = Question(metric or primary, rope, margin)
    _refuse_as_wide(question)
    about = (bench.protocol, bench.source.manifest, bench.roles)
    found = contrast(*about, gathered.rows, gathered.facts, names, question)
    board = leaderboard_folder(results, bench.protocol.name, bench.source.manifest.name)
    folder = compare_folder(board, names, other_metric(question.metric, primary))
    write(render_contrast(found), folder)
    write_board(bench, results, gathered)
    _print(found)
    disputed = {image.image_id for pair in found.pairs for image in pair.disputed}
    told = "that one alone gets right" if len(names) == FEWEST else "on which rows disagree"
    click.echo(f"images {told}: {len(disputed)}, in {folder / 'disagreements.csv'}")
    click.echo(f"comparison: {folder / 'index.html'}")


def _refuse_as_wide(question: Question) -> None:
    """Raise PredictionError for a margin or a rope as wide as all that the metric can be."""
    from bench.report.catalogue import metric

    low, high = metric(question.metric).bounds
    for option, width in (("--margin", question.margin), ("--rope", question.rope)):
        if width is not None and width >= min(high - low, WIDEST):
            about = f"{low:g} and {high:g}" if isfinite(high - low) else f"0 and about {WIDEST:g}"
            raise PredictionError(
                f"{option} {width:g}: {metric(question.metric).label} lies between {about}; "
                "2 points are 0.02"
            )


def _print(found: Contrast) -> None:
    from rich.console import Console

    from bench.report.contrast_words import headline, standfirst

    console = Console()
    console = Console(width=None if console.is_terminal else PIPE_WIDTH, highlight=False)
    console.print(headline(found), style="bold", markup=False)
    for sentence in standfirst(found):
        console.print(sentence, markup=False)
    for pair in found.pairs:
        _print_pair(console, found, pair)
    _print_spreads(console, found)


def _print_pair(console: Console, found: Contrast, pair: Pair) -> None:
    """The metrics, the classes, the disagreements and the rest of a pair."""
    from bench.report.contrast import pair_view

    view = pair_view(found, pair)
    recall = next(table for table in view.classes if table.label == "Recall")
    for title, table in (("Metric", view.metrics), ("Recall", recall)):
        cells = [(one.a, one.b, one.difference) for one in table.lines]
        marks = dict.fromkeys(mark for three in cells for each in three for mark in each.marks)
        signs = {mark: str(number).translate(RAISED) for number, mark in enumerate(marks, start=1)}
        lines = [
            (
                one.label,
                *(" ".join([each.text, *(signs[mark] for mark in each.marks)]) for each in three),
            )
            for one, three in zip(table.lines, cells, strict=True)
        ]
        _print_table(
            console, (title, view.a.full, view.b.full, "first minus second"), lines, view.title
        )
        if signs:
            told = ", ".join(f"{sign} {mark}" for mark, sign in signs.items())
            console.print(told, markup=False)
    heads = ("true class", "images", "groups", "only first right", "only second right")
    tests = ("McNemar p, of images", "sign-flip p, of groups", "ICC", "design effect")
    disputes = [(one.label, *one.texts) for one in view.disputes]
    _print_table(console, (*heads, *tests), disputes, "Where they disagree")
    for term, told in view.more:
        console.print(f"{term}: {told}", markup=False)


def _print_spreads(console: Console, found: Contrast) -> None:
    """What a fold's value varies with."""
    from bench.report.contrast import spread_lines

    heads = ("standard deviation of", "between folds", "lesions", "training", "seed")
    lines = [(label, *texts) for label, texts in spread_lines(found)]
    _print_table(console, heads, lines, f"What a fold's {found.metric} varies with")


def _print_table(
    console: Console, heads: Sequence[str], lines: Sequence[Sequence[str]], title: str
) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, heads), title=escape(title), title_justify="left")
    for line in lines:
        table.add_row(*map(escape, line))
    console.print(table)
