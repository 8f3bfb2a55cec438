"""The page of a comparison and its files; sentences that the terminal prints, too, are here.

All other sentences are in `reports/compare.html.j2`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.io import text_cell
from bench.leaderboard import (
    BayesianTest,
    ComparisonReport,
    CurvePoint,
    DiscordantPairs,
    Estimate,
    NonInferiority,
    PairComparison,
    amount,
    bare,
)
from bench.leaderboard.text import metric
from bench.report.charts import (
    CurveSpec,
    Drawing,
    Graph,
    Scale,
    critical_difference,
    diagonal,
    graph,
    scale_of_estimates,
    swatches,
)
from bench.report.export import as_csv, number
from bench.report.format import (
    UNDEFINED,
    Name,
    count,
    counted,
    decimals,
    fixed,
    interval,
    name,
    p_value,
    plain,
    said,
    signed,
)
from bench.report.leaderboard_page import pair_panel
from bench.report.render import render_page
from bench.report.tables import Cell, cell
from bench.report.text import GROUPING, plural, protocol_title, ties

LISTED, DRAWN = 60, 1000
"""Maximum number of discordant images in the page's table and in its plot; the CSV has all."""
MOST_VERDICTS = 6
"""Up to this number of pairs, all verdicts are listed; with more, only the differences shown."""
SHARED_MARKS = ("few patients", "few lesions", "few groups", "biased")
"""Marks of the two rows that also hold for their difference."""
CSV_COLUMNS = (
    *("a", "b", "image_id", "group_id", "truth", "a_called", "b_called"),
    *("a_probability", "b_probability", "a_right", "b_right", "passes"),
)


class Line(NamedTuple):
    """A line of a table: the estimates of the two rows and their difference."""

    label: str
    note: str
    a: Cell
    b: Cell
    difference: Cell


class Table(NamedTuple):
    """Lines whose differences share a scale."""

    id: str
    label: str
    lines: tuple[Line, ...]
    scale: Scale


class Discordance(NamedTuple):
    """Discordant images of a true class: numbers as text, and the difference in recall."""

    label: str
    texts: tuple[str, ...]
    recall: Cell


@dataclass(frozen=True, slots=True)
class PairView:
    """One pair, for the page and for the terminal.

    zero      place of 0 in the bars of recall
    evidence  tests beside the verdicts, by name
    """

    id: str
    title: str
    a: Name
    b: Name
    metrics: Table
    classes: tuple[Table, ...]
    discordant: tuple[Discordance, ...]
    zero: str
    more: tuple[tuple[str, str], ...]
    evidence: tuple[tuple[str, str], ...]
    scatter: Graph | None
    pair: PairComparison


# --- page and files -------------------------------------------------------------------------------


def render_comparison(report: ComparisonReport, home: str = "") -> dict[str, str]:
    """The files of a comparison, by name. home: address of the site's index, if in one."""
    return {
        "index.html": render_page("compare.html.j2", page=_page(report), home=home),
        "disagreements.csv": discordant_csv(report),
        "comparison.json": report.to_json(),
    }


def _page(report: ComparisonReport) -> dict[str, Any]:
    pairs = [pair.comparison for pair in report.pairs]
    title = " against ".join(said(row) for row in report.rows)
    unit = report.dataset.unit
    synthetic = "Synthetic data: " if report.dataset.synthetic else ""
    return {
        "report": report,
        "title": f"{synthetic}{title}, {plain(report.protocol)}",
        "heading": title,
        "grouping": GROUPING.get(unit, f"Grouped by {plain(unit)}."),
        "protocol_title": protocol_title(report.protocol_title, unit),
        "standfirst": standfirst(report),
        "panel": pair_panel(pairs, "pairs-plot", report.metric),
        "ranks": _rank_diagram(report),
        "pairs": [pair_view(report, pair, at) for at, pair in enumerate(report.pairs)],
        "spreads": spread_lines(report),
        "swatch": dict(zip(report.classes, swatches(report.classes), strict=True)),
        "listed": LISTED,
    }


def _rank_diagram(report: ComparisonReport) -> Drawing | None:
    known = all(math.isfinite(rank) for rank in report.mean_ranks.values())
    if len(report.rows) < 3 or not known:  # noqa: PLR2004 - two rows need no diagram
        return None
    return critical_difference(report.mean_ranks, report.tie_groups)


def discordant_csv(report: ComparisonReport) -> str:
    """One line per image that one row of a pair predicts correctly more often than the other."""
    lines = [list(CSV_COLUMNS)]
    for pair in report.pairs:
        rows = (pair.comparison.a, pair.comparison.b)
        lines += [
            [
                *map(text_cell, (*rows, image.image_id, image.group_id, image.label)),
                *map(text_cell, (image.a_called, image.b_called)),
                f"{image.a_probability:.6f}",
                f"{image.b_probability:.6f}",
                *(str(number(each)) for each in (image.a_right, image.b_right, image.passes)),
            ]
            for image in pair.disputed
        ]
    return as_csv(lines)


# --- tables and plots -----------------------------------------------------------------------------


def pair_view(report: ComparisonReport, pair: PairComparison, at: int = 0) -> PairView:
    """One pair in full. at: its place among the pairs of the page."""
    a, b = pair.comparison.a, pair.comparison.b
    scale = scale_of_estimates([line.recall for line in pair.disagreements], (-1.0, 1.0), 0.0)
    return PairView(
        id=f"pair-{at}",
        title=f"{said(a)} against {said(b)}",
        a=name(a),
        b=name(b),
        metrics=_metric_table(report, pair, f"metrics-{at}"),
        classes=tuple(_class_tables(report, pair, at)),
        discordant=tuple(_discordance(report, line, scale) for line in pair.disagreements),
        zero=scale.at(0.0),
        more=tuple(_more(report, pair)),
        evidence=tuple(_evidence(pair)),
        scatter=_scatter(report, pair),
        pair=pair,
    )


def _metric_table(report: ComparisonReport, pair: PairComparison, table_id: str) -> Table:
    differences = pair.differences.metrics
    keys = sorted(differences, key=lambda key: key != report.metric)
    bounded = [differences[key] for key in keys if not math.isinf(metric(key).bounds[1])]
    scale = scale_of_estimates(bounded, (-2.0, 2.0), 0.0)
    a, b = (report.tables[row].metrics for row in (pair.comparison.a, pair.comparison.b))
    lines = tuple(
        _line(
            report,
            key,
            (metric(key).title, metric(key).direction),
            (a[key], b[key], differences[key]),
            scale,
        )
        for key in keys
    )
    return Table(table_id, "Metrics", lines, scale)


def _class_tables(report: ComparisonReport, pair: PairComparison, at: int) -> Iterable[Table]:
    differences = pair.differences.per_class
    a, b = (report.tables[row].per_class for row in (pair.comparison.a, pair.comparison.b))
    for key in next(iter(differences.values())):
        own = [differences[label][key] for label in differences]
        scale = scale_of_estimates(own, (-2.0, 2.0), 0.0)
        lines = tuple(
            _line(
                report,
                key,
                (plain(label), ""),
                (a[label][key], b[label][key], differences[label][key]),
                scale,
            )
            for label in differences
        )
        yield Table(f"class-{at}-{key}", metric(key).title, lines, scale)


def _line(
    report: ComparisonReport,
    key: str,
    heads: tuple[str, str],
    estimates: Sequence[Estimate],
    scale: Scale,
) -> Line:
    a, b, difference = estimates
    left, right = (cell(one, metric(key), report.interval) for one in (a, b))
    return Line(*heads, left, right, _difference(report, difference, scale))


def _difference(report: ComparisonReport, difference: Estimate, scale: Scale) -> Cell:
    """The cell of a difference, with its sign; n/a if one side is undefined."""
    if math.isnan(difference.value):
        return Cell("", UNDEFINED, "", "", (), "undefined")
    places = decimals(difference.low, difference.high, difference.n)
    ends = interval(difference.low, difference.high, places)
    level = f"{report.interval.level * 100:g}%"
    title = f"{level} paired interval, n = {count(difference.n)}" if ends else "no interval"
    marks = tuple(plain(mark) for mark in difference.marks if mark in SHARED_MARKS)
    value = signed(difference.value, places)
    bar = scale.bar(difference)
    return Cell(f"{difference.value:.7g}", value, ends, "", marks, title, bar)


def _discordance(report: ComparisonReport, line: DiscordantPairs, scale: Scale) -> Discordance:
    texts = (
        *map(count, (line.images, line.groups, line.only_a, line.only_b)),
        *(p_value(p).removeprefix("p ").removeprefix("= ") for p in (line.p_images, line.p_groups)),
        *(fixed(value, 2) for value in (line.icc, line.design_effect)),
    )
    recall = _difference(report, line.recall, scale)
    return Discordance(plain(line.label) or "all classes", texts, recall)


def _scatter(report: ComparisonReport, pair: PairComparison) -> Graph | None:
    """Discordant images as points: the probability of the true class by a and by b."""
    if not pair.disputed:
        return None
    a, b = said(pair.comparison.a), said(pair.comparison.b)
    points = [
        CurveSpec(
            plain(label),
            swatch,
            tuple(
                CurvePoint(image.a_probability, image.b_probability)
                for image in pair.disputed[:DRAWN]
                if image.label == label
            ),
            "dots",
        )
        for label, swatch in zip(report.classes, swatches(report.classes), strict=True)
    ]
    images = counted(min(DRAWN, len(pair.disputed)), "image")
    return graph(
        f"Probability of the true class, {images}",
        f"Probability of the true class by {b} against that by {a}, {images} that only one of "
        "them predicts correctly",
        (f"p of the true class by {a}", f"p of the true class by {b}"),
        [CurveSpec("equal probability", "guide", diagonal()), *points],
        Scale(0.0, 1.0),
        Scale(0.0, 1.0),
    )


def spread_lines(report: ComparisonReport) -> list[tuple[str, tuple[str, ...]]]:
    """Every row and difference with its standard deviations by source of variance."""
    rows = [(said(row), report.spreads[row]) for row in report.rows]
    pairs = [
        (f"{said(pair.comparison.a)} − {said(pair.comparison.b)}", pair.spread)  # noqa: RUF001
        for pair in report.pairs
    ]
    return [
        (
            label,
            tuple(fixed(sd, 3) for sd in (one.between, one.lesions, one.training, one.seed)),
        )
        for label, one in (*rows, *pairs)
    ]


# --- sentences ------------------------------------------------------------------------------------


def standfirst(report: ComparisonReport) -> tuple[str, ...]:
    """The sentences below the verdict."""
    sentences = [] if len(report.pairs) == 1 else _verdicts(report)
    sentences += ties(report.tie_groups) if len(report.rows) > 2 else []  # noqa: PLR2004
    sentences += [
        non_inferiority_text(report, pair, pair.non_inferiority)
        for pair in report.pairs
        if pair.non_inferiority is not None
    ]
    if any("biased" in table.metrics[report.metric].marks for table in report.tables.values()):
        sentences.append(
            f"Resampling adds noise that {metric(report.metric).label} counts as error; its "
            "intervals, and a verdict by them, hold less often than stated."
        )
    sentences += [f"{plain(note)}." for note in report.notes]
    if report.control:
        sentences.append("This protocol is a control: groups are divided, and no method is tested.")
    arm = f", arm {plain(report.arm)}" if report.arm else ""
    facts = report.dataset
    word = plural(facts.unit) if facts.units in (0, facts.groups) else "groups"
    sentences.append(
        f"{count(report.tested[0])} images of {count(report.tested[1])} {word}{arm}; "
        f"{_adjustment(report)}. "
        "Intervals are conditional on the trained models."
    )
    return tuple(sentences)


def _verdicts(report: ComparisonReport) -> list[str]:
    """Both verdicts on each pair; with many pairs only those with a difference shown."""
    if len(report.pairs) <= MOST_VERDICTS:
        return [report.pair_verdict(pair) for pair in report.pairs]
    shown = [
        pair
        for pair in report.pairs
        if {pair.comparison.models, pair.comparison.methods} & {"better", "worse"}
    ]
    rest = len(report.pairs) - len(shown)
    others = [f"No difference is shown by either verdict in {counted(rest, 'other pair')}."]
    return [*map(report.pair_verdict, shown), *(others if rest else [])]


def _adjustment(report: ComparisonReport) -> str:
    if not report.tests:
        return "no test of the methods"
    if report.tests == 1:
        return "one test, p not adjusted"
    pairs = f"with {said(report.baseline)}" if report.baseline else "of all pairs"
    return f"p adjusted by Holm over the {report.tests} comparisons {pairs}"


def non_inferiority_text(
    report: ComparisonReport, pair: PairComparison, test: NonInferiority
) -> str:
    """Whether a is non-inferior to b, by both verdicts."""
    row = pair.comparison
    a, b, margin = said(row.a), said(row.b), amount(test.margin, row.metric)
    alpha = f"{(1 - report.interval.level) / 2:g}"
    if math.isnan(test.bound):
        models = f"non-inferiority of {a} to {b} by {margin} is not shown (no interval)"
    else:
        state = f"{a} is not inferior to {b} by a margin of {margin}"
        if not test.shown:
            state = f"non-inferiority of {a} to {b} by {margin} is not shown"
        models = f"{state} ({_lower_end(pair, test)})"
    if math.isnan(test.p):
        methods = "not tested"
    elif test.methods:
        methods = f"not inferior either, one-sided {p_value(test.p)} (below {alpha})"
    else:
        methods = f"not shown, one-sided {p_value(test.p)} (not below {alpha})"
    return f"These models: {models}. These methods, trained again: {methods}."


def _lower_end(pair: PairComparison, test: NonInferiority) -> str:
    if test.bound == 0:
        return "by its interval it is at worst equal"
    way = "better" if test.bound > 0 else "worse"
    return f"by its interval it is at worst {bare(abs(test.bound), pair.comparison.metric)} {way}"


def bayesian_text(pair: PairComparison, test: BayesianTest) -> str:
    """The posterior probabilities that a is better, b is better, and both are equivalent."""
    a, b = said(pair.comparison.a), said(pair.comparison.b)
    return (
        f"P({a} is better) = {test.a_better:.1%}, P({b} is better) = {test.b_better:.1%}, "
        f"P(equivalent) = {test.alike:.1%}."
    )


def _more(report: ComparisonReport, pair: PairComparison) -> Iterable[tuple[str, str]]:
    key, power = pair.comparison.metric, pair.detectable
    if not math.isnan(power.models):
        methods = (
            ""
            if math.isnan(power.methods)
            else f"; between the methods, trained again, one of {amount(power.methods, key)}"
        )
        size = amount(power.models, key)
        text = f"With 80% power: between these models a true difference of {size}{methods}."
        yield "Detectable difference", text
    if pair.non_inferiority is not None:
        yield "Non-inferiority", non_inferiority_text(report, pair, pair.non_inferiority)


def _evidence(pair: PairComparison) -> Iterable[tuple[str, str]]:
    """Tests beside the verdicts, which decide nothing."""
    if p := p_value(pair.nadeau_bengio):
        yield "Corrected resampled t test (Nadeau & Bengio 2003)", f"{p}, not adjusted."
    if pair.belief is not None:
        within = amount(pair.belief.rope, pair.comparison.metric)
        text = bayesian_text(pair, pair.belief)
        yield (
            "Bayesian correlated t test (Corani & Benavoli 2015)",
            f"{text} Equivalent means within {within}.",
        )
