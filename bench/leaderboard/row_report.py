"""The row report: results of one row that need its predictions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.leaderboard.board import Leaderboard, LeaderboardRow
from bench.leaderboard.estimate import (
    NAN,
    Count,
    Estimate,
    Flag,
    MetricTable,
    Number,
    frame,
    frame_html,
    from_json,
    number,
    plain_data,
    to_data,
)
from bench.leaderboard.text import counted

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("part", "class", "metric")


@dataclass(frozen=True, slots=True)
class UnitTable:
    """All metrics with another unit of analysis: the images of a unit averaged into one item.

    unit   "lesion" or "patient". units: their number
    items  number of scored items; larger than units if units with several diagnoses count for each
    """

    unit: str
    units: Count
    items: Count
    table: MetricTable


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Test results of a threshold chosen on val.

    target  a class, or "malignant". aim: "specificity" or "sensitivity", which is `percent` on val
    """

    target: str
    aim: str
    percent: Count
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point of a curve with its interval (NaN without one) and its number of images."""

    x: Number
    y: Number
    low: Number = NAN
    high: Number = NAN
    n: Count = 0


Curve = tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of the probabilities, raw or temperature-scaled on val.

    by_class     calibration error of the probability of each class
    reliability  x mean confidence of the top label in a bin, y accuracy in the bin
    malignant    the same for the probability of malignancy; empty without malignant classes
    """

    tempered: Flag
    metrics: Mapping[str, Estimate]
    by_class: Mapping[str, Estimate]
    reliability: Curve
    malignant: Curve


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision curves: net benefit by threshold on the probability of malignancy.

    model, tempered, treat_all  x threshold probability, y net benefit; treating none has 0.
    Tempered is empty without val. advantage: model minus the better of treating all and none
    """

    model: Curve
    tempered: Curve
    treat_all: Curve
    advantage: Curve


@dataclass(frozen=True, slots=True)
class RankCurves:
    """ROC (x false positive rate, y sensitivity) and precision-recall (x recall, y precision).

    Their intervals are those of y at the same x, point by point.
    """

    target: str
    roc: Curve
    precision_recall: Curve


@dataclass(frozen=True, slots=True)
class Subgroup:
    """The images with one value of an attribute. With too few groups the metrics are empty."""

    attribute: str
    value: str
    images: Count
    groups: Count
    too_few: Flag
    metrics: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """The worst and the best subgroup of an attribute in one metric.

    difference  best minus worst if higher is better, else worst minus best; its interval holds
                simultaneously for all pairs of subgroups
    pairs       number of these pairs
    left_out    excluded subgroups: the metric is undefined in too many of their resamples
    """

    attribute: str
    metric: str
    worst: str
    best: str
    difference: Estimate
    pairs: Count
    left_out: tuple[str, ...] = ()

    @property
    def beyond_chance(self) -> bool:
        """Whether the simultaneous interval excludes 0."""
        return bool(self.difference.low > 0 or self.difference.high < 0)


@dataclass(frozen=True, slots=True)
class HighLossImage:
    """A row's prediction of one image, mean over passes.

    fold  fold that tests the image (first repeat). loss: -ln of the probability of the true class
    """

    image_id: str
    fold: Count
    label: str
    called: str
    p_label: Number
    p_called: Number
    loss: Number


@dataclass(frozen=True, slots=True)
class HighLossLesion:
    """A lesion with a high mean loss and all its tested images, highest loss first.

    loss  mean over its images
    """

    lesion_id: str
    group_id: str
    loss: Number
    images: tuple[HighLossImage, ...]


@dataclass(frozen=True, repr=False)
class RowReport:
    """The results of one row that need its predictions.

    resamples    of these intervals. extras: further metrics by name
    malignant    all metrics of malignant against benign; None without malignant classes
    temperature  of every fold of every counted seed and repeat; empty without val
    selective    risk-coverage curve: x share of images answered, most confident first, y error rate
    unsplit      attributes without subgroups, with the reason
    calls        row-normalised confusion matrix (C, C) with intervals, true class in rows
    hardest      the lesions with the highest loss, highest first
    """

    resamples: Count
    malignant_classes: tuple[str, ...]
    units: tuple[UnitTable, ...]
    extras: Mapping[str, Estimate]
    malignant: MetricTable | None
    operating: tuple[OperatingPoint, ...]
    temperature: tuple[Number, ...]
    calibration: tuple[Calibration, ...]
    decision: Decision | None
    selective: Curve
    ranking: tuple[RankCurves, ...]
    subgroups: tuple[Subgroup, ...]
    gaps: tuple[Gap, ...]
    unsplit: Mapping[str, str]
    calls: tuple[tuple[Estimate, ...], ...] = ()
    hardest: tuple[HighLossLesion, ...] = ()

    def __repr__(self) -> str:
        """Its verdict."""
        return f"RowReport({self.resamples} resamples)\n{self.verdict}"

    def _repr_html_(self) -> str:
        return frame_html(self.to_frame().query("`class` == ''"), self.verdict)

    @property
    def verdict(self) -> str:
        """How many gaps between subgroups the intervals confirm, in one sentence."""
        if not self.gaps:
            return "No attribute has two subgroups large enough to compare."
        significant = [gap for gap in self.gaps if gap.beyond_chance]
        gaps = counted(len(self.gaps), "gap between subgroups", "gaps between subgroups")
        return f"{len(significant)} of {gaps} have an interval that excludes 0."

    def to_frame(self) -> pd.DataFrame:
        """A line per part, class ("" for all classes) and metric, with value and interval.

        part: "lesion" or "patient" (unit of analysis), "extra", "malignant", or a subgroup as
        `age: 40-60`.
        """
        lines = list(self._items())
        return frame([line[:3] for line in lines], [line[3] for line in lines], PARTS)

    def _items(self) -> Iterator[tuple[str, str, str, Estimate]]:
        for unit in self.units:
            yield from ((unit.unit, *item) for item in unit.table.items())
        yield from (("extra", "", key, one) for key, one in self.extras.items())
        if self.malignant is not None:
            yield from (("malignant", *item) for item in self.malignant.items())
        for group in self.subgroups:
            part = f"{group.attribute}: {group.value}"
            yield from ((part, "", key, one) for key, one in group.metrics.items())

    def to_json(self, board: Leaderboard, row: LeaderboardRow) -> str:
        """The text of the row's JSON file: strict JSON, an undefined value is null.

        `row` is the same object as in leaderboard.json, without its page; `closeup` is this
        report, with its own number of resamples.
        """
        content = {
            "protocol": board.protocol,
            "dataset": board.dataset.name,
            "roster_sha256": board.dataset.roster_sha256,
            "synthetic": bool(board.dataset.synthetic),
            "unit": board.interval.unit,
            "level": number(board.interval.level),
            "classes": list(board.classes),
            "row": to_data(row),
            "recipe": plain_data(row.facts.recipe),
            "history": plain_data(row.facts.history),
            "closeup": to_data(self),
        }
        # one line per key: an indent makes json use its slow encoder, most of a second for a row
        lines = (
            f"{json.dumps(key)}: {json.dumps(part, ensure_ascii=False, allow_nan=False)}"
            for key, part in content.items()
        )
        return "{" + ",\n ".join(lines) + "}\n"

    @classmethod
    def from_json(cls, text: str) -> RowReport:
        """Read the `closeup` of a row's JSON file back. Raises ResultsError."""
        return from_json(_RowFile, text).closeup


@dataclass(frozen=True)
class _RowFile:
    """The part of a row's JSON file that is read back."""

    closeup: RowReport
