"""Charts of the row page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.leaderboard import (
    Curve,
    CurvePoint,
    IntervalFacts,
    LeaderboardRow,
    RankCurves,
    RowReport,
)
from bench.leaderboard.text import metric
from bench.report.charts import CurveSpec, Graph, Scale, diagonal, graph, scale_of
from bench.report.format import count, counted, name, plain, said
from bench.report.tables import cell

UNIT = Scale(0.0, 1.0)
MOST_ACTED = 0.6
"""Threshold probabilities beyond which nobody would wait: the drawing ends there, the JSON not."""
KNOWN_COLUMNS = {"train_loss": "training loss", "val_loss": "val loss", "lr": "learning rate"}
AREAS = {"auc_pooled": "AUC", "ap_pooled": "AP"}
STYLES = 8


def reliability_graphs(look: RowReport) -> tuple[Graph, ...]:
    """The reliability curves of the top label and of malignancy, as predicted and tempered."""
    top = [one.reliability for one in look.calibration]
    both = [("Top class", "the share of right calls", top)]
    if look.malignant_classes:
        malignant = [one.malignant for one in look.calibration]
        both.append(("Malignancy", "the share of malignant images", malignant))
    return tuple(
        graph(
            f"Reliability, {title.lower()}",
            f"{title}: {what} against the predicted probability, in bins",
            ("predicted probability", what),
            [
                CurveSpec("as sure as right", "guide", diagonal()),
                *(
                    CurveSpec(words, f"s{index}", curve, "points")
                    for index, (words, curve) in enumerate(
                        zip(("as predicted", "at the temperature of val"), curves, strict=False)
                    )
                ),
            ],
            UNIT,
            UNIT,
        )
        for title, what, curves in both
    )


def decision_graph(look: RowReport) -> tuple[Graph, ...]:
    """Net benefit against treating all and none; none where the data names no malignant classes."""
    if look.decision is None:
        return ()

    def shown(curve: Curve) -> Curve:
        return tuple(point for point in curve if point.x <= MOST_ACTED + 1e-9)

    model, warm = shown(look.decision.model), shown(look.decision.tempered)
    low = -0.25 * max(point.y for point in model)
    everyone = tuple(point for point in shown(look.decision.treat_all) if point.y >= low)
    ends = [point.high for point in model] + [point.y for point in everyone]
    none = (CurvePoint(0.0, 0.0), CurvePoint(MOST_ACTED, 0.0))
    return (
        graph(
            "Decision curve, malignancy",
            "Net benefit of acting on the predicted probability of malignancy, against acting on "
            "all images and on none",
            ("threshold probability", "net benefit"),
            [
                CurveSpec("act on all", "guide all", everyone),
                CurveSpec("act on none", "guide none", none),
                CurveSpec("as predicted", "s0", model, "band"),
                CurveSpec("at the temperature of val", "s1", warm),
            ],
            Scale(0.0, MOST_ACTED),
            Scale(low, max(end for end in ends if math.isfinite(end))),
        ),
    )


def selective_graph(look: RowReport) -> Graph:
    """The error among the surest images."""
    highs = [point.high if math.isfinite(point.high) else point.y for point in look.selective]
    return graph(
        "Answering the surest only",
        "Share of wrong calls among the surest images, by the share of images answered",
        ("share of images answered", "share of them wrong"),
        [CurveSpec("as predicted", "s0", look.selective, "band")],
        UNIT,
        scale_of([0.0, *highs], (0.0, 1.0)),
    )


def ranking_graphs(look: RowReport, swatches: dict[str, str]) -> tuple[Graph, ...]:
    """ROC and precision-recall curves of malignancy and of every class."""
    kinds = {one.target: swatches.get(one.target, "s0") for one in look.ranking}

    def curves(which: str) -> list[CurveSpec]:
        return [
            CurveSpec(name(one.target, 24).short, kinds[one.target], getattr(one, which))
            for one in look.ranking
        ]

    return (
        graph(
            "ROC",
            "Sensitivity against the false positive rate, malignancy and every class",
            ("false positive rate", "sensitivity"),
            [CurveSpec("chance", "guide", diagonal()), *curves("roc")],
            UNIT,
            UNIT,
        ),
        graph(
            "Precision and recall",
            "Precision against recall, malignancy and every class",
            ("recall", "precision"),
            curves("precision_recall"),
            UNIT,
            UNIT,
        ),
    )


def class_curves(
    row: LeaderboardRow, look: RowReport, colours: dict[str, str], facts: IntervalFacts
) -> tuple[tuple[str, tuple[Graph, ...]], ...]:
    """ROC, then precision-recall curves, target by target with their bands, each with the area of
    the same pooled scores.
    """

    def titled(one: RankCurves, key: str) -> str:
        table = row.table.per_class.get(one.target) or {}
        if one.target not in colours and look.malignant is not None:
            table = look.malignant.per_class["malignant"]
        who = name(one.target, 24).short
        if key not in table:
            return who
        area = cell(table[key], metric(key), facts)
        return ", ".join((who, f"pooled {AREAS[key]} {area.text}", *area.marks))

    def drawn(one: RankCurves, which: str) -> Graph:
        roc = which == "roc"
        axes = ("false positive rate", "sensitivity") if roc else ("recall", "precision")
        told = f"{axes[1]} against {axes[0]}, {name(one.target, 24).short}".capitalize()
        curve = CurveSpec("", colours.get(one.target, "s0"), getattr(one, which), "band")
        chance = [CurveSpec("", "guide", diagonal())] if roc else []
        title = titled(one, "auc_pooled" if roc else "ap_pooled")
        return graph(title, told, axes, [*chance, curve], UNIT, UNIT)

    return (
        ("ROC, one by one", tuple(drawn(one, "roc") for one in look.ranking)),
        (
            "Precision and recall, one by one",
            tuple(drawn(one, "precision_recall") for one in look.ranking),
        ),
    )


def learning_graphs(row: LeaderboardRow) -> tuple[Graph, ...]:
    """A graph for each column of the histories, a line for each training; none without histories.

    Losses on one pair of axes a column, epochs across.
    """
    histories = row.facts.history
    columns = dict.fromkeys(key for one in histories.values() for key in one)
    return tuple(
        _learning_graph(row, key) for key in columns if key not in ("epoch", "seconds", "lr")
    )


def _learning_graph(row: LeaderboardRow, key: str) -> Graph:
    lines, values, last = [], [], 1.0
    drawn = _styles(list(row.facts.history))
    for slot, table in row.facts.history.items():
        if key in table:
            epochs = table.get("epoch") or tuple(float(at + 1) for at in range(len(table[key])))
            pairs = [(x, y) for x, y in zip(epochs, table[key], strict=True) if math.isfinite(y)]
            curve = tuple(CurvePoint(x, y) for x, y in pairs)
            lines.append(CurveSpec(*drawn[slot], curve))
            values += [y for _, y in pairs]
            last = max([last, *(x for x, _ in pairs)])
    title = plain(KNOWN_COLUMNS.get(key) or _val_title(key))
    return graph(
        title[:1].upper() + title[1:],
        f"{title} by epoch, a line for each of {count(len(lines))} trainings of {said(row.name)}",
        ("epoch", title),
        lines,
        Scale(1.0, max(last, 2.0), whole=True),
        scale_of(values, (-math.inf, math.inf)),
    )


def _styles(slots: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Label and stroke of every training; of more than there are strokes, one for each seed."""
    if len(slots) <= STYLES:
        return {slot: (plain(slot), f"f{at}") for at, slot in enumerate(slots)}
    seeds = [slot.partition(" fold ")[0] for slot in slots]
    place = {seed: at % STYLES for at, seed in enumerate(dict.fromkeys(seeds))}
    found: dict[str, tuple[str, str]] = {}
    for at, (slot, seed) in enumerate(zip(slots, seeds, strict=True)):
        first = seed not in seeds[:at]
        label = f"{seed}, {counted(seeds.count(seed), 'fold')}" if first else ""
        found[slot] = (plain(label), f"f{place[seed]}")
    return found


def _val_title(key: str) -> str:
    known = key.removeprefix("val_")
    return f"val {metric(known).label}" if known != key else key.replace("_", " ")
