"""The leaderboard page.

Ties are a compact letter display (Piepho 2004): two rows that share a letter are not told apart.

Templates only lay out what stands here; they count nothing and round nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as counter
from string import ascii_lowercase

from bench.leaderboard import (
    Comparison,
    Estimate,
    IntervalFacts,
    Leaderboard,
    LeaderboardRow,
    RowReport,
    Subgroup,
)
from bench.leaderboard.text import metric
from bench.report import text
from bench.report.arms import ArmSection, Leak, arm_section
from bench.report.charts import Bar, Drawing, Graph, Scale, Tick, critical_difference, scale_of
from bench.report.format import (
    Name,
    count,
    counted,
    decimals,
    interval,
    name,
    p_value,
    percent,
    plain,
    said,
    signed,
)
from bench.report.leaderboard_details import (
    Confusion,
    CostTable,
    FoldPanel,
    RecipeText,
    confusions,
    cost_cell,
    cost_head,
    cost_table,
    fold_panels,
    recipes,
    trade_off,
)
from bench.report.page_header import PageHeader, of_the_data, page_badges
from bench.report.tables import (
    Badge,
    Cell,
    Glance,
    Head,
    Line,
    Panel,
    RankCell,
    RowHead,
    Table,
    about_metric,
    badges,
    cell,
    class_panels,
    glance,
    metric_order,
    metric_panels,
    metric_table,
    row_head,
)
from bench.report.text import plural, ties

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


SHADES = 9
RANKED = ("train_seconds", "peak_memory_bytes", "parameters", "images_per_second")
"""Costs beside the ranking; the section on cost has all."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A line of the ranked table: a line of estimates, and what else is known of the row."""

    line: Line
    ties: str
    tested: tuple[str, str]
    costs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The ranked table. references: where the best reference lies in each column's drawing."""

    heads: tuple[Head, ...]
    references: tuple[str, ...]
    lines: tuple[Standing, ...]
    costs: tuple[Head, ...]
    ties: bool
    unit: str


def ranking(board: Leaderboard) -> Ranking:
    """The ranked table of a leaderboard."""
    table = metric_table(board, metric_order(board))
    letters = tie_letters(board)
    known = [key for key in RANKED if any(key in row.facts.cost for row in board.rows)]
    lines = tuple(
        Standing(
            line,
            letters.get(row.name, ""),
            _tested(row),
            tuple(cost_cell(row, key) for key in known),
        )
        for line, row in zip(table.lines, board.rows, strict=True)
    )
    return Ranking(
        heads=table.heads,
        references=table.references,
        lines=lines,
        costs=tuple(cost_head(key) for key in known),
        ties=bool(letters),
        unit=plain(board.dataset.unit),
    )


def _tested(row: LeaderboardRow) -> tuple[str, str]:
    images, groups = row.tested or (row.table.metrics["accuracy"].n, math.nan)
    return count(images), "" if math.isnan(groups) else count(groups)


def tie_letters(board: Leaderboard) -> dict[str, str]:
    """The letters of every ranked row, best first; none where there is nothing to compare."""
    ranked = [row.name for row in board.rows if row.rank.best is not None]
    if len(ranked) < 2 or not board.comparisons:  # noqa: PLR2004 - a row alone ties with nobody
        return {}
    sets = [tuple(name for name in group if name in ranked) for group in board.tie_groups]
    tied = {name for group in sets for name in group}
    groups = [*filter(None, sets), *((name,) for name in ranked if name not in tied)]
    groups.sort(key=lambda group: [ranked.index(name) for name in group])
    found = dict.fromkeys(ranked, "")
    for letters, group in zip(_letters(), groups, strict=False):
        for row in group:
            found[row] += f" {letters}" if found[row] else letters
    return found


def _letters() -> Iterator[str]:
    """Letters a to z, then a2 to z2, and so on."""
    for turn in counter(1):
        yield from (letter if turn == 1 else f"{letter}{turn}" for letter in ascii_lowercase)


@dataclass(frozen=True, slots=True)
class RankShare:
    """How often a row had a rank: its share in words, a shade 0 to 9, the same as a sentence."""

    text: str
    shade: int
    title: str


@dataclass(frozen=True, slots=True)
class RankLine:
    """A row's ranks over the resamples."""

    head: RowHead
    shares: tuple[RankShare, ...]
    interval: str


@dataclass(frozen=True, slots=True)
class RankShares:
    """The ranked rows by the ranks they had in the resamples."""

    ranks: tuple[str, ...]
    lines: tuple[RankLine, ...]


def rank_shares(board: Leaderboard) -> RankShares | None:
    """How often each row had each rank; None where fewer than two are ranked by resamples."""
    ranked = [row for row in board.rows if row.rank.shares]
    if len(ranked) < 2:  # noqa: PLR2004
        return None
    return RankShares(
        ranks=tuple(str(place + 1) for place in range(len(ranked[0].rank.shares))),
        lines=tuple(
            RankLine(
                row_head(board, row),
                tuple(_share(place + 1, share) for place, share in enumerate(row.rank.shares)),
                str(row.rank.low)
                if row.rank.low == row.rank.high
                else f"{row.rank.low}–{row.rank.high}",
            )
            for row in ranked
        ),
    )


def _share(rank: int, share: float) -> RankShare:
    if share == 0:
        return RankShare("", 0, "")
    told = percent(share)
    return RankShare(told, math.ceil(share * SHADES), f"rank {rank} in {told} of resamples")


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


ATTRIBUTES = {
    "age": "Age in years",
    "sex": "Sex",
    "localization": "Body site",
    "dx_type": "How the diagnosis was made",
    "source": "Source",
    "image_size": "Image size",
}
SUBSET_METRICS = ("balanced_accuracy", "macro_auc", "malignant_auc")
"""Shown by subset beside the primary metric; all of them stand on the rows' own pages."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One way to slice the images, with panels to choose from."""

    id: str
    label: str
    about: str
    panels: tuple[Panel, ...]


def unit_slices(board: Leaderboard, looks: Mapping[str, RowReport]) -> tuple[Slice, ...]:
    """All metrics with images as units, then with lesions and patients where the data names them.

    Only images count for reference rows: nobody looked at those any closer.
    """
    slices = [Slice("unit-images", "Images", "", metric_panels(board))]
    names = dict.fromkeys(unit.unit for look in looks.values() for unit in look.units)
    for unit in names:
        tables = {
            row: one.table for row, look in looks.items() for one in look.units if one.unit == unit
        }
        rows = tuple(
            replace(row, table=tables[row.name]) for row in board.rows if row.name in tables
        )
        resamples = min(look.resamples for look in looks.values())
        seen = replace(
            board,
            rows=rows,
            interval=replace(board.interval, resamples=resamples),
            best_reference="",
        )
        about = (
            f"The predictions of a {plain(unit)}’s images in a fold are averaged into one item. "
            "Reference rows are scored by image only."
        )
        slices.append(
            Slice(
                f"unit-{plain(unit)}",
                plural(unit).capitalize(),
                about,
                metric_panels(seen, prefix=plain(unit)),
            )
        )
    return tuple(slices)


def subset_slices(board: Leaderboard, looks: Mapping[str, RowReport]) -> tuple[Slice, ...]:
    """Every row on the parts of the images that share a value of an attribute."""
    groups = [group for look in looks.values() for group in look.subgroups]
    close = replace(board.interval, method="percentile")
    slices = []
    for at, attribute in enumerate(dict.fromkeys(group.attribute for group in groups)):
        keys = [
            key
            for key in dict.fromkeys((board.primary, *SUBSET_METRICS))
            if any(key in group.metrics for group in groups if group.attribute == attribute)
        ]
        panels = tuple(
            _subset_panel(board, looks, attribute, key, f"subset-{at}-{index}", close)
            for index, key in enumerate(keys)
        )
        if panels:
            slices.append(Slice(f"subset-{at}", ATTRIBUTES[attribute], "", panels))
    return tuple(slices)


def _subset_panel(
    board: Leaderboard,
    looks: Mapping[str, RowReport],
    attribute: str,
    key: str,
    panel_id: str,
    close: IntervalFacts,
) -> Panel:
    shown = [row for row in board.rows if row.name in looks]
    found = {
        row.name: {
            one.value: one for one in looks[row.name].subgroups if one.attribute == attribute
        }
        for row in shown
    }
    sizes = {value: one for groups in found.values() for value, one in groups.items()}
    heads = tuple(
        Head(
            name(value, 24).short,
            f"{counted(one.images, 'image')}\n{counted(one.groups, plain(board.dataset.unit))}",
            "ascending" if metric(key).lower else "descending",
            name(value).full,
        )
        for value, one in sizes.items()
    )
    lines = tuple(
        Line(
            row_head(board, row),
            RankCell("", ""),
            tuple(_subset_cell(found[row.name].get(value), key, close) for value in sizes),
        )
        for row in shown
    )
    return Panel(panel_id, metric(key).title, about_metric(key), Table(heads, lines))


def _subset_cell(group: Subgroup | None, key: str, close: IntervalFacts) -> Cell:
    if group is not None and group.too_few:
        return TOO_FEW
    known = group.metrics.get(key) if group is not None else None
    return cell(known or Estimate(math.nan), metric(key), close)


TOO_FEW = Cell("", "–", "", "too few to say", (), "below 50 groups")


@dataclass(frozen=True, slots=True)
class Page(PageHeader):
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
    recipes: tuple[RecipeText, ...]
    costs: CostTable
    trade_off: Graph | None
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
    looks: Mapping[str, RowReport] | None = None,
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
        title=text.title(board),
        kicker=" · ".join(("Leaderboard", said(board.dataset.title), plain(board.protocol))),
        heading=text.protocol_title(board.protocol_title, board.dataset.unit),
        headline=board.verdict,
        standfirst=text.standfirst(board),
        data=of_the_data(board),
        primary=metric(board.primary).label,
        primary_title=metric(board.primary).title,
        level=f"{board.interval.level * 100:g}%",
        reference=board.reference_text,
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
        how_made=text.how_made(board),
        marks=text.marks(board),
        badge_key=badge_key(board),
        files=FILES,
    )
