"""The page of a comparison, and its files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.io import text_cell
from bench.leaderboard import (
    ComparisonReport,
    CurvePoint,
    DiscordantImage,
    DiscordantPairs,
    Estimate,
    PairComparison,
    Spread,
    amount,
    bare,
)
from bench.leaderboard.text import metric
from bench.report import comparison_text as words
from bench.report.charts import (
    CurveSpec,
    Drawing,
    Graph,
    Scale,
    Tick,
    critical_difference,
    diagonal,
    graph,
    scale_of_estimates,
    swatches,
)
from bench.report.comparison_text import how_made
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
    probability,
    said,
    signed,
)
from bench.report.leaderboard_page import PairPanel, pair_panel
from bench.report.render import render_page
from bench.report.tables import Cell, cell
from bench.report.text import GROUPING, SYNTHETIC, plural, protocol_title

# ruff: noqa: RUF001 - people read these strings: they get real apostrophes and dashes


SHOWN, DRAWN = 60, 1000
OF_DIFFERENCES = ("few lesions", "biased")
"""Marks of two rows that hold for their difference, too."""
"""So many images stand in the page's table and in its drawing; all of them in the CSV."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table: what it is of, the two rows' values and their difference."""

    label: str
    note: str
    a: Cell
    b: Cell
    difference: Cell


@dataclass(frozen=True, slots=True)
class Table:
    """Lines whose differences share a scale."""

    id: str
    label: str
    lines: tuple[Line, ...]
    zero: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Dispute:
    """A line of the disagreements by class."""

    label: str
    texts: tuple[str, ...]
    recall: Cell


@dataclass(frozen=True, slots=True)
class Called:
    """What a row called an image, in the class's colour, and what it gave the truth."""

    label: str
    swatch: str
    p: str


@dataclass(frozen=True, slots=True)
class ImageLine:
    """An image that one row of a pair gets right more often than the other."""

    image: Name
    group: Name
    truth: str
    swatch: str
    a: Called
    b: Called
    right: str
    apart: str


@dataclass(frozen=True, slots=True)
class PairView:
    """One pair in full."""

    id: str
    title: str
    a: Name
    b: Name
    verdict: str
    metrics: Table
    classes: tuple[Table, ...]
    disputes: tuple[Dispute, ...]
    images: tuple[ImageLine, ...]
    images_all: str
    cloud: Graph | None
    more: tuple[tuple[str, str], ...]
    zero: str


def page(found: ComparisonReport) -> dict[str, object]:
    """Everything that the page of a comparison says and draws."""
    facts = found.dataset
    title = " against ".join(said(row) for row in found.rows)
    synthetic = "Synthetic data: " if facts.synthetic else ""
    return {
        "title": f"{synthetic}{title}, {plain(found.protocol)}",
        "kicker": f"Comparison · {said(facts.title)} · {plain(found.protocol)}",
        "heading": title,
        "synthetic": SYNTHETIC if facts.synthetic else "",
        "headline": found.verdict,
        "standfirst": words.standfirst(found),
        "facts": _facts(found),
        "level": f"{found.interval.level * 100:g}%",
        "panel": _panel(found),
        "ranks": _ranks(found),
        "pairs": [pair_view(found, pair, at) for at, pair in enumerate(found.pairs)],
        "spreads": spread_lines(found),
        "unit": plural(facts.unit),
        "shown": SHOWN,
        "how_made": how_made(found),
        "several": len(found.pairs) > 1,
    }


def _facts(found: ComparisonReport) -> list[tuple[str, str]]:
    facts = found.dataset
    have, whole = found.trainings
    return [
        ("Data", f"{said(facts.title)}, {counted(found.tested[0], 'image')} tested"),
        ("Unit", GROUPING.get(facts.unit, f"Grouped by {plain(facts.unit)}.")),
        (
            "Protocol",
            f"{plain(found.protocol)}: {protocol_title(found.protocol_title, facts.unit)}",
        ),
        ("Metric", f"{metric(found.metric).label}, {metric(found.metric).direction}"),
        ("Trainings", f"{have} of {whole} of each row"),
    ]


def _panel(found: ComparisonReport) -> PairPanel:
    compared = [pair.comparison for pair in found.pairs]
    return pair_panel(compared, found.interval.level, "pairs-plot", found.metric)


def _ranks(found: ComparisonReport) -> Drawing | None:
    known = all(math.isfinite(rank) for rank in found.mean_ranks.values())
    if len(found.rows) < 3 or not known:  # noqa: PLR2004 - two need no diagram
        return None
    return critical_difference(found.mean_ranks, found.tie_groups)


def pair_view(found: ComparisonReport, pair: PairComparison, at: int = 0) -> PairView:
    """One pair in full, at its place among the pairs."""
    one = pair.comparison
    recall = [line.recall for line in pair.disagreements]
    scale = scale_of_estimates(recall, (-1.0, 1.0), 0.0)
    return PairView(
        id=f"pair-{at}",
        title=f"{said(one.a)} against {said(one.b)}",
        a=name(one.a),
        b=name(one.b),
        verdict=found.pair_verdict(pair),
        metrics=_metrics(found, pair, f"metrics-{at}"),
        classes=tuple(_classes(found, pair, at)),
        disputes=tuple(_dispute(found, line, scale) for line in pair.disagreements),
        images=tuple(_image(found, pair, one) for one in pair.disputed[:SHOWN]),
        cloud=_cloud(found, pair),
        images_all=count(len(pair.disputed)),
        more=tuple(_more(found, pair)),
        zero=scale.at(0.0),
    )


def _line(
    found: ComparisonReport,
    key: str,
    label: str,
    note: str,
    three: Iterable[Estimate],
    scale: Scale,
) -> Line:
    a, b, apart = three
    about = metric(key)
    left, right = (cell(one, about, found.interval) for one in (a, b))
    return Line(label, note, left, right, _difference(found, apart, scale))


def _difference(found: ComparisonReport, apart: Estimate, scale: Scale | None = None) -> Cell:
    """The cell of a difference: with its sign; n/a where one side is undefined."""
    if math.isnan(apart.value):
        return Cell("", UNDEFINED, "", "", (), "undefined")
    places = decimals(apart.low, apart.high, apart.n)
    ends = interval(apart.low, apart.high, places)
    level = f"{found.interval.level * 100:g}%"
    title = f"{level} paired interval, n = {count(apart.n)}" if ends else "no interval"
    marks = tuple(plain(mark) for mark in apart.marks if mark in OF_DIFFERENCES)
    value = signed(apart.value, places)
    bar = scale.bar(apart) if scale else None
    return Cell(f"{apart.value:.7g}", value, ends, "", marks, title, bar)


def _metrics(found: ComparisonReport, pair: PairComparison, table_id: str) -> Table:
    one = pair.comparison
    keys = sorted(pair.differences.metrics, key=lambda key: key != found.metric)
    bounded = [key for key in keys if not math.isinf(metric(key).bounds[1])]
    differences = pair.differences.metrics
    scale = scale_of_estimates([differences[key] for key in bounded], (-2.0, 2.0), 0.0)
    tables = found.tables[one.a].metrics, found.tables[one.b].metrics, differences
    lines = [
        _line(
            found,
            key,
            metric(key).title,
            metric(key).direction,
            (table[key] for table in tables),
            scale,
        )
        for key in keys
    ]
    return Table(table_id, "Metrics", tuple(lines), scale.at(0.0), scale.ticks)


def _classes(found: ComparisonReport, pair: PairComparison, at: int) -> Iterable[Table]:
    one = pair.comparison
    by_class = pair.differences.per_class
    keys = list(next(iter(by_class.values())))
    tables = found.tables[one.a].per_class, found.tables[one.b].per_class, by_class
    for key in keys:
        scale = scale_of_estimates((by_class[label][key] for label in by_class), (-2.0, 2.0), 0.0)
        lines = [
            _line(found, key, plain(label), "", (table[label][key] for table in tables), scale)
            for label in by_class
        ]
        label = metric(key).title
        yield Table(f"class-{at}-{key}", label, tuple(lines), scale.at(0.0), scale.ticks)


def _dispute(found: ComparisonReport, line: DiscordantPairs, scale: Scale) -> Dispute:
    texts = (
        count(line.images),
        count(line.groups),
        count(line.only_a),
        count(line.only_b),
        p_value(line.p_images).removeprefix("p ").removeprefix("= "),
        p_value(line.p_groups).removeprefix("p ").removeprefix("= "),
        fixed(line.icc, 2),
        fixed(line.design_effect, 2),
    )
    return Dispute(
        plain(line.label) or "all classes", texts, _difference(found, line.recall, scale)
    )


def _image(found: ComparisonReport, pair: PairComparison, one: DiscordantImage) -> ImageLine:
    who = pair.comparison.a if one.a_right > one.b_right else pair.comparison.b
    colours = dict(zip(found.classes, swatches(found.classes), strict=True))
    apart = abs(one.a_probability - one.b_probability)

    def called(label: str, p: float) -> Called:
        return Called(plain(label), colours[label], probability(p))

    return ImageLine(
        image=name(one.image_id),
        group=name(one.group_id),
        truth=plain(one.label),
        swatch=colours[one.label],
        a=called(one.a_called, one.a_probability),
        b=called(one.b_called, one.b_probability),
        right=said(who),
        apart=fixed(apart, 2),
    )


def _cloud(found: ComparisonReport, pair: PairComparison) -> Graph | None:
    """Every disputed image as a point: what each row gave its truth, in the colour of its class."""
    one = pair.comparison
    shown = [
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
        for label, swatch in zip(found.classes, swatches(found.classes), strict=True)
    ]
    if not pair.disputed:
        return None
    count_ = counted(min(DRAWN, len(pair.disputed)), "image")
    return graph(
        f"What each gave the truth, {count_}",
        f"Probability of the truth by {said(one.b)} against that by {said(one.a)}, {count_} on "
        "which one alone is right",
        (f"p of the truth by {said(one.a)}", f"p of the truth by {said(one.b)}"),
        [CurveSpec("as sure of the truth", "guide", diagonal()), *shown],
        Scale(0.0, 1.0),
        Scale(0.0, 1.0),
    )


def _more(found: ComparisonReport, pair: PairComparison) -> Iterable[tuple[str, str]]:
    key = pair.comparison.metric
    seen = pair.detectable
    by_test = (
        ""
        if math.isnan(seen.test)
        else f", and of {bare(seen.test, key)} by the adjusted test over folds"
    )
    told = f"With 80% power, a true difference of {amount(seen.interval, key)} by the interval"
    yield "What could have been seen", f"{told}{by_test}."
    if pair.non_inferiority is not None:
        yield "Non-inferiority", words.non_inferior(found, pair, pair.non_inferiority)
    if pair.belief is not None:
        within = amount(pair.belief.rope, key)
        told = words.believed(pair, pair.belief)
        yield "Bayesian correlated t test", f"{told} Alike means within {within}."


def spread_lines(found: ComparisonReport) -> list[tuple[str, tuple[str, ...]]]:
    """Every row and difference, and what a fold's value varies with."""
    rows = [(said(row), found.spreads[row]) for row in found.rows]
    pairs = [
        (f"{said(pair.comparison.a)} − {said(pair.comparison.b)}", pair.spread)
        for pair in found.pairs
    ]
    return [(label, _spread(one)) for label, one in (*rows, *pairs)]


def _spread(one: Spread) -> tuple[str, ...]:
    return tuple(fixed(each, 3) for each in (one.between, one.lesions, one.training, one.seed))


COLUMNS = (
    "a",
    "b",
    "image_id",
    "group_id",
    "truth",
    "a_called",
    "b_called",
    "a_probability",
    "b_probability",
    "a_right",
    "b_right",
    "passes",
)


def render_comparison(found: ComparisonReport, home: str = "") -> dict[str, str]:
    """The files of a comparison, by name. home: address of the site's index, if in one."""
    return {
        "index.html": render_page("compare.html.j2", page=page(found), home=home),
        "disagreements.csv": disagreements_csv(found),
        "comparison.json": found.to_json(),
    }


def disagreements_csv(found: ComparisonReport) -> str:
    """A line an image that one row of a pair gets right more often than the other."""
    lines = [list(COLUMNS)]
    for pair in found.pairs:
        one = pair.comparison
        lines += [
            [
                *map(text_cell, (one.a, one.b, image.image_id, image.group_id, image.label)),
                *map(text_cell, (image.a_called, image.b_called)),
                f"{image.a_probability:.6f}",
                f"{image.b_probability:.6f}",
                *(str(number(each)) for each in (image.a_right, image.b_right, image.passes)),
            ]
            for image in pair.disputed
        ]
    return as_csv(lines)
