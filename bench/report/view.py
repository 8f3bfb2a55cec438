"""The whole leaderboard page as plain words, numbers already rounded, and places to draw them.

Templates only lay out what stands here; they count nothing and round nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.closeup import Closeup
from bench.estimates import Leaderboard
from bench.report import explained, words
from bench.report.arms import ArmSection, arm_section
from bench.report.catalogue import metric
from bench.report.contrast_words import ties
from bench.report.costs import CostTable, cost_table
from bench.report.details import (
    Confusion,
    FoldPanel,
    Recipe,
    confusions,
    fold_panels,
    recipes,
)
from bench.report.headed import Headed, of_the_data, page_badges
from bench.report.leak import Leak
from bench.report.names import name, plain, said
from bench.report.pairs import PairPanel, pair_panels, shown_pairs
from bench.report.ranking import Ranking, RankShares, rank_shares, ranking
from bench.report.ranks_drawn import critical_difference
from bench.report.rows import Badge, badges, reference_text
from bench.report.slices import Slice, subset_slices, unit_slices
from bench.report.tables import (
    Glance,
    Panel,
    class_panels,
    glance,
)
from bench.report.trade import trade_off
from bench.report.vega import Drawing


@dataclass(frozen=True, slots=True)
class Page(Headed):
    """A leaderboard page, ready to be laid out."""

    primary: str
    primary_title: str
    level: str
    reference: str
    glance: Glance
    ranking: Ranking
    rank_shares: RankShares | None
    mean_ranks: Drawing | None
    units: tuple[Slice, ...]
    class_panels: tuple[Panel, ...]
    subsets: tuple[Slice, ...]
    confusions: tuple[Confusion, ...]
    fold_panels: tuple[FoldPanel, ...]
    pair_panels: tuple[PairPanel, ...]
    pairs_left_out: str
    ties: tuple[str, ...]
    absent: tuple[tuple[str, str], ...]
    compared: tuple[tuple[str, str], ...]
    arms: ArmSection | None
    recipes: tuple[Recipe, ...]
    costs: CostTable
    trade_off: Drawing | None
    leak: Leak | None
    how_made: tuple[tuple[str, str], ...]
    marks: tuple[tuple[str, str], ...]
    badge_key: tuple[Badge, ...]
    files: tuple[tuple[str, str], ...]


FILES = (
    ("leaderboard.json", "everything on this page"),
    ("leaderboard.csv", "one line a method"),
    ("per_class.csv", "one line a method, class and metric"),
)


MOST_TIES = 6
"""More sets of tied rows than these are told by letters alone."""
FEWEST_IN_A_DIAGRAM = 3
"""Two rows need no diagram of their mean ranks."""


def _mean_ranks(board: Leaderboard) -> Drawing | None:
    if len(board.mean_ranks) < FEWEST_IN_A_DIAGRAM or not board.comparisons:
        return None
    return critical_difference(board.mean_ranks, board.tie_groups)


def badge_key(board: Leaderboard) -> tuple[Badge, ...]:
    """Every badge of the page that has an explanation, once."""
    shown = [*page_badges(board), *(one for row in board.rows for one in badges(row))]
    return tuple(dict.fromkeys(one for one in shown if one.meaning))


def page(
    board: Leaderboard,
    compared: Sequence[tuple[str, str]] = (),
    looks: Mapping[str, Closeup] | None = None,
    meter: Leak | None = None,
) -> Page:
    """Everything a leaderboard page says and draws.

    compared  pages of comparisons, address and words
    looks     what is known of rows beyond the leaderboard, for other units and subsets
    meter     what the leakage meter found on the same data
    """
    looks = looks or {}
    pairs, left_out = shown_pairs(board)
    return Page(
        title=words.title(board),
        kicker=" · ".join(("Leaderboard", said(board.dataset.title), plain(board.protocol))),
        heading=words.protocol_title(board.protocol_title, board.dataset.unit),
        headline=words.headline(board),
        standfirst=words.standfirst(board),
        data=of_the_data(board),
        primary=metric(board.primary).label,
        primary_title=metric(board.primary).title,
        level=f"{board.interval.level * 100:g}%",
        reference=reference_text(board),
        glance=glance(board),
        ranking=ranking(board),
        rank_shares=rank_shares(board),
        mean_ranks=_mean_ranks(board),
        units=unit_slices(board, looks),
        class_panels=class_panels(board),
        subsets=subset_slices(board, looks),
        confusions=confusions(board),
        fold_panels=fold_panels(board),
        pair_panels=pair_panels(pairs),
        pairs_left_out=left_out,
        ties=tuple(ties(board.tie_groups)) if len(board.tie_groups) <= MOST_TIES else (),
        absent=tuple((name(who).short, plain(what)) for who, what in board.absent.items()),
        compared=tuple((href, plain(label)) for href, label in compared),
        arms=arm_section(board),
        recipes=recipes(board),
        costs=cost_table(board),
        trade_off=trade_off(board),
        leak=meter,
        how_made=explained.how_made(board),
        marks=explained.marks(board),
        badge_key=badge_key(board),
        files=FILES,
    )
