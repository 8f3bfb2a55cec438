"""Two rows at a time: what the interval says, what the test says, and what both say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.estimates import Comparison, Estimate, Leaderboard
from bench.report.catalogue import metric
from bench.report.charts import Bar, Scale, Tick, scale_of
from bench.report.names import Name, name, plain
from bench.report.numbers import counted, decimals, interval, p_value, signed


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows compared: what the interval says, what the test says, and what both say."""

    a: Name
    b: Name
    difference: str
    interval: str
    bar: Bar | None
    by_interval: str
    by_test: str
    p: str
    verdict: str
    settled: bool


@dataclass(frozen=True, slots=True)
class PairPanel:
    """All pairs in one metric."""

    id: str
    label: str
    note: str
    pairs: tuple[Pair, ...]
    zero: str
    ticks: tuple[Tick, ...]


MOST = 120
"""Pairs that a table of them shows; of more, those that say something of the order."""


def shown_pairs(board: Leaderboard, most: int = MOST) -> tuple[Leaderboard, str]:
    """The leaderboard with the pairs that a page shows, and what is said of the others.

    Of many pairs: the first row against every other, and each row against the next.
    """
    every = len({frozenset((one.a, one.b)) for one in board.comparisons})
    if every <= most:
        return board, ""
    ranked = [row.name for row in board.rows if row.rank.best is not None]
    place = {row: at for at, row in enumerate(ranked)}

    def shown(one: Comparison) -> bool:
        first, second = sorted((place.get(one.a, -1), place.get(one.b, -1)))
        return first == 0 or second - first == 1

    kept = tuple(one for one in board.comparisons if shown(one))
    told = (
        f"Of {counted(every, 'pair')} these are the first row against every other and each row "
        "against the next; leaderboard.json holds all."
    )
    return replace(board, comparisons=kept), told


def pair_panels(board: Leaderboard) -> tuple[PairPanel, ...]:
    """One panel a metric that was compared, the primary first."""
    keys = list(dict.fromkeys(comparison.metric for comparison in board.comparisons))
    keys.sort(key=lambda key: key != board.primary)
    return tuple(
        pair_panel(board.comparisons, board.interval.level, f"pair-{i}", key)
        for i, key in enumerate(keys)
    )


def pair_panel(
    comparisons: Sequence[Comparison], level: float, panel_id: str, key: str
) -> PairPanel:
    """All pairs in one metric, on one scale."""
    of_metric = [one for one in comparisons if one.metric == key]
    ends = [end for one in of_metric for end in (one.difference, one.low, one.high)]
    scale = scale_of([*ends, 0.0], (-math.inf, math.inf))
    return PairPanel(
        id=panel_id,
        label=metric(key).title,
        note=metric(key).direction,
        pairs=tuple(_pair(one, level, scale) for one in of_metric),
        zero=scale.at(0.0),
        ticks=scale.ticks,
    )


def _pair(one: Comparison, level: float, scale: Scale) -> Pair:
    places = decimals(one.low, one.high)
    alpha = 1 - level
    ahead = one.low > 0 or one.high < 0
    tested = not math.isnan(one.p_adjusted)
    settled = one.verdict in ("better", "worse")
    winner = "first" if one.verdict == "better" else "second"
    drawn = Estimate(one.difference, one.low, one.high)
    return Pair(
        a=name(one.a),
        b=name(one.b),
        difference=signed(one.difference, places),
        interval=interval(one.low, one.high, places),
        bar=scale.bar(drawn),
        by_interval="" if math.isnan(one.low) else ("excludes 0" if ahead else "includes 0"),
        by_test=("differ" if one.p_adjusted <= alpha else "not told apart")
        if tested
        else "no test",
        p=p_value(one.p_adjusted),
        verdict=f"{winner} is better" if settled else plain(one.verdict),
        settled=settled,
    )
