"""`report`, `compare`, `submit`: score and render what is in the results folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import (
    FiniteRange,
    image_sizes_option,
    protocol_option,
    results_option,
    source_options,
)
from bench.cli.terminal import PIPE_WIDTH, print_arms, print_table
from bench.data.open import DatasetSpec
from bench.errors import PredictionError
from bench.settings import BASELINES, COMMITTED
from bench.workflows.report import (
    gather,
    keep_costs,
    open_bench,
    other_metric,
    print_data,
    score_and_render,
    write_board,
)

if TYPE_CHECKING:
    from rich.console import Console

    from bench.leaderboard import ComparisonReport, PairComparison
    from bench.score.comparison import ComparisonRequest


@click.command()
@protocol_option
@source_options
@results_option
@click.option(
    "--costs",
    type=click.Path(path_type=Path),
    help="CSV of what each mistake costs: a header truth,<class>,... and a row a class. Kept as "
    "costs.csv beside the leaderboard, and used until that is removed.",
)
@click.option(
    "--latex",
    is_flag=True,
    help="Write the parts of a paper, too: tables, figures, methods, references.",
)
@click.option(
    "--with-images",
    is_flag=True,
    help="Put small pictures of the lesions a row does worst on into its page, with Grad-CAM where "
    "its checkpoints are. Needs the images.",
)
@image_sizes_option
def report(
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    costs: Path | None,
    *,
    latex: bool,
    with_images: bool,
    image_sizes: bool,
) -> int:
    """Score and render again from what is in the results folder, beside the committed rows.

    Exit 1 where a fold counts as missing because its record or predictions are damaged.
    """
    from bench.data.images import with_image_sizes
    from bench.run.results import leaderboard_folder, refuse_unwritable

    bench = open_bench(protocol_name, data, images=with_images or image_sizes)
    if image_sizes:
        bench = replace(bench, source=with_image_sizes(bench.source))
    refuse_unwritable(results)
    if costs is not None:
        manifest = bench.source.manifest
        board = leaderboard_folder(results, bench.protocol.name, manifest.name)
        keep_costs(costs, board, manifest.classes)
    print_data(bench)
    leaderboard, page, found = score_and_render(
        bench, results, latex=latex, with_images=with_images
    )
    print_table(leaderboard)
    print_arms(leaderboard)
    click.echo(f"leaderboard: {page}")
    if latex:
        click.echo(f"paper: {page.parent / 'paper' / 'main.tex'}")
    return 1 if found.damaged else 0


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
    data: DatasetSpec,
    results: Path,
    metric: str | None,
    margin: float | None,
    rope: float,
) -> None:
    """Compare rows of the leaderboard, by name, or by method where it has one row only."""
    from bench.report.comparison_page import render_comparison
    from bench.report.render import write
    from bench.run.results import compare_folder, leaderboard_folder, refuse_unwritable
    from bench.score.comparison import ComparisonRequest, compare_rows_in_full, find_row

    bench = open_bench(protocol_name, data)
    refuse_unwritable(results)
    gathered = gather(bench, results)
    names = [find_row(name, gathered.rows) for name in asked]
    if len(names) < FEWEST or len(set(names)) < len(names):
        raise PredictionError(f"compare takes two different rows or more, not {' '.join(names)}")
    print_data(bench)
    primary = bench.protocol.metrics.primary
    question = ComparisonRequest(metric or primary, rope, margin)
    _refuse_as_wide(question)
    about = (bench.protocol, bench.source.manifest, bench.roles)
    found = compare_rows_in_full(*about, gathered.rows, gathered.facts, names, question)
    board = leaderboard_folder(results, bench.protocol.name, bench.source.manifest.name)
    folder = compare_folder(board, names, other_metric(question.metric, primary))
    write(render_comparison(found), folder)
    write_board(bench, results, gathered)
    _print(found)
    disputed = {image.image_id for pair in found.pairs for image in pair.disputed}
    told = "that one alone gets right" if len(names) == FEWEST else "on which rows disagree"
    click.echo(f"images {told}: {len(disputed)}, in {folder / 'disagreements.csv'}")
    click.echo(f"comparison: {folder / 'index.html'}")


def _refuse_as_wide(question: ComparisonRequest) -> None:
    """Raise PredictionError for a margin or a rope as wide as all that the metric can be."""
    from bench.report.metric_info import metric

    low, high = metric(question.metric).bounds
    for option, width in (("--margin", question.margin), ("--rope", question.rope)):
        if width is not None and width >= min(high - low, WIDEST):
            about = f"{low:g} and {high:g}" if isfinite(high - low) else f"0 and about {WIDEST:g}"
            raise PredictionError(
                f"{option} {width:g}: {metric(question.metric).label} lies between {about}; "
                "2 points are 0.02"
            )


def _print(found: ComparisonReport) -> None:
    from rich.console import Console

    from bench.report.comparison_text import headline, standfirst

    console = Console()
    console = Console(width=None if console.is_terminal else PIPE_WIDTH, highlight=False)
    console.print(headline(found), style="bold", markup=False)
    for sentence in standfirst(found):
        console.print(sentence, markup=False)
    for pair in found.pairs:
        _print_pair(console, found, pair)
    _print_spreads(console, found)


def _print_pair(console: Console, found: ComparisonReport, pair: PairComparison) -> None:
    """The metrics, the classes, the disagreements and the rest of a pair."""
    from bench.report.comparison_page import pair_view

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


def _print_spreads(console: Console, found: ComparisonReport) -> None:
    """What a fold's value varies with."""
    from bench.report.comparison_page import spread_lines

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


NOT_STATED = "not stated"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", "row", required=True, help="Name of the row.")
@protocol_option
@partial(source_options, name_option="--dataset-name")
@results_option
@click.option("--origin", default=NOT_STATED, help="Who made the predictions; paper or URL.")
@click.option("--licence", default=NOT_STATED, help="Licence of the predictions.")
@click.option(
    "--pretraining-data",
    default="undeclared",
    show_default=True,
    help='What the model saw before, such as "ImageNet-1k" or "none"; undeclared is not ranked.',
)
@click.option("--replace", is_flag=True, help="Take the place of an earlier submission.")
def submit(
    file: Path,
    row: str,
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    origin: str,
    licence: str,
    pretraining_data: str,
    replace: bool,  # noqa: FBT001
) -> None:
    """Take out-of-fold predictions made elsewhere (CSV or Parquet) as a row of the leaderboard.

    One row a test image: image_id and p_<class> of every class (or the ISIC challenges' header),
    with a column `fold` where the protocol tests an image more than once. Needs no images.
    """
    from bench.io import sha256_of
    from bench.run.registry import method_names
    from bench.run.results import refuse_unwritable
    from bench.run.submissions import (
        Submission,
        keep_submission,
        read_submission,
        refuse_committed,
        refuse_name,
        row_folder,
    )

    bench = open_bench(protocol_name, data)
    refuse_unwritable(results)
    print_data(bench)
    manifest = bench.source.manifest
    folder = row_folder(results, protocol_name, manifest.name, row)
    refuse_name(row, folder, method_names(BASELINES), replace=replace)
    refuse_committed(row, row_folder(COMMITTED, protocol_name, manifest.name, row))
    read_submission(file, bench.wanted)
    submission = Submission(
        name=row,
        protocol=protocol_name,
        dataset=manifest.name,
        roster_sha256=manifest.roster_sha256,
        roles_sha256=bench.roles_sha256,
        file=f"submission{'.parquet' if file.suffix.lower() == '.parquet' else '.csv'}",
        sha256=sha256_of(file),
        original=file.name,
        origin=origin,
        licence=licence,
        pretraining_data=pretraining_data,
        accepted=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    keep_submission(folder, file, submission)
    click.echo(f"accepted: {folder}; submitted: training not verified")
    leaderboard, page, _ = score_and_render(bench, results)
    print_table(leaderboard)
    click.echo(f"leaderboard: {page}")
