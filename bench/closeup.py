"""One row looked at closely: what its page shows beside the leaderboard's own numbers.

Plain numbers and words, made by `bench.score.closeup`, drawn by `bench.report`. Undefined is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.estimates import Estimate, MetricTable


@dataclass(frozen=True, slots=True)
class UnitTable:
    """All metrics with another unit of analysis: the images of a unit averaged into one item.

    unit   "lesion" or "patient". units: how many there are
    items  how many are scored: more than units where units with several diagnoses count for each
    """

    unit: str
    units: int
    items: int
    table: MetricTable


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold chosen on val gives on test.

    target  a class, or "malignant". aim: "specificity" or "sensitivity", which val promises at
            `percent`
    """

    target: str
    aim: str
    percent: int
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A point of a curve with its interval (NaN without), and the images it is made of."""

    x: float
    y: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0


Curve = tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities are to be believed, as predicted or at the temperature fitted on val.

    by_class     calibration error of each class's own probability
    reliability  x mean confidence of the top label in a bin, y share that is right
    malignant    the same of the probability of malignancy; empty where the data names none
    """

    tempered: bool
    metrics: Mapping[str, Estimate]
    by_class: Mapping[str, Estimate]
    reliability: Curve
    malignant: Curve


@dataclass(frozen=True, slots=True)
class Decision:
    """Net benefit of acting on a probability of malignancy, threshold by threshold.

    model, tempered, treat_all  x threshold probability, y net benefit; treating none has 0.
    Tempered is empty without val. advantage: model less the better of treating all and none
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
    """The images that share a value of an attribute. Too few groups: nothing is said of it."""

    attribute: str
    value: str
    images: int
    groups: int
    too_few: bool
    metrics: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """The worst and the best subgroup of an attribute in one metric.

    difference  best minus worst where more is better (worst minus best where less is), with an
                interval that holds for all pairs of subgroups looked at together
    pairs       how many that are
    left_out    subgroups that were not looked at, since resamples too often leave the metric
                undefined in them
    """

    attribute: str
    metric: str
    worst: str
    best: str
    difference: Estimate
    pairs: int
    left_out: tuple[str, ...] = ()

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval, corrected for all that was looked at, excludes 0."""
        return bool(self.difference.low > 0 or self.difference.high < 0)


@dataclass(frozen=True, slots=True)
class HardImage:
    """What a row says of one image: mean over its passes.

    fold  in which the image is tested (of the first repeat). loss  -ln of the truth's probability
    """

    image_id: str
    fold: int
    label: str
    called: str
    p_label: float
    p_called: float
    loss: float


@dataclass(frozen=True, slots=True)
class HardLesion:
    """A lesion that a row does badly on, with all its tested images, the worst first.

    loss  mean over its images
    """

    lesion_id: str
    group_id: str
    loss: float
    images: tuple[HardImage, ...]


@dataclass(frozen=True)
class Closeup:
    """Everything of one row's page that needs its predictions.

    resamples    of the intervals here. extras: further metrics by name
    malignant    all metrics of malignant against benign, None where the data names no such classes
    temperature  of every fold of every counted seed and repeat, empty without val
    selective    x share of images answered, the surest first, y share of them that is wrong
    unsplit      attributes without subgroups, and why
    calls        share of a class's images (rows) called each class (columns), with intervals
    hardest      the lesions of the highest loss, the worst first
    """

    resamples: int
    malignant_classes: tuple[str, ...]
    units: tuple[UnitTable, ...]
    extras: Mapping[str, Estimate]
    malignant: MetricTable | None
    operating: tuple[OperatingPoint, ...]
    temperature: tuple[float, ...]
    calibration: tuple[Calibration, ...]
    decision: Decision | None
    selective: Curve
    ranking: tuple[RankCurves, ...]
    subgroups: tuple[Subgroup, ...]
    gaps: tuple[Gap, ...]
    unsplit: Mapping[str, str]
    calls: tuple[tuple[Estimate, ...], ...] = ()
    hardest: tuple[HardLesion, ...] = ()
