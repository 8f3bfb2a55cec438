"""A leaderboard in the terminal."""

from __future__ import annotations

from math import isnan

import click

from bench.estimates import Estimate, Leaderboard

PIPE_WIDTH = 140
"""Of what is printed into a pipe, which has no width of its own."""


def print_table(leaderboard: Leaderboard) -> None:
    """The leaderboard's head in the terminal: primary metric, accuracy, marks."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from bench.report.rows import lacking

    table = Table(title=f"{leaderboard.protocol} on {leaderboard.dataset.title}")
    for column in ("rank", "row", leaderboard.primary, "balanced_accuracy", "accuracy", ""):
        table.add_column(column, no_wrap=column != "")
    for row in leaderboard.rows:
        estimates = row.table.metrics
        marks = ["submitted: training not verified"] if row.kind == "submitted" else []
        marks += [] if row.complete else [f"incomplete: {lacking(leaderboard, row)}"]
        if row.kind != "reference" and not row.clears_reference:
            marks.append(f"[red]does not clear {escape(leaderboard.best_reference)}[/red]")
        if row.kind != "reference" and row.facts.unranked:
            marks.append(escape(f"unranked: {row.facts.unranked}"))
        table.add_row(
            str(row.rank.best or ""),
            escape(row.name),
            *(
                _interval(e)
                for e in (
                    estimates[leaderboard.primary],
                    estimates["balanced_accuracy"],
                    estimates["accuracy"],
                )
            ),
            ", ".join([*map(escape, row.facts.badges), *marks]),
        )
    for name, what in leaderboard.absent.items():
        click.echo(f"no fold is done of {name}: {what}", err=True)
    console = Console()
    # a pipe has no width of its own: lines as long as they need to be
    Console(width=None if console.is_terminal else PIPE_WIDTH).print(table)


def print_arms(leaderboard: Leaderboard) -> None:
    """What the arms differ by in the primary metric, one line a row and arm."""
    report = leaderboard.arms
    for row in report.rows if report else ():
        if report and row.difference is not None:
            difference = _interval(row.difference.metrics[leaderboard.primary])
            trained = _interval(row.over_seeds[leaderboard.primary])
            click.echo(
                f"{row.name}: {leaderboard.primary} of {row.arm} minus {report.arms[0].name}: "
                f"{difference}; over {len(row.seeds)} seeds {trained}"
            )


def _interval(estimate: Estimate) -> str:
    if isnan(estimate.value):
        return "n/a"
    interval = "" if isnan(estimate.low) else f" ({estimate.low:.3f}, {estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"
