"""`report`, `compare`, `submit`, `ensemble`, `publish`: score rows and write pages."""

from __future__ import annotations

from collections.abc import Sequence
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
from bench.cli.terminal import (
    PIPE_WIDTH,
    print_arms,
    print_data,
    print_table,
    stage_events,
)
from bench.errors import listing

if TYPE_CHECKING:
    from rich.console import Console

    from bench.data.open import DatasetSpec
    from bench.leaderboard import ComparisonReport, Leaderboard, PairComparison
    from bench.workflows.open import OpenBench
    from bench.workflows.submit import Pool


@click.command()
@protocol_option
@source_options
@results_option
@click.option(
    "--costs",
    type=click.Path(path_type=Path),
    help="CSV of the cost of each mistake: a header truth,<class>,... and a row for each class. "
    "Kept as costs.csv beside the leaderboard, and used until that file is removed.",
)
@click.option(
    "--latex",
    is_flag=True,
    help="Also write LaTeX for a paper: tables, figures, methods, references.",
)
@click.option(
    "--with-images",
    is_flag=True,
    help="Put small pictures of the highest-loss lesions into each row's page, with Grad-CAM where "
    "checkpoints are. Needs the images.",
)
@click.option(
    "--baseline",
    default="",
    help="Row that the ranked rows are compared with. Default: the leader.",
)
@click.option("--all-pairs", is_flag=True, help="Compare all pairs of ranked rows instead.")
@image_sizes_option
def report(
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    costs: Path | None,
    *,
    latex: bool,
    with_images: bool,
    baseline: str,
    all_pairs: bool,
    image_sizes: bool,
) -> int:
    """Score and render again from the results folder and the committed rows.

    Exit 1 if a fold counts as missing because its record or predictions are damaged.
    """
    from bench.workflows.open import open_bench
    from bench.workflows.report import ReportOptions
    from bench.workflows.report import report as write_report

    bench = open_bench(protocol_name, data, images=with_images, image_sizes=image_sizes)
    print_data(bench)
    with stage_events() as on_event:
        options = ReportOptions(costs, latex, with_images, baseline, all_pairs)
        written = write_report(bench, results, options, on_event)
    print_table(written.leaderboard)
    _print_verdicts(written.leaderboard)
    print_arms(written.leaderboard)
    click.echo(f"leaderboard: {written.page}")
    if latex:
        click.echo(f"paper: {written.paper}")
    return 1 if written.collected.damaged else 0


def _report_again(bench: OpenBench, results: Path) -> None:
    """Write the leaderboard with a new row; print its table."""
    from bench.workflows.report import report as write_report

    with stage_events() as on_event:
        written = write_report(bench, results, on_event=on_event)
    print_table(written.leaderboard)
    _print_verdicts(written.leaderboard)
    click.echo(f"leaderboard: {written.page}")


def _print_verdicts(board: Leaderboard) -> None:
    """Print the two verdicts, a sentence each."""
    for sentence in board.verdicts:
        click.echo(sentence)


RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@click.command()
@click.argument("rows", metavar="ROW ROW [ROW...]", nargs=-1, required=True)
@protocol_option
@source_options
@results_option
@click.option("--metric", help="Metric of the verdict. Default: the protocol's primary metric.")
@click.option(
    "--margin",
    type=FiniteRange(0, min_open=True),
    help="Also test whether the first row of a pair is non-inferior by this much of the metric; "
    "0.02 for 2 points.",
)
@click.option(
    "--rope",
    type=FiniteRange(0, min_open=True),
    default=0.01,
    show_default=True,
    help="Differences up to this count as equivalent in the Bayesian test.",
)
@click.option(
    "--baseline",
    default="",
    help="Row that the others are compared with. Default: the best of the rows.",
)
@click.option("--all-pairs", is_flag=True, help="Compare all pairs instead.")
@click.option("--full", is_flag=True, help="Also print the evidence beside the verdicts.")
def compare(
    rows: tuple[str, ...],
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    metric: str | None,
    margin: float | None,
    rope: float,
    baseline: str,
    *,
    all_pairs: bool,
    full: bool,
) -> None:
    """Compare rows of the leaderboard, by name, or by method if it has one row."""
    from bench.workflows.compare import FEWEST_ROWS, compare
    from bench.workflows.open import open_bench

    bench = open_bench(protocol_name, data)
    written = compare(
        bench,
        rows,
        results,
        metric=metric,
        margin=margin,
        rope=rope,
        baseline=baseline,
        all_pairs=all_pairs,
    )
    print_data(bench)
    _print_comparison(written.report, full=full)
    images = {image.image_id for pair in written.report.pairs for image in pair.disputed}
    which = "that only one row gets right" if len(rows) == FEWEST_ROWS else "on which rows differ"
    click.echo(f"images {which}: {len(images)}, in {written.folder / 'disagreements.csv'}")
    click.echo(f"comparison: {written.page}")


def _print_comparison(found: ComparisonReport, *, full: bool) -> None:
    """Print both verdicts, every pair, and the sources of variance."""
    from rich.console import Console

    from bench.report.comparison_page import standfirst

    console = Console()
    console = Console(width=None if console.is_terminal else PIPE_WIDTH, highlight=False)
    for sentence in found.verdicts:
        console.print(sentence, style="bold", markup=False)
    for sentence in standfirst(found):
        console.print(sentence, markup=False)
    for pair in found.pairs:
        _print_pair(console, found, pair, full=full)
    _print_spreads(console, found)


def _print_pair(
    console: Console, found: ComparisonReport, pair: PairComparison, *, full: bool
) -> None:
    """Print the metrics, the classes and the discordant images of a pair."""
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
            console.print(", ".join(f"{sign} {mark}" for mark, sign in signs.items()), markup=False)
    heads = ("true class", "images", "groups", "only first right", "only second right")
    tests = ("McNemar p, of images", "sign-flip p, of groups", "ICC", "design effect")
    disputes = [(one.label, *one.texts) for one in view.discordant]
    _print_table(console, (*heads, *tests), disputes, "Discordant images")
    for term, sentence in (*view.more, *(view.evidence if full else ())):
        console.print(f"{term}: {sentence}", markup=False)


def _print_spreads(console: Console, found: ComparisonReport) -> None:
    """Print the sources of variance of a fold's value."""
    from bench.report.comparison_page import spread_lines

    heads = ("standard deviation of", "between folds", "lesions", "training", "seed")
    lines = [(label, *texts) for label, texts in spread_lines(found)]
    _print_table(console, heads, lines, f"Sources of variance of {found.metric} by fold")


def _print_table(
    console: Console, heads: Sequence[str], lines: Sequence[Sequence[str]], title: str
) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, heads), title=escape(title), title_justify="left")
    for line in lines:
        table.add_row(*map(escape, line))
    console.print(table)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the row.")
@protocol_option
@source_options
@results_option
@click.option("--origin", default="not stated", help="Author of the predictions; paper or URL.")
@click.option("--licence", default="not stated", help="Licence of the predictions.")
@click.option(
    "--pretraining-data",
    default="undeclared",
    show_default=True,
    help='Data the model saw before, such as "ImageNet-1k" or "none"; undeclared is not ranked.',
)
@click.option(
    "--models",
    type=click.IntRange(min=1),
    help="Number of separately trained models: one for each fold or more. Only then is the method "
    "compared, beside its models. A column `model` states the same.",
)
@click.option("--replace", is_flag=True, help="Replace an earlier submission of this name.")
def submit(
    file: Path,
    name: str,
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    origin: str,
    licence: str,
    pretraining_data: str,
    models: int | None,
    replace: bool,  # noqa: FBT001
) -> None:
    """Add out-of-fold predictions made elsewhere (CSV or Parquet) as a row of the leaderboard.

    One line for each test image: image_id and p_<class> of every class (or the header of the ISIC
    challenges), with a column `fold` if the protocol tests an image more than once, and a column
    `model` if each fold has a separately trained model. Needs no images.
    """
    from bench.workflows.open import open_bench
    from bench.workflows.submit import Origin, submit

    bench = open_bench(protocol_name, data)
    print_data(bench)
    stated = Origin(origin, licence, pretraining_data, models)
    folder = submit(bench, file, name, results, stated, replace=replace)
    click.echo(f"accepted: {folder}; submitted: training not verified")
    _report_again(bench, results)


@click.command()
@click.argument("rows", metavar="ROW ROW [ROW...]", nargs=-1, required=True)
@click.option("--name", required=True, help="Name of the new row.")
@click.option(
    "--pool",
    type=click.Choice(["linear", "log"]),
    default="linear",
    show_default=True,
    help="linear: weighted mean; log: weighted product, for independent evidence such as an image "
    "and the patient's metadata.",
)
@protocol_option
@source_options
@results_option
@click.option("--replace", is_flag=True, help="Replace an earlier ensemble of this name.")
def ensemble(
    rows: tuple[str, ...],
    name: str,
    pool: Pool,
    protocol_name: str,
    data: DatasetSpec,
    results: Path,
    replace: bool,  # noqa: FBT001
) -> None:
    """Join rows by weights chosen on val, fold by fold, as a new row.

    Rows are named as in `compare`, and joined on the seeds that all of them have whole. Needs no
    images, and trains nothing.
    """
    from bench.workflows.open import open_bench
    from bench.workflows.submit import ensemble

    bench = open_bench(protocol_name, data)
    print_data(bench)
    made = ensemble(bench, rows, name, results, pool=pool, data_words=data.words(), replace=replace)
    if made.left_out_seeds:
        seeds = listing(list(made.left_out_seeds))
        click.echo(f"left out, because not all members have them whole: seeds {seeds}")
    _report_again(bench, results)


@click.command()
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the site: a new or empty one, or a site that publish made.",
)
@source_options
@click.option(
    "--also",
    "others",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Folder of a further dataset; repeatable. The synthetic dataset needs none.",
)
@results_option
@click.option("--protocol", "-p", "only", multiple=True, help="Only this protocol; repeatable.")
@click.option(
    "--with-images",
    is_flag=True,
    help="Show small copies of some images. Without it no image is published.",
)
@image_sizes_option
def publish(
    to: Path,
    data: DatasetSpec,
    others: tuple[Path, ...],
    results: Path,
    only: tuple[str, ...],
    *,
    with_images: bool,
    image_sizes: bool,
) -> None:
    """Make a static site of every leaderboard, for any web host or as files.

    Publishing again changes only what changed. A folder with other files is refused.
    """
    from bench.data.open import DatasetSpec
    from bench.report.format import counted
    from bench.workflows.publish import publish

    specs = [data, *(DatasetSpec(folder) for folder in others)]
    with stage_events() as on_event:
        site = publish(
            to,
            specs,
            results,
            protocols=only,
            with_images=with_images,
            image_sizes=image_sizes,
            on_event=on_event,
        )
    for sentence in site.left_out:
        click.echo(f"left out: {sentence} (--data or --also DIR)", err=True)
    changes = site.changes
    pictures = "small copies of some images" if with_images else "no image"
    click.echo(
        f"site: {site.index} ({counted(site.boards, 'leaderboard')}, "
        f"{changes.size / 2**20:.1f} MiB, {pictures}): {changes.new} files new, "
        f"{changes.changed} changed, {changes.removed} removed, {changes.same} unchanged"
    )
